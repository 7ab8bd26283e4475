"""Refiltering: what is stored ends as if decided under the present settings, but for what people decided."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.config import PoolConfig
from seedbed.core.errors import FilterError, WorkspaceHeldError
from seedbed.core.filter_config import ContaminationConfig, FiltersConfig, RougeConfig, WellformedConfig
from seedbed.core.records import Candidate, Decider, Decision, Lineage, Proposal, Subject, Verdict
from seedbed.filters.cascade import Cascade, build_cascade
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.service import ledger_commands
from seedbed.service.cli import Here
from seedbed.service.context import Context, writing
from seedbed.service.difference import Change, Difference
from seedbed.service.generation import loaded_cascade
from seedbed.service.init import create_workspace
from seedbed.service.refilter import BATCH_ROWS, Refiltered, batches, refilter
from seedbed.service.stopping import Stop
from seedbed.service.workspace import Workspace, open_workspace

WORDS = ("amber", "basket", "candle", "dune", "ember", "fjord", "garden", "harbour")
OUTPUTS = ("A small quiet place.", "It depends on the weather.", "Nobody knows for certain.")


def plain(workspace: Workspace) -> Cascade:
    """Build a cascade without seeds, so that a row's fate hangs on the other rows alone."""
    return build_cascade(workspace.config.filters, only=("wellformed", "duplicate", "rouge"))


def filters(threshold: float = 0.7, longest: int = 150) -> FiltersConfig:
    wellformed = WellformedConfig(min_instruction_words=3, max_instruction_words=longest)
    return FiltersConfig(
        rouge=RougeConfig(threshold=threshold), wellformed=wellformed, contamination=ContaminationConfig(digests=False)
    )


@cache
def new_workspace() -> Workspace:
    with TemporaryDirectory() as temporary:
        create_workspace(Path(temporary) / "w", base_url="http://127.0.0.1:9/v1", model="none")
        return open_workspace(Path(temporary) / "w")


def a_workspace(folder: Path, chosen: FiltersConfig, first_target: int = 100_000) -> Workspace:
    new = new_workspace()
    pool = PoolConfig(first_target=first_target, step=100_000)
    return replace(new, folder=folder, config=new.config.model_copy(update={"filters": chosen, "pool": pool}))


def row(
    instruction: str, output: str = OUTPUTS[0], input: str = "", *, task: str = "", requests: tuple[str, ...] = ()
) -> Candidate:
    lineage = Lineage(recipe="self_instruct", request_ids=requests)
    return Candidate.of(instruction, input, output, lineage=lineage, task_id=task)


def decision(candidate: Candidate, verdicts: Sequence[Verdict], **changed: Any) -> Decision:
    fields: dict[str, Any] = {
        "subject": Subject.CANDIDATE,
        "subject_id": candidate.id,
        "sequence": 0,
        "accepted": all(verdict.accepted for verdict in verdicts),
        "verdicts": tuple(verdicts),
        "decided_at": 1.0,
    }
    return Decision(**fields | changed)


def decide(context: Context, rows: Sequence[Candidate], cascade: Cascade) -> None:
    """Decide new rows as a run does, a completion at a time, and store them."""
    decided = []
    for _, group in groupby(rows, key=lambda one: one.lineage.request_ids or one.id):
        completion = list(group)
        verdicts = cascade.decide(completion)
        cascade.confirm()
        decided += [Decided(one, decision(one, found)) for one, found in zip(completion, verdicts, strict=True)]
    context.pool.commit(decided)


def overrule(pool: Pool, candidate: Candidate, accepted: bool) -> None:
    sequence = pool.next_sequence(candidate.id)
    ruled = decision(candidate, (), sequence=sequence, accepted=accepted, by=Decider.PERSON, note="by hand")
    pool.commit([Decided(candidate, ruled)])


def refiltered(
    context: Context, build: Callable[[Workspace], Cascade] = plain, *, is_dry: bool = False, tell: Any = None
) -> Refiltered:
    tell = tell or (lambda *_: None)
    return refilter(context, is_dry=is_dry, show=lambda _: None, tell=tell, stop=Stop(), build=build, now=lambda: 9.0)


def standing(pool: Pool) -> dict[str, tuple[bool, str, str]]:
    """Tell of each row whether it is in, and otherwise for what it is out."""
    return {
        one.subject.id: (
            one.decision.accepted,
            one.decision.deciding.filter if one.decision.deciding else "",
            one.decision.deciding.reason if one.decision.deciding else "",
        )
        for one in pool.decided()
    }


def ledger(pool: Pool) -> list[Decision]:
    return [decided for candidate in pool.candidates() for decided in pool.decisions(candidate.id)]


@contextmanager
def opened(chosen: FiltersConfig, first_target: int = 100_000) -> Iterator[Context]:
    with TemporaryDirectory() as folder, writing(a_workspace(Path(folder), chosen, first_target)) as context:
        yield context


@contextmanager
def reopened(context: Context, chosen: FiltersConfig) -> Iterator[Context]:
    config = context.workspace.config.model_copy(update={"filters": chosen})
    yield replace(context, workspace=replace(context.workspace, config=config))


# Of any two, ROUGE-L is between 0.4 and 1, so that every threshold below splits them.
instructions = st.sets(st.sampled_from(WORDS), min_size=5).map(sorted).map(" ".join)
instances = st.tuples(st.sampled_from(("", "Ship", "Boat and oar")), st.sampled_from(OUTPUTS))


@st.composite
def stored_rows(draw: st.DrawFn) -> list[Candidate]:
    """Draw completions of one task each; tasks come back in later completions, triples do not."""
    found: dict[str, Candidate] = {}
    for number in range(draw(st.integers(1, 9))):
        instruction = draw(instructions)
        task = f"p-{instruction}" if draw(st.booleans()) else ""
        for input_text, output in draw(st.lists(instances, min_size=1, max_size=3)):
            made = row(instruction, output, input_text, task=task, requests=(f"r{number}",))
            found.setdefault(made.id, made)
    return list(found.values())


thresholds = st.sampled_from((0.6, 0.7, 0.75, 0.85, 0.95))


@settings(max_examples=25, deadline=None)
@given(rows=stored_rows(), before=thresholds, after=thresholds, longest=st.integers(5, 8))
def test_a_refiltered_pool_equals_one_decided_so_from_the_start(
    rows: list[Candidate], before: float, after: float, longest: int
) -> None:
    wanted = filters(after, longest)
    with opened(filters(before)) as context, reopened(context, wanted) as changed:
        decide(context, rows, plain(context.workspace))
        was = standing(context.pool)
        done = refiltered(changed)
        now = standing(context.pool)
        assert check(context.pool) == []
        assert refiltered(changed).stored == 0
    with opened(wanted) as scratch:
        decide(scratch, rows, plain(scratch.workspace))
        assert now == standing(scratch.pool)
    flips = {
        change: sum(was[one][0] is old and now[one][0] is not old for one in was)
        for change, old in ((Change.NEWLY_REFUSED, True), (Change.NEWLY_ACCEPTED, False))
    }
    assert {change: done.difference.changed(change) for change in flips} == flips
    assert done.difference.accepted_after == sum(one[0] for one in now.values())


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(instructions, min_size=6, max_size=20, unique=True),
    after=thresholds,
    overruled=st.sets(st.integers(0, 19), min_size=1, max_size=6),
)
def test_what_a_person_decided_stays_and_what_he_accepted_is_a_neighbour(
    texts: list[str], after: float, overruled: set[int]
) -> None:
    rows = [row(text, f"{OUTPUTS[0]} {number}") for number, text in enumerate(texts)]
    with opened(filters()) as context, reopened(context, filters(after)) as changed:
        decide(context, rows, plain(context.workspace))
        was = standing(context.pool)
        ruled = {one.id: not was[one.id][0] for number, one in enumerate(rows) if number in overruled}
        for one in rows:
            if one.id in ruled:
                overrule(context.pool, one, ruled[one.id])
        done = refiltered(changed)
        expected, wanted = plain(changed.workspace), dict(ruled)
        for one in rows:
            if one.id in ruled:
                expected.load((), [one] if ruled[one.id] else [])
                assert context.pool.decisions(one.id)[-1].note == "by hand"
            else:
                wanted[one.id] = all(verdict.accepted for verdict in expected.decide([one])[0])
                expected.confirm()
        assert {identity: found[0] for identity, found in standing(context.pool).items()} == wanted
    kept = done.difference.kept
    assert (kept.accepted, kept.refused) == (sum(ruled.values()), len(ruled) - sum(ruled.values()))


def test_a_refusal_is_told_again_when_its_neighbour_goes() -> None:
    first = row("amber basket candle dune ember fjord")
    second = row("amber basket candle dune ember harbour")
    third = row("amber basket candle dune garden harbour")
    with opened(filters(0.6)) as context:
        decide(context, [first, second, third], plain(context.workspace))
        assert [standing(context.pool)[one.id][0] for one in (first, second, third)] == [True, False, False]
        overrule(context.pool, first, accepted=False)
        done = refiltered(context)
        after = context.pool.decisions(third.id)[-1]
        assert after.deciding is not None
        assert (after.deciding.neighbour_id, after.by, after.note) == (second.id, Decider.CASCADE, "refilter")
        assert standing(context.pool)[second.id][0]
    assert done.difference.changed(Change.NEWLY_ACCEPTED) == 1
    assert done.difference.changed(Change.REFUSED_OTHERWISE) == 1


def many_rows() -> list[Candidate]:
    """Return 300 short rows, each with a twin at ROUGE-L 7/8, and 300 long ones without: 2 batches of each."""
    rows, rng = [], Random(7)
    for number in range(300):
        words = [f"{word}{number}" for word in WORDS]
        rows.append(row(" ".join(words), f"{OUTPUTS[0]} {number}"))
        rows.append(row(" ".join([*words[:-1], f"other{number}"]), f"{OUTPUTS[1]} {number}"))
        rows.append(row(" ".join(f"long{number}x{part}" for part in range(12)), f"{OUTPUTS[2]} {number}"))
    rng.shuffle(rows)
    return rows


LOOSE, TIGHT = filters(0.8), filters(0.9, longest=10)


@pytest.mark.parametrize("dies_at", [("refiltering", 3), ("storing new decisions", 1), ("storing new decisions", 3)])
def test_cut_off_and_run_again_it_ends_in_the_same_state(dies_at: tuple[str, int]) -> None:
    calls = {"refiltering": 0, "storing new decisions": 0}

    def die(label: str, done: int, total: int) -> None:
        calls[label] += 1
        if (label, calls[label]) == dies_at:
            raise KeyboardInterrupt

    rows = many_rows()
    with opened(LOOSE) as context, reopened(context, TIGHT) as changed:
        decide(context, rows, plain(context.workspace))
        before = standing(context.pool)
        with pytest.raises(KeyboardInterrupt):
            refiltered(changed, tell=die)
        halfway = standing(context.pool)
        assert (halfway == before) is (dies_at[0] == "refiltering")
        refiltered(changed)
        resumed = standing(context.pool)
        assert check(context.pool) == []
    assert sum(one[0] for one in before.values()) == 600
    assert {reason: sum(one == reason for one in resumed.values()) for reason in set(resumed.values())} == {
        (True, "", ""): 600,
        (False, "wellformed", "instruction_too_long"): 300,
    }


def test_no_count_between_the_old_and_the_new_one_starts_a_training() -> None:
    with opened(LOOSE, first_target=601) as context, reopened(context, TIGHT) as changed:
        decide(context, many_rows(), plain(context.workspace))
        done = refiltered(changed)
        assert done.difference.changed(Change.NEWLY_ACCEPTED) == done.difference.changed(Change.NEWLY_REFUSED) == 300
        assert (done.stored, done.runs, context.pool.runs()) == (600, (), [])
        assert context.pool.accepted_count() == 600


def test_a_count_that_rises_to_the_target_starts_one() -> None:
    with opened(filters(0.8), first_target=900) as context, reopened(context, filters(0.9)) as changed:
        decide(context, many_rows(), plain(context.workspace))
        assert context.pool.runs() == []
        assert [run.threshold for run in refiltered(changed).runs] == [900]


def test_a_dry_run_shows_the_difference_and_stores_nothing() -> None:
    shown: list[Difference] = []
    with opened(LOOSE) as context, reopened(context, TIGHT) as changed:
        decide(context, many_rows()[:90], plain(context.workspace))
        before = ledger(context.pool)
        files = sorted(context.workspace.folder.rglob("*"))
        done = refilter(
            changed, is_dry=True, show=shown.append, tell=lambda *_: None, stop=Stop(), build=plain, now=lambda: 9.0
        )
        assert ledger(context.pool) == before
        assert sorted(context.workspace.folder.rglob("*")) == files
    assert shown == [done.difference]
    group = done.difference.changes[Change.NEWLY_REFUSED]["wellformed.instruction_too_long"]
    assert group.rows > len(group.examples) == 5
    assert (done.stored, done.tainting) == (0, None)


def test_a_row_that_a_rescan_took_out_is_decided_anew() -> None:
    one = row("amber basket candle dune ember fjord")
    verdict = Verdict(filter="contamination", accepted=False, reason="equal_item", neighbour_id="exam/1")
    with opened(filters()) as context:
        decide(context, [one], plain(context.workspace))
        context.pool.commit([Decided(one, decision(one, [verdict], sequence=1, by=Decider.RESCAN))])
        done = refiltered(context)
        assert context.pool.accepted_count() == 1
    assert list(done.difference.changes[Change.NEWLY_ACCEPTED]) == ["contamination.equal_item"]


def test_proposals_without_an_instance_are_counted() -> None:
    lineage = Lineage(recipe="self_instruct")
    proposals = [Proposal(id=f"p{number}", instruction="Name a lamp", lineage=lineage) for number in range(5)]
    refused = Verdict(filter="rouge", accepted=False, reason="near_duplicate")
    with opened(filters()) as context:
        for number, proposal in enumerate(proposals):
            found = (refused,) if number == 4 else ()
            ruled = Decision(
                subject=Subject.PROPOSAL,
                subject_id=proposal.id,
                sequence=0,
                accepted=not found,
                verdicts=found,
                decided_at=1.0,
            )
            context.pool.commit([Decided(proposal, ruled)])
        decide(context, [row("amber basket candle dune", task="p0")], plain(context.workspace))
        left = refiltered(context).difference.proposals
    assert (left.accepted, left.refused) == (3, 1)


def test_a_broken_filter_stores_nothing() -> None:
    class Broken:
        name = "broken"

        def check(self, candidate: Candidate) -> Verdict:
            if candidate.output == OUTPUTS[2]:
                raise ZeroDivisionError
            return Verdict(filter="broken", accepted=False, reason="any")

    with opened(filters()) as context:
        rows = [row(" ".join(WORDS[:4]), output) for output in OUTPUTS]
        decide(context, rows, plain(context.workspace))
        before = ledger(context.pool)
        with pytest.raises(FilterError, match="broken"):
            refiltered(context, lambda _: Cascade([Broken()]))
        assert ledger(context.pool) == before


def test_with_the_whole_cascade_and_the_same_settings_nothing_changes() -> None:
    rng = Random(3)
    rows = [row(" ".join(rng.choices(WORDS, k=6)), " ".join(rng.choices(WORDS, k=25))) for _ in range(120)]
    rows = list({one.id: one for one in rows}.values())
    with opened(filters()) as context:
        decide(context, rows, loaded_cascade(context.workspace, context.pool))
        done = refilter(context, is_dry=False, show=lambda _: None, tell=lambda *_: None, stop=Stop())
        assert (done.difference.rows, done.stored) == (len(rows), 0)
        assert 0 < done.difference.accepted_after < len(rows)
    assert list(done.difference.filters)[:5] == ["wellformed", "duplicate", "contamination", "minhash", "rouge"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 90), max_size=40), st.randoms(use_true_random=False))
def test_batches_are_full_and_never_cut_a_completion(sizes: list[int], rng: Random) -> None:
    rows = []
    for number, size in enumerate(sizes):
        requests = (f"r{number}",) if rng.random() < 0.7 else ()
        made = [row(f"amber {number} {part}", requests=requests) for part in range(size)]
        rows += [Decided(one, decision(one, ())) for one in made]
    found = list(batches(rows))
    assert [one for batch in found for one in batch] == rows
    assert all(BATCH_ROWS <= len(batch) < BATCH_ROWS + 90 for batch in found[:-1])
    for before, after in pairwise(found):
        ids = before[-1].subject.lineage.request_ids
        assert not ids or ids != after[0].subject.lineage.request_ids


def test_the_command_shows_what_changes_then_stores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Here, "workspace", tmp_path / "w")
    monkeypatch.setenv("SEEDBED__FILTERS__CONTAMINATION__DIGESTS", "false")
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="none")
    with writing(a_workspace(tmp_path / "w", filters())) as context:
        decide(context, many_rows()[:60], plain(context.workspace))
        accepted = context.pool.accepted_count()
        ledger_commands.refilter(dry_run=True, as_json=True)
        with pytest.raises(WorkspaceHeldError):
            ledger_commands.refilter()
    foreseen = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("SEEDBED__FILTERS__WELLFORMED__MAX_INSTRUCTION_WORDS", "10")
    ledger_commands.refilter()
    assert "wellformed.instruction_too_long" in capsys.readouterr().out
    command = [sys.executable, "-m", "seedbed", "-w", str(tmp_path / "w"), "refilter", "--json"]
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (foreseen["accepted_before"], foreseen["accepted_after"], again["stored"]) == (accepted, accepted, 0)
    assert again["accepted_after"] < accepted
