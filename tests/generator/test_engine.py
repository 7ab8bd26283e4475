"""The fan-out, against a scripted model, pool and filters."""

import itertools
import json
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import (
    BudgetExhaustedError,
    ConfigError,
    EndpointResponseError,
    FilterError,
    GenerationError,
    PoolFullError,
)
from seedbed.core.records import Candidate, Completion, Decision, Request
from seedbed.generator.counters import Ended
from seedbed.generator.recipe import Brought
from tests.generator.parts import Workbench, completion, make_plan, triples

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def three_new_triples() -> Workbench:
    numbers = itertools.count()

    def answer(request: Request) -> str:
        return triples(*((f"Say the number {next(numbers)} aloud.", "", "Said.") for _ in range(3)))

    return Workbench(answer)


async def test_a_run_ends_when_what_was_wanted_is_there() -> None:
    bench = three_new_triples()
    outcome = await bench.engine().run(lambda: len(bench.accepted) >= 30, lambda: 30 - len(bench.accepted))
    assert outcome.ended == Ended.DONE
    assert outcome.unfinished == 0
    assert outcome.counters.accepted == len(bench.accepted) >= 30


async def test_nothing_is_asked_when_nothing_is_wanted() -> None:
    bench = three_new_triples()
    outcome = await bench.engine().run(lambda: True)
    assert outcome.ended == Ended.DONE
    assert bench.told == []


async def test_a_stop_that_comes_before_the_run_ends_it_before_anything_is_asked() -> None:
    bench = three_new_triples()
    engine = bench.engine()
    engine.stop()
    outcome = await engine.run(lambda: False)
    assert outcome.ended == Ended.STOPPED
    assert bench.told == []


async def test_a_request_is_written_down_before_it_is_sent_and_its_answer_after() -> None:
    bench = three_new_triples()
    await bench.engine().run(lambda: len(bench.accepted) >= 12)
    for identity in bench.requests:
        assert [what for what, which in bench.told if which == identity] == ["asked", "sent", "answered"]


async def test_no_more_is_asked_than_is_expected_to_bring_what_is_missing() -> None:
    bench = three_new_triples()
    most = 0

    async def slow(request: Request) -> Completion:
        nonlocal most
        most = max(most, engine.counters.in_flight)
        await anyio.sleep(0.001)
        return completion(request, bench.answer(request))

    engine = bench.engine(GenerationConfig(recipes={"alpaca": 1.0}, concurrency=1000), ask=slow)
    outcome = await engine.run(lambda: len(bench.accepted) >= 60, lambda: 60 - len(bench.accepted))
    # All triples are accepted, so 20 requests suffice; before that is known, 0.7 of them are expected.
    assert 20 <= outcome.counters.requests <= 29
    assert most <= 29


async def test_candidates_are_decided_in_batches_of_at_most_256() -> None:
    numbers = itertools.count()
    bench = Workbench(lambda _: triples(*((f"Say the number {next(numbers)} aloud.", "", "Said.") for _ in range(20))))
    settings = GenerationConfig(recipes={"alpaca": 1.0}, triples_per_request=20, concurrency=100)
    await bench.engine(settings).run(lambda: len(bench.accepted) >= 5000)
    assert max(bench.batches) <= 256
    assert sum(bench.batches) == len(bench.accepted)
    assert max(bench.batches) > 20


async def test_a_request_that_fails_for_good_is_set_aside_with_its_reason() -> None:
    bench = three_new_triples()
    numbers = itertools.count()

    async def ask(request: Request) -> Completion:
        if next(numbers) % 2:
            raise EndpointResponseError("the answer was no JSON")
        return completion(request, bench.answer(request))

    outcome = await bench.engine(ask=ask).run(lambda: len(bench.accepted) >= 30)
    assert outcome.ended == Ended.DONE
    assert outcome.counters.failed == len(bench.failures) > 0
    assert outcome.counters.failures["EndpointResponseError: the answer was no JSON"] == len(bench.failures)


async def test_an_exhausted_budget_ends_the_run_with_everything_written_down() -> None:
    bench = three_new_triples()
    numbers = itertools.count()

    async def ask(request: Request) -> Completion:
        if next(numbers) >= 10:
            raise BudgetExhaustedError("the budget of 300 tokens is spent")
        return completion(request, bench.answer(request))

    outcome = await bench.engine(ask=ask).run(lambda: False)
    assert outcome.ended == Ended.BUDGET
    assert outcome.message == "the budget of 300 tokens is spent"
    assert len(bench.accepted) == 30
    ends = {which for what, which in bench.told if what in ("answered", "failed")}
    assert ends == set(bench.requests)


async def test_too_many_fruitless_requests_end_the_run_and_name_what_was_lost_to_what() -> None:
    bench = three_new_triples()
    bench.is_good = lambda _: False

    async def ask(request: Request) -> Completion:
        await anyio.sleep(0.1)
        return completion(request, bench.answer(request))

    settings = GenerationConfig(recipes={"alpaca": 1.0}, max_fruitless_requests=20, concurrency=4)
    with pytest.raises(GenerationError, match=r"max_fruitless_requests is 20.*rouge\.near_duplicate \(\d+\)"):
        await bench.engine(settings, ask=ask).run(lambda: False)
    assert 20 <= len(bench.requests) <= 40


async def test_an_endpoint_that_rejects_everything_ends_the_run_with_its_words() -> None:
    bench = three_new_triples()

    async def ask(request: Request) -> Completion:
        raise EndpointResponseError("HTTP 500: out of memory")

    settings = GenerationConfig(recipes={"self_instruct": 1.0}, max_fruitless_requests=5)
    with pytest.raises(GenerationError, match="HTTP 500: out of memory"):
        await bench.engine(settings, ask=ask).run(lambda: False)


async def test_when_all_brought_instructions_are_answered_the_run_ends_with_their_rows() -> None:
    numbers = itertools.count()
    bench = Workbench(lambda _: json.dumps({"output": f"It is the bird number {next(numbers)}."}))
    settings = GenerationConfig(recipes={"answer": 1.0}, concurrency=4)
    plan = make_plan(settings, brought=[Brought(f"Name bird {number}.") for number in range(3)])
    with pytest.raises(GenerationError, match="nothing is left to ask: every instruction"):
        await bench.engine(settings, plan=plan).run(lambda: False)
    assert {row.instruction for row in bench.accepted} == {"Name bird 0.", "Name bird 1.", "Name bird 2."}


async def test_a_broken_filter_stops_the_run() -> None:
    bench = three_new_triples()

    async def decide(candidates: Sequence[Candidate]) -> list[Decision]:
        raise FilterError("filter rouge broke on candidate 17")

    with pytest.raises(FilterError, match="candidate 17"):
        await bench.engine(decide=decide).run(lambda: False)


async def test_a_pool_that_fails_under_many_recipes_stops_the_run() -> None:
    bench = three_new_triples()

    async def ask(request: Request) -> Completion:
        if len(bench.requests) > 40:
            raise PoolFullError("the disk is full")
        await anyio.lowlevel.checkpoint()
        return completion(request, bench.answer(request))

    with pytest.raises(PoolFullError, match="the disk is full"):
        await bench.engine(GenerationConfig(recipes={"alpaca": 1.0}, concurrency=64), ask=ask).run(lambda: False)


async def test_stopping_lets_what_is_in_flight_come_in_and_asks_nothing_more() -> None:
    bench = three_new_triples()

    async def ask(request: Request) -> Completion:
        if len(bench.requests) == 8:
            engine.stop()
        await anyio.sleep(0.01)
        return completion(request, bench.answer(request))

    engine = bench.engine(GenerationConfig(recipes={"alpaca": 1.0}, concurrency=8), ask=ask)
    outcome = await engine.run(lambda: False)
    assert outcome.ended == Ended.STOPPED
    assert outcome.unfinished == 0
    assert len(bench.requests) == 8
    assert len(bench.accepted) == 24


async def test_a_stop_before_the_run_begins_asks_nothing() -> None:
    bench = three_new_triples()
    engine = bench.engine()
    engine.stop()
    outcome = await engine.run(lambda: False)
    assert outcome.ended == Ended.STOPPED
    assert not bench.requests


async def test_what_does_not_come_in_within_the_grace_time_is_cut_off_and_counted() -> None:
    bench = three_new_triples()

    async def ask(request: Request) -> Completion:
        if len(bench.requests) <= 5:
            return completion(request, bench.answer(request))
        engine.stop()
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    settings = GenerationConfig(recipes={"alpaca": 1.0}, concurrency=3, drain_grace_s=0.05)
    engine = bench.engine(settings, ask=ask)
    outcome = await engine.run(lambda: False)
    assert outcome.unfinished == len([what for what, _ in bench.told if what == "asked"]) - 5 > 0
    assert len(bench.accepted) == 15


async def test_proposals_that_came_to_nothing_are_released() -> None:
    bench = Workbench(self_instruct_answers, is_good=lambda candidate: "good" in candidate.instruction)
    settings = GenerationConfig(recipes={"self_instruct": 1.0}, concurrency=1)
    await bench.engine(settings).run(lambda: len(bench.accepted) >= 1)
    assert len(bench.accepted) >= 1
    kept = {candidate.task_id for candidate in bench.accepted}
    assert bench.released
    assert not kept & set(bench.released)


async def test_an_instruction_that_is_not_novel_costs_no_instance() -> None:
    bench = Workbench(self_instruct_answers)
    settings = GenerationConfig(recipes={"self_instruct": 1.0}, concurrency=1)
    await bench.engine(settings).run(lambda: len(bench.accepted) >= 2)
    asked = [request.messages[0].content for request in bench.requests.values() if "instances" in request.purpose]
    assert asked
    assert not any("stale" in text for text in asked)


async def test_two_runs_under_one_seed_begin_alike() -> None:
    """Later requests also depend on what was decided before they were planned, and so on time."""

    async def asked() -> list[tuple[str, str, str]]:
        bench, are_asked = three_new_triples(), anyio.Event()

        async def ask(request: Request) -> Completion:
            if len(bench.requests) >= 16:
                are_asked.set()
            await are_asked.wait()
            return completion(request, bench.answer(request))

        settings = GenerationConfig(recipes={"alpaca": 1.0}, seed=7)
        await bench.engine(settings, ask=ask).run(lambda: len(bench.accepted) >= 30)
        requests = [*bench.requests.values()][:16]
        return [(request.id, request.purpose, request.messages[0].content) for request in requests]

    assert await asked() == await asked()


async def test_cancelling_from_outside_ends_at_once_and_releases_what_was_held() -> None:
    bench = Workbench(self_instruct_answers)

    async def ask(request: Request) -> Completion:
        if request.purpose == "self_instruct.instances":
            await anyio.sleep_forever()
        return completion(request, bench.answer(request))

    settings = GenerationConfig(recipes={"self_instruct": 1.0}, concurrency=1)
    with anyio.move_on_after(0.05) as scope:
        await bench.engine(settings, ask=ask).run(lambda: False)
    assert scope.cancelled_caught
    assert len(bench.released) == 2


async def test_unreadable_pieces_are_noted_with_their_reason() -> None:
    bench = Workbench(lambda _: "I would rather not.")
    settings = GenerationConfig(recipes={"alpaca": 1.0}, max_fruitless_requests=3)
    with pytest.raises(GenerationError, match="unreadable: no_task_found"):
        await bench.engine(settings).run(lambda: False)
    assert bench.unreadable[0] == ("alpaca", "no_task_found", "I would rather not.")


async def test_an_unknown_recipe_is_a_config_error_that_names_the_known_ones() -> None:
    settings = GenerationConfig(recipes={"alpacca": 1.0})
    with pytest.raises(ConfigError, match=r'names "alpacca"; known recipes: alpaca'):
        three_new_triples().engine(settings, plan=make_plan())


def self_instruct_answers(request: Request) -> str:
    if request.purpose == "self_instruct.propose":
        return '{"instructions": ["Do a good deed for once.", "Do a stale thing again.", "Do some poor work now."]}'
    if request.purpose == "self_instruct.classify":
        return "no"
    return '{"instances": [{"input": "", "output": "Well done."}]}'
