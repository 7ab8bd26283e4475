import random
import statistics

import anyio
import pytest

from seedbed.core.errors import EndpointResponseError
from seedbed.core.records import Completion, Request
from seedbed.endpoints.retries import RetryBudget, back_off_s
from tests.endpoints.parts import Behaving, ask_all, fleet_of, make_completion, make_request
from tests.virtual_time import run_virtually


def test_waits_double_to_half_a_minute_and_are_jittered() -> None:
    rng = random.Random(0)
    for failures, most in [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (7, 30.0), (1000, 30.0)]:
        waits = [back_off_s(failures, rng) for _ in range(500)]
        assert most / 2 <= min(waits) <= max(waits) <= most
        assert statistics.mean(waits) == pytest.approx(0.75 * most, rel=0.05)


def test_a_retry_for_each_place_is_free_and_then_one_for_each_answer_or_second() -> None:
    budget = RetryBudget(places=3, now=0.0)
    for _ in range(3):
        assert budget.ready_at(0.0) <= 0.0
        budget.take()
    assert budget.ready_at(0.0) == 1.0
    budget.earned()
    assert budget.ready_at(0.0) <= 0.0
    budget.take()
    assert budget.ready_at(0.25) == 1.0


def test_a_server_that_fails_at_everything_is_not_stormed() -> None:
    """Forty callers retry for ever against ten places: past the first ten, one retry a second goes."""

    async def main() -> None:
        async def behave(request: Request) -> Completion:
            calls.append(anyio.current_time())
            if len(calls) % 4 == 0:  # so that the breaker stays closed
                return make_completion(request)
            raise EndpointResponseError("500")

        calls: list[float] = []
        async with fleet_of(Behaving(behave), max_in_flight=10, max_attempts=1000) as fleet:
            start = anyio.current_time()
            ended = await ask_all(fleet, [make_request() for _ in range(40)])
            took_s = anyio.current_time() - start
        retries = len(calls) - 40
        assert all(isinstance(end, Completion) for end in ended.values())
        assert retries <= 10 + 40 + took_s + 1  # the places, the answers, the seconds

    run_virtually(main)
