"""The cascade's order, its batches, what it holds tentatively and what it counts."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import ConfigError, FilterError
from seedbed.core.filter_config import ContaminationConfig, FiltersConfig, MinHashConfig, QualityConfig
from seedbed.core.records import Candidate, Lineage, Proposal, SeedTask, Verdict
from seedbed.filters.cascade import ORDER, Cascade, build_cascade
from seedbed.filters.duplicate import DuplicateFilter
from seedbed.filters.protocol import Filter, accept, refuse

PLAIN = ("wellformed", "duplicate")


def row(output: str, input: str = "", task: str = "", request: str = "", instruction: str = "") -> Candidate:
    lineage = Lineage(recipe="self_instruct", request_ids=(request,) if request else ())
    return Candidate.of(instruction or f"Say the word {output} aloud.", input, output, lineage=lineage, task_id=task)


def proposal(identity: str, instruction: str) -> Proposal:
    return Proposal(id=identity, instruction=instruction, lineage=Lineage(recipe="self_instruct"))


class Stub:
    """Refuses outputs that contain a word; may break on another."""

    def __init__(self, name: str, refuses: str = "-", breaks_on: str = "-") -> None:
        self.name, self._refuses, self._breaks_on = name, refuses, breaks_on
        self.seen: list[str] = []

    def check(self, candidate: Candidate) -> Verdict:
        self.seen.append(candidate.output)
        if self._breaks_on in candidate.output:
            raise ZeroDivisionError("division by zero")
        return refuse(self.name, "unwanted") if self._refuses in candidate.output else accept(self.name)


class Instructions:
    """A memory that refuses an instruction it has; a task's own does not count."""

    name = "rouge"

    def __init__(self) -> None:
        self.entries: dict[str, Candidate] = {}
        self.tentative: list[str] = []

    def check(self, candidate: Candidate) -> Verdict:
        for identity, other in self.entries.items():
            if other.instruction == candidate.instruction and other.task_id != candidate.task_id:
                return refuse(self.name, "near_duplicate", score=1.0, threshold=0.7, neighbour_id=identity)
        return accept(self.name)

    def add(self, candidate: Candidate) -> None:
        self.entries[candidate.id] = candidate
        self.tentative.append(candidate.id)

    def confirm(self) -> None:
        self.tentative.clear()

    def undo(self) -> None:
        for identity in self.tentative:
            self.entries.pop(identity, None)
        self.tentative.clear()

    def remove(self, candidate_id: str) -> None:
        self.entries.pop(candidate_id, None)


def last(verdicts: Sequence[tuple[Verdict, ...]]) -> list[str]:
    return [one[-1].reason or "accepted" for one in verdicts]


def test_the_first_refusal_ends_a_rows_verdicts() -> None:
    cheap, dear = Stub("cheap", refuses="bad"), Stub("dear", refuses="worse")
    found = Cascade([cheap, dear]).decide([row("bad"), row("worse"), row("good")])
    assert [[one.filter for one in verdicts] for verdicts in found] == [["cheap"], ["cheap", "dear"], ["cheap", "dear"]]
    assert [verdicts[-1].accepted for verdicts in found] == [False, False, True]
    assert dear.seen == ["worse", "good"]


def test_each_row_sees_those_accepted_before_it_in_the_batch() -> None:
    found = Cascade([DuplicateFilter()]).decide([row("one"), row("one"), row("two")])
    assert last(found) == ["accepted", "exact_duplicate", "accepted"]
    assert found[1][-1].neighbour_id == row("one").id


def test_a_refused_row_is_no_neighbour() -> None:
    cascade = Cascade([DuplicateFilter(), Stub("late", refuses="bad")])
    assert last(cascade.decide([row("bad"), row("bad")])) == ["unwanted", "unwanted"]


def test_undo_takes_a_batch_out_of_every_memory() -> None:
    instructions = Instructions()
    cascade = Cascade([DuplicateFilter(), instructions], [instructions])
    cascade.screen([proposal("p", "Name a river.")])
    cascade.decide([row("one")])
    cascade.undo()
    assert instructions.entries == {}
    assert last(cascade.decide([row("one")])) == ["accepted"]
    cascade.confirm()
    cascade.undo()
    assert last(cascade.decide([row("one")])) == ["exact_duplicate"]


def test_a_filter_that_breaks_stops_the_run_and_leaves_no_entry() -> None:
    cascade = Cascade([DuplicateFilter(), Stub("brittle", breaks_on="boom")])
    candidate = row("boom")
    with pytest.raises(FilterError, match=rf"filter brittle broke on candidate {candidate.id} \(ZeroDivisionError"):
        cascade.decide([row("one"), candidate])
    assert last(cascade.decide([row("one")])) == ["accepted"]


def test_an_interrupt_leaves_as_itself_and_leaves_no_entry() -> None:
    class Interrupted(Stub):
        def check(self, candidate: Candidate) -> Verdict:
            if candidate.output == "stop":
                raise KeyboardInterrupt
            return accept(self.name)

    cascade = Cascade([DuplicateFilter(), Interrupted("slow")])
    with pytest.raises(KeyboardInterrupt):
        cascade.decide([row("one"), row("stop")])
    assert last(cascade.decide([row("one")])) == ["accepted"]


def test_a_screened_proposal_holds_off_its_twins_until_it_is_released() -> None:
    instructions = Instructions()
    cascade = Cascade([instructions], [instructions])
    assert last(cascade.screen([proposal("p1", "Name a river."), proposal("p2", "Name a river.")])) == [
        "accepted",
        "near_duplicate",
    ]
    cascade.confirm()
    cascade.release(["p1", "unknown"])
    assert last(cascade.screen([proposal("p3", "Name a river.")])) == ["accepted"]


def test_a_released_proposal_leaves_the_rows_made_from_it() -> None:
    instructions = Instructions()
    cascade = Cascade([instructions], [instructions])
    cascade.screen([proposal("p", "Name a river.")])
    child = row("Danube", task="p", instruction="Name a river.")
    assert last(cascade.decide([child])) == ["accepted"]
    cascade.confirm()
    cascade.release(["p"])
    assert list(instructions.entries) == [child.id]


def test_release_spares_an_accepted_row_that_is_a_task_of_its_own() -> None:
    cascade = Cascade([DuplicateFilter()])
    cascade.decide([row("one")])
    cascade.confirm()
    cascade.release([row("one").task_id])
    assert last(cascade.decide([row("one")])) == ["exact_duplicate"]


def test_an_ill_formed_instance_does_not_take_its_siblings_along() -> None:
    cascade = Cascade([Stub("form", refuses="bad"), DuplicateFilter()])
    siblings = [row("bad", "same", "t", "r", "Say it."), row("good", "same", "t", "r", "Say it.")]
    assert last(cascade.decide(siblings)) == ["unwanted", "accepted"]


def test_all_instances_of_a_contradicting_completion_go() -> None:
    cascade = build_cascade(FiltersConfig(), only=PLAIN)
    siblings = [
        row("yes", "Is it wet?", "t", "r", "Answer the question shortly."),
        row("no", "Is it wet?", "t", "r", "Answer the question shortly."),
        row("no", "Is it dry?", "t", "r", "Answer the question shortly."),
    ]
    assert last(cascade.decide(siblings)) == ["two_outputs_in_one_completion"] * 3


def test_a_removed_row_may_come_again() -> None:
    cascade = Cascade([DuplicateFilter()])
    cascade.decide([row("one")])
    cascade.confirm()
    cascade.remove(row("one").id)
    assert last(cascade.decide([row("one")])) == ["accepted"]


def test_seeds_and_loaded_rows_are_neighbours() -> None:
    seed = SeedTask(id="seed-1", category="qa", instruction="Say the word one aloud.", output="one")
    cascade = build_cascade(FiltersConfig(), only=PLAIN)
    cascade.load([seed], [row("two")])
    found = cascade.decide([row("one"), row("two")])
    assert [one[-1].neighbour_id for one in found] == ["seed-1", row("two").id]


def test_tallies_count_checks_refusals_and_time() -> None:
    ticks = iter(range(100))
    cascade = Cascade([Stub("form", refuses="bad"), DuplicateFilter()], now=lambda: float(next(ticks)))
    cascade.decide([row("bad"), row("one"), row("one")])
    form, duplicate = cascade.tallies["form"], cascade.tallies["duplicate"]
    assert (form.checked, form.refused, dict(form.reasons)) == (3, 1, {"unwanted": 1})
    assert (duplicate.checked, duplicate.refused) == (2, 1)
    assert (form.seconds, duplicate.seconds) == (3.0, 2.0)


def test_a_filter_that_checks_many_is_asked_once_a_batch() -> None:
    class Many(Stub):
        batches = 0

        def check_many(self, candidates: Sequence[Candidate]) -> list[Verdict]:
            self.batches += 1
            return [Stub.check(self, one) for one in candidates]

        def check(self, candidate: Candidate) -> Verdict:
            raise AssertionError(candidate)

    many = Many("contamination", refuses="bad")
    cascade = Cascade([DuplicateFilter(), many])
    assert last(cascade.decide([row("good"), row("good"), row("bad")])) == ["accepted", "exact_duplicate", "unwanted"]
    assert many.batches == 1
    assert (cascade.tallies["contamination"].checked, cascade.tallies["contamination"].refused) == (2, 1)


def test_filters_are_built_in_order_and_only_those_switched_on() -> None:
    assert build_cascade(FiltersConfig(), only=("quality", "wellformed", "duplicate")).names == PLAIN
    graded = FiltersConfig(quality=QualityConfig(min_grade=3))
    chosen = ("quality", "held_out", "wellformed", "duplicate")
    assert build_cascade(graded, held_out=["planning"], only=chosen).names == (*PLAIN, "held_out", "quality")
    off = FiltersConfig(minhash=MinHashConfig(enabled=False), contamination=ContaminationConfig(enabled=False))
    assert build_cascade(off).names == (*PLAIN, "rouge", "correct")


def test_an_unknown_filter_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r'no filter "minhahs".*did you mean "minhash".*wellformed, duplicate'):
        build_cascade(FiltersConfig(), only=["minhahs"])
    assert ORDER[0] == "wellformed"


@given(st.lists(st.sampled_from("abcdef"), max_size=40), st.integers(min_value=1, max_value=7))
def test_how_rows_are_batched_does_not_change_what_is_accepted(outputs: list[str], size: int) -> None:
    together: Sequence[Filter] = [DuplicateFilter()]
    rows = [row(output) for output in outputs]
    cascade = Cascade(together)
    whole = last(cascade.decide(rows))
    parts: list[str] = []
    other = Cascade([DuplicateFilter()])
    for start in range(0, len(rows), size):
        parts += last(other.decide(rows[start : start + size]))
        other.confirm()
    assert whole == parts
    assert whole.count("accepted") == len(set(outputs))


def test_what_would_pass_is_told_without_counting_or_remembering_anything() -> None:
    cascade = build_cascade(FiltersConfig(quality=QualityConfig(min_grade=3)), only=(*PLAIN, "quality"))
    good = Candidate.of("Name a river in Europe.", "", "Danube", lineage=Lineage(recipe="alpaca"))
    empty = Candidate.of("Name a river in Asia, please.", "", "", lineage=Lineage(recipe="alpaca"))
    assert cascade.would_pass([good, empty, good], without=("quality",)) == [True, False, True]
    assert cascade.would_pass([good]) == [False]
    assert all(tally.checked == 0 for tally in cascade.tallies.values())
    graded = good.model_copy(update={"grades": {"judge.fit": 5.0}})
    assert all(verdict.accepted for verdict in cascade.decide([graded])[0])
    assert cascade.would_pass([good], without=("quality",)) == [False]
