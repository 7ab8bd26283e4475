"""What people look at: samples over time, the funnel, how rows are spread, a training's loss, answers side by side."""

import json
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from seedbed.core.config import BudgetConfig, GenerationConfig, PoolConfig
from seedbed.core.errors import PoolUnavailableError
from seedbed.core.events import Events
from seedbed.core.records import Candidate, Decision, Lineage, Phase, SeedTask, Status, Subject, Verdict
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, PoolCounts, Wanted
from seedbed.service.ancestry import ancestors_of
from seedbed.service.control import Control, budget_that_holds
from seedbed.service.funnel import funnel_of
from seedbed.service.history import History, sample_of
from seedbed.service.looking import answers_side_by_side, log_tail, loss_points
from seedbed.service.spread import histogram, spread_of
from seedbed.service.stopping import Stop


def row(instruction: str, category: str = "qa", *shown: str) -> Candidate:
    lineage = Lineage(recipe="alpaca", demonstration_ids=shown)
    return Candidate.of(instruction, "", "an answer", lineage=lineage, requested_category=category)


def store(pool: Pool, one: Candidate, *, accepted: bool = True, score: float | None = None) -> None:
    reason = "" if accepted else "near_duplicate"
    verdict = Verdict(filter="rouge", accepted=accepted, reason=reason, score=score, threshold=0.7)
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=one.id,
        sequence=0,
        accepted=accepted,
        verdicts=(verdict,),
        decided_at=1.0,
    )
    pool.commit([Decided(one, decision)])


@pytest.mark.parametrize("looks", [1, 10, 11, 300])
def test_samples_cover_the_whole_time_and_their_number_is_bounded(looks: int) -> None:
    history = History(every_s=2.0, max_samples=10)
    status = Status(phase=Phase.GENERATING, accepted=0, target=1, round=0, decided=0)
    for at in range(looks):
        history.add(sample_of(status, float(at)))
    assert len(history.samples) <= 10
    assert history.samples[0].at == 0
    assert history.samples[-1].at >= looks - 2
    assert history.every_s == (2.0 if looks <= 10 else history.every_s)


def test_sampling_goes_on_after_the_pool_was_away() -> None:
    answers = iter([PoolUnavailableError("the server does not answer")])
    found = Status(phase=Phase.GENERATING, accepted=7, target=9, round=0, decided=8)

    def status() -> Status:
        for error in answers:
            raise error
        return found

    async def main() -> History:
        history = History(every_s=0.0)
        async with history.following(status, lambda: 1.0):
            while not history.samples:
                await anyio.lowlevel.checkpoint()
        return history

    assert anyio.run(main).samples[0].accepted == 7


def test_the_funnel_goes_filter_by_filter_and_ends_at_what_was_accepted() -> None:
    refused = {
        "parse.no_json": 4,
        "wellformed.empty_output": 10,
        "rouge.near_duplicate": 30,
        "person.refused_by_hand": 1,
    }
    counts = PoolCounts(100, 59, refused, {}, {}, {}, {}, 0, {"rouge.near_duplicate": 5}, 0, 4, 0, 0, 0)
    found = funnel_of(counts)
    by_name = {stage.filter: (stage.came, stage.refused) for stage in found.stages}
    assert by_name["wellformed"] == (100, 10)
    assert by_name["rouge"] == (90, 30)
    assert by_name["person"] == (60, 1)
    last = found.stages[-1]
    assert last.came - last.refused == found.accepted
    assert found.unreadable == {"no_json": 4}


def test_values_are_counted_from_an_edge_to_below_the_next() -> None:
    found = histogram([0, 0.9, 1, 4, 5, 99], (0, 1, 5))
    assert found.counts == (2, 2, 2)
    assert found.median == 2.5
    assert histogram([], (0, 1)).median is None


def test_categories_stand_against_their_targets_and_neighbours_are_as_stored(tmp_path: Path) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        store(pool, row("Name the three longest rivers of the world"), score=0.52)
        store(pool, row("Write a poem about autumn leaves in a park", "writing"))
        store(pool, row("Name the three longest rivers of a world"), accepted=False, score=0.87)
        store(pool, row("Explain how a canal lock lifts a boat"), score=0.69)
        found = spread_of(pool, {"qa": 0.5, "writing": 0.5}, GenerationConfig())
        assert {one.category: (one.accepted, one.decided, one.target) for one in found.categories} == {
            "qa": (2, 3, 0.5),
            "writing": (1, 1, 0.5),
        }
        pool.set_shares({"qa": 0.3, "writing": 0.1}, "test")
        moved = spread_of(pool, {"qa": 0.5, "writing": 0.5}, GenerationConfig())
        assert {one.category: one.target for one in moved.categories} == pytest.approx({"qa": 0.75, "writing": 0.25})
    bins = {
        edge: count
        for edge, count in zip(found.similarity.accepted.edges, found.similarity.accepted.counts, strict=True)
        if count
    }
    assert bins == {0.5: 1, 0.65: 1}
    assert (found.similarity.far, sum(found.similarity.refused.counts), found.similarity.threshold) == (1, 1, 0.7)
    assert found.lengths["instruction"].median == 8
    assert found.looked_at == 4


def test_ancestors_go_back_to_the_seeds_and_a_ring_ends(tmp_path: Path) -> None:
    seed = SeedTask(id="seed-1", category="qa", instruction="A seed", output="x")
    with Pool.open(tmp_path, PoolConfig()) as pool:
        first = row("The first row of all, from a seed", "qa", "seed-1")
        second = row("The second row, from the first one", "qa", first.id, "gone")
        store(pool, first)
        store(pool, second)
        found = ancestors_of([seed], pool, Lineage(recipe="alpaca", demonstration_ids=(second.id, "seed-1")))
    assert [(one.id, one.generation, one.is_seed) for one in found] == [
        (second.id, 1, False),
        ("seed-1", 1, True),
        (first.id, 2, False),
        ("gone", 2, False),
    ]


def test_rows_are_found_by_words_in_them_and_wildcards_are_plain_text(tmp_path: Path) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        store(pool, rivers := row("Name 100% of the rivers"))
        store(pool, row("Name 100 of the rivers"))
        assert [one.candidate.id for one in pool.listed(9, None, Wanted(text="100% OF"))] == [rivers.id]
        assert len(pool.listed(9, None, Wanted(text="rivers"))) == 2
        assert len(pool.newest_decided(1)) == 1


def test_a_curve_keeps_every_validation_loss_and_the_last_step(tmp_path: Path) -> None:
    assert loss_points(tmp_path) == []
    lines = [{"step": step, "loss": 9.0 - step / 1000} for step in range(1, 2001)]
    lines += [{"step": 777, "val_loss": 4.5}, {"step": 2001, "loss": float("nan")}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 2002, "lo')
    points = loss_points(tmp_path)
    assert len(points) <= 402
    assert next(one.val_loss for one in points if one.step == 777) == 4.5
    assert (points[-1].step, points[-1].loss) == (2000, 7.0)


def test_the_end_of_a_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    assert log_tail(log) == ""
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    tail = log_tail(log)
    assert len(tail) <= 20_000
    assert tail.endswith("line 9999\n")
    assert tail.startswith("line ")


def test_answers_of_both_arms_stand_side_by_side(tmp_path: Path) -> None:
    def line(arm: str, identity: str, answer: str, part: str = "held_out") -> str:
        told = {"key": "k", "arm": arm, "id": identity, "part": part, "instruction": "i", "input": "", "answer": answer}
        return json.dumps(told) + "\n"

    path = tmp_path / "answers.jsonl"
    assert list(answers_side_by_side(path)) == []
    path.write_text(
        line("base", "a", "one")
        + line("base", "b", "two")
        + line("adapter", "a", "three")
        + line("copy_input", "a", "x")
        + line("adapter", "t", "x", "trained")
        + '{"half'
    )
    found = [(one.id, one.base, one.adapter) for one in answers_side_by_side(path)]
    assert found == [("a", "one", "three"), ("b", "two", None)]


def test_concurrency_and_budget_outlive_a_restart_and_beat_the_config(tmp_path: Path) -> None:
    async def want(pool: Pool) -> None:
        control = Control(pool, Events(), Stop())
        with control.interrupting() as generation:
            await control.set_budget(0, None)
            assert generation.is_wanted
        await control.set_concurrency(5)

    with Pool.open(tmp_path, PoolConfig()) as pool:
        anyio.run(want, pool)
    with Pool.open(tmp_path, PoolConfig()) as pool:
        control = Control(pool, Events(), Stop())
        assert control.intent.concurrency == 5
        assert budget_that_holds(control.intent, BudgetConfig(max_tokens=9, max_cost=3.0)) == BudgetConfig(
            max_tokens=0, max_cost=3.0
        )
