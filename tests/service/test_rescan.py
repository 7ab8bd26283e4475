"""References added later: what is in is looked through, what overlaps goes, and adapters trained on it are marked."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import ConfigError, InputError, MissingFileError, WorkspaceHeldError
from seedbed.core.events import Event
from seedbed.core.filter_config import ContaminationConfig, FiltersConfig
from seedbed.core.records import Adapter, Candidate, Decider, Decision, Lineage, Promotion, Snapshot, Subject, Verdict
from seedbed.core.reports import EvalReport, PromotionDecision
from seedbed.core.snapshots import read_examples
from seedbed.filters.cascade import build_cascade
from seedbed.filters.contamination import ContaminationFilter
from seedbed.pool.check import check
from seedbed.pool.records import Decided
from seedbed.pool.snapshot import freeze
from seedbed.service import ledger_commands
from seedbed.service.adding import AddedReference, add_references
from seedbed.service.cli import Here
from seedbed.service.context import Context, writing
from seedbed.service.init import create_workspace
from seedbed.service.promotion import apply_decision, in_service, promote, roll_back
from seedbed.service.refilter import refilter
from seedbed.service.rescan import Rescanned, added_filter, rescan, whole_filter
from seedbed.service.status import read_status
from seedbed.service.stopping import Stop
from seedbed.service.tainting import overlapping_rows
from seedbed.service.workspace import Workspace, open_workspace

LANTERN = "An old lantern keeper walks 14 steps up the tower, then 9 down; how many steps is she from the door?"
FERRY = "Which ferry leaves the northern harbour first on a foggy Tuesday, and who is allowed to steer it?"
HERON = "Name the three marshes in which grey herons were counted during the long dry summer of that year."
CLEAN = [f"Write {number} lines about a quiet {thing}" for number in range(2, 12) for thing in ("garden", "river")]
NO_DIGESTS = FiltersConfig(contamination=ContaminationConfig(digests=False))


def a_workspace(folder: Path, chosen: FiltersConfig = NO_DIGESTS) -> Workspace:
    create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="none")
    workspace = open_workspace(folder)
    pool = PoolConfig(first_target=1000, validation_share=0.01)
    return replace(workspace, config=workspace.config.model_copy(update={"filters": chosen, "pool": pool}))


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def context(tmp_path: Path, told: list[Event]) -> Iterator[Context]:
    with writing(a_workspace(tmp_path / "w"), sinks=(told.append,)) as opened:
        yield opened


def row(instruction: str) -> Candidate:
    return Candidate.of(instruction, "", f"An answer to it: {instruction[::-1]}", lineage=Lineage(recipe="alpaca"))


def decide(
    context: Context,
    instructions: Sequence[str],
    *,
    accepted: bool = True,
    verdicts: tuple[Verdict, ...] = (),
    by: Decider = Decider.CASCADE,
) -> None:
    """Store decisions: the first on a new row, the next on a known one."""
    for candidate in map(row, instructions):
        decision = Decision(
            subject=Subject.CANDIDATE,
            subject_id=candidate.id,
            sequence=context.pool.next_sequence(candidate.id),
            accepted=accepted,
            verdicts=verdicts,
            by=by,
            decided_at=1.0,
        )
        context.pool.commit([Decided(candidate, decision)])


def exam(tmp_path: Path, *texts: str, name: str = "exam.jsonl", **more: str) -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps({"question": text, **more}) + "\n" for text in texts))
    return path


def rescanned(context: Context, contamination: ContaminationFilter, tell: Any = None) -> Rescanned:
    return rescan(context, contamination, tell=tell or (lambda *_: None), stop=Stop(), now=lambda: 9.0)


def add(context: Context, *files: Path, fields: Sequence[str] = ()) -> Rescanned:
    return rescanned(context, added_filter(context, add_references(context.workspace, files, fields)))


def frozen(context: Context, round: int) -> Snapshot:
    return freeze(context.pool, context.workspace.snapshots, round=round, validation_share=0.01)


def trained(context: Context, snapshot: Snapshot, round: int) -> Adapter:
    adapter = Adapter(
        id=f"round-{round:04d}",
        round=round,
        snapshot_id=snapshot.id,
        base="tiny",
        base_sha256="0" * 64,
        path=f"adapters/round-{round:04d}/adapter",
        created_at=float(round),
    )
    context.pool.add_adapter(adapter)
    return adapter


def adapters(context: Context) -> dict[str, Adapter]:
    return {adapter.id: adapter for adapter in context.pool.adapters()}


def test_planted_rows_are_quarantined_and_their_verdicts_name_rule_and_item(
    context: Context, tmp_path: Path, told: list[Event]
) -> None:
    planted = f"Please solve this. {LANTERN} Thank you!"
    decide(context, [*CLEAN[:10], FERRY, *CLEAN[10:], planted])
    done = add(context, exam(tmp_path, LANTERN, FERRY))
    assert (done.scanned, done.quarantined, dict(done.references)) == (len(CLEAN) + 2, 2, {"exam": 2})
    for instruction, rule, item in ((planted, "embedded_item", "exam/1"), (FERRY, "equal_item", "exam/2")):
        before, after = context.pool.decisions(row(instruction).id)
        assert (before.accepted, after.accepted, after.by, after.sequence) == (True, False, Decider.RESCAN, 1)
        assert after.deciding is not None
        assert (after.deciding.reason, after.deciding.neighbour_id) == (rule, item)
    assert {one.instruction for one in context.pool.accepted()} == set(CLEAN)
    assert check(context.pool) == []
    (event,) = [one for one in told if one.kind == "pool.quarantined"]
    assert event.fields["items"] == ["exam/1", "exam/2"]


def test_an_adapter_trained_on_a_planted_row_is_tainted_and_leaves_service(
    context: Context, tmp_path: Path, told: list[Event]
) -> None:
    decide(context, CLEAN)
    clean = trained(context, frozen(context, 0), 0)
    decide(context, [FERRY, LANTERN])
    snapshot = frozen(context, 1)
    rows = {one.instruction for one in read_examples(context.workspace.snapshots / snapshot.id, "train")}
    assert {FERRY, LANTERN} <= rows
    dirty = trained(context, snapshot, 1)
    promote(context, clean, "better")
    promote(context, dirty, "better still")
    done = add(context, exam(tmp_path, LANTERN, FERRY))
    assert [(one.id, one.rows) for one in done.tainting.tainted] == [("round-0001", 2)]
    assert (done.tainting.rolled_back, done.tainting.in_service) == (["round-0001"], "round-0000")
    after = adapters(context)
    assert (after["round-0000"].is_tainted, after["round-0001"].is_tainted) == (False, True)
    assert after["round-0001"].promotion is Promotion.ROLLED_BACK
    published = json.loads((context.workspace.adapters / "in-service.json").read_text())
    assert published["in_service"]["adapter"] == "round-0000"
    kinds = [one.kind for one in told]
    assert [kinds.count(kind) for kind in ("adapter.tainted", "adapter.rolled_back", "alarm.raised")] == [1, 1, 1]
    assert any("round-0001" in alarm for alarm in read_status(context.workspace, context.pool).alarms)


def test_no_tainted_adapter_comes_into_service_for_another(context: Context, tmp_path: Path) -> None:
    decide(context, [*CLEAN, LANTERN])
    first, second = (trained(context, frozen(context, number), number) for number in (0, 1))
    decide(context, [HERON])
    third = trained(context, frozen(context, 2), 2)
    for one in (first, second, third):
        promote(context, one, "better")
    add(context, exam(tmp_path, LANTERN))
    assert in_service(context.pool.adapters()) is None
    assert all(one.is_tainted for one in adapters(context).values())
    assert [one.promotion for one in adapters(context).values()] == [Promotion.ROLLED_BACK] * 3


def test_a_rollback_never_brings_a_tainted_adapter_back(context: Context, tmp_path: Path) -> None:
    decide(context, [*CLEAN, LANTERN])
    promote(context, trained(context, frozen(context, 0), 0), "better")
    decide(context, [LANTERN], accepted=False, by=Decider.PERSON)
    promote(context, trained(context, frozen(context, 1), 1), "better still")
    done = add(context, exam(tmp_path, LANTERN))
    assert (done.tainting.rolled_back, done.tainting.in_service) == ([], "round-0001")
    assert roll_back(context, "by hand") is None


def test_killed_between_quarantine_and_marking_the_next_rescan_marks(context: Context, tmp_path: Path) -> None:
    def die(label: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    decide(context, [*CLEAN, LANTERN])
    promote(context, trained(context, frozen(context, 0), 0), "better")
    source = exam(tmp_path, LANTERN)
    with pytest.raises(KeyboardInterrupt):
        rescanned(context, added_filter(context, add_references(context.workspace, [source])), die)
    assert context.pool.accepted_count() == len(CLEAN)
    assert not adapters(context)["round-0000"].is_tainted
    done = add(context, source)
    assert (done.quarantined, done.tainting.rolled_back) == (0, ["round-0000"])
    assert adapters(context)["round-0000"].is_tainted
    assert len(context.pool.decisions(row(LANTERN).id)) == 2


def test_a_row_refused_for_another_reason_after_the_training_taints_too(context: Context, tmp_path: Path) -> None:
    decide(context, [*CLEAN, LANTERN])
    trained(context, frozen(context, 0), 0)
    decide(context, [LANTERN], accepted=False, by=Decider.PERSON)
    done = add(context, exam(tmp_path, LANTERN))
    assert (done.quarantined, [one.id for one in done.tainting.tainted]) == (0, ["round-0000"])


def test_an_adapter_whose_snapshot_is_gone_is_reported(context: Context, tmp_path: Path) -> None:
    decide(context, CLEAN)
    snapshot = frozen(context, 0)
    trained(context, snapshot, 0)
    (context.workspace.snapshots / snapshot.id / "manifest.json").unlink()
    done = add(context, exam(tmp_path, LANTERN))
    assert done.tainting.tainted == []
    assert ["round-0000" in problem for problem in done.tainting.unknown] == [True]


def test_an_adapter_tainted_after_its_evaluation_is_held(context: Context, tmp_path: Path) -> None:
    decide(context, [*CLEAN, LANTERN])
    adapter = trained(context, frozen(context, 0), 0)
    report = EvalReport(
        adapter_id=adapter.id,
        snapshot_id=adapter.snapshot_id,
        base_sha256=adapter.base_sha256,
        held_out_categories=(),
        scores=(),
        differences=(),
        decision=PromotionDecision.PROMOTE,
        reason="better",
        created_at=1.0,
    )
    add(context, exam(tmp_path, LANTERN))
    held = apply_decision(context, adapters(context)["round-0000"], report)
    assert (held.promotion, "tainted" in held.reason) == (Promotion.HELD, True)
    assert in_service(context.pool.adapters()) is None


def test_a_snapshot_frozen_before_the_rescan_is_known_to_overlap(context: Context, tmp_path: Path) -> None:
    decide(context, [*CLEAN, LANTERN])
    folder = context.workspace.snapshots / frozen(context, 0).id
    assert overlapping_rows(context.pool, folder) == []
    add(context, exam(tmp_path, LANTERN))
    assert overlapping_rows(context.pool, folder) == [row(LANTERN).id]


def test_a_person_who_knew_of_the_item_keeps_the_row(context: Context, tmp_path: Path) -> None:
    refused = Verdict(filter="contamination", accepted=False, reason="equal_item", neighbour_id="exam/1")
    decide(context, [LANTERN], accepted=False, verdicts=(refused,))
    decide(context, [LANTERN, FERRY], by=Decider.PERSON)
    done = add(context, exam(tmp_path, LANTERN, FERRY))
    assert (done.overruled, done.quarantined) == (1, 1)
    assert [one.instruction for one in context.pool.accepted()] == [LANTERN]


def test_a_rescan_looks_for_every_reference_and_for_held_out_tasks(tmp_path: Path) -> None:
    workspace = a_workspace(tmp_path / "w", FiltersConfig())
    held_out = max((seed.instruction for seed in workspace.held_out_seeds), key=len)
    exam(workspace.folder / "references", LANTERN)
    with writing(workspace) as context:
        decide(context, [*CLEAN, held_out, LANTERN])
        done = rescanned(context, whole_filter(context))
        assert {one.instruction for one in context.pool.accepted()} == set(CLEAN)
    assert dict(done.references) == {"exam": 1, "held_out_seeds": 1}


def test_a_refilter_marks_adapters_trained_on_what_it_takes_out(context: Context) -> None:
    decide(context, [*CLEAN, LANTERN])
    trained(context, frozen(context, 0), 0)
    exam(context.workspace.folder / "references", LANTERN)

    def build(workspace: Workspace) -> Any:
        return build_cascade(workspace.config.filters, references=workspace.references(), only=("contamination",))

    done = refilter(context, is_dry=False, show=lambda _: None, tell=lambda *_: None, stop=Stop(), build=build)
    assert done.tainting is not None
    assert [one.id for one in done.tainting.tainted] == ["round-0000"]


def test_an_added_reference_keeps_new_rows_out_by_the_fields_that_were_chosen(context: Context, tmp_path: Path) -> None:
    add(context, exam(tmp_path, LANTERN, note_text=FERRY), fields=["question"])
    cascade = build_cascade(NO_DIGESTS, references=context.workspace.references(), only=("contamination",))
    assert [found[-1].accepted for found in cascade.decide([row(LANTERN), row(FERRY)])] == [False, True]


def added(context: Context, *files: Path, fields: Sequence[str] = ()) -> list[AddedReference]:
    return add_references(context.workspace, files, fields)


def test_the_same_file_may_be_added_again_and_another_of_its_name_may_not(context: Context, tmp_path: Path) -> None:
    source = exam(tmp_path, LANTERN, note_text=FERRY)
    (first,) = added(context, source, fields=["question"])
    (again,) = added(context, source, fields=["question"])
    assert (first.was_there, first.items, again.was_there) == (False, 1, True)
    with pytest.raises(InputError, match="with other fields"):
        added(context, source)
    before = first.file.read_bytes()
    (tmp_path / "new").mkdir()
    with pytest.raises(InputError, match="differs"):
        added(context, exam(tmp_path / "new", HERON, name="other.jsonl"), exam(tmp_path / "new", FERRY))
    assert first.file.read_bytes() == before
    assert {one.name for one in first.file.parent.iterdir()} == {"exam.jsonl", "exam.jsonl.fields"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("readme.md", "Some text that is long enough.", "not the name of a reference"),
        ("exam.data", "Some text that is long enough.", "not the name of a reference"),
        ("exam.jsonl", '{"question": "Why?"', "line 1"),
        ("exam.jsonl", '{"number": 4}', "no text to compare"),
    ],
)
def test_what_is_no_reference_is_not_copied(context: Context, tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        added(context, exam(tmp_path, LANTERN, name="good.jsonl"), tmp_path / name)
    assert list((context.workspace.folder / "references").iterdir()) == []


def test_a_folder_a_missing_file_and_twins_in_name_are_refused(context: Context, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.jsonl"):
        added(context, tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        added(context, tmp_path)
    (tmp_path / "new").mkdir()
    with pytest.raises(InputError, match="one name"):
        added(context, exam(tmp_path, LANTERN), exam(tmp_path / "new", LANTERN))


@pytest.mark.parametrize(
    ("change", "said"), [({"enabled": False}, "enabled is false"), ({"references": ()}, "must name")]
)
def test_settings_that_leave_references_out_are_named(
    context: Context, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    contamination = ContaminationConfig(digests=False).model_copy(update=change)
    config = context.workspace.config.model_copy(update={"filters": FiltersConfig(contamination=contamination)})
    with pytest.raises(ConfigError, match=said):
        add_references(replace(context.workspace, config=config), [exam(tmp_path, LANTERN)])


def test_the_commands_add_and_rescan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, source = tmp_path / "w", exam(tmp_path, LANTERN, FERRY)
    monkeypatch.setattr(Here, "workspace", folder)
    monkeypatch.setenv("SEEDBED__FILTERS__CONTAMINATION__DIGESTS", "false")
    with writing(a_workspace(folder)) as context:
        decide(context, [*CLEAN, LANTERN, FERRY])
        with pytest.raises(WorkspaceHeldError):
            ledger_commands.references_add([source])
        assert not (folder / "references" / "exam.jsonl").exists()
    command = [sys.executable, "-m", "seedbed", "-w", str(folder), "references", "add", str(source), "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (found["quarantined"], found["by_reference"], found["references"][0]["items"]) == (2, {"exam": 2}, 2)
    ledger_commands.references_rescan()
    assert f"{len(CLEAN)} accepted rows scanned, 0 quarantined" in capsys.readouterr().out
    events = [json.loads(line) for line in (folder / "logs" / "events.jsonl").read_text().splitlines()]
    assert [one["reference"] for one in events if one["kind"] == "reference.added"] == ["exam"]
