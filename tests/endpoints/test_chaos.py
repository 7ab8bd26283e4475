"""Everything that goes wrong, at the transport seam, on virtual time: every request ends, and nothing is stuck."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.errors import (
    EndpointError,
    EndpointRejectedError,
    EndpointResponseError,
    EndpointThrottledError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from seedbed.core.records import Completion, Request
from tests.endpoints.parts import Behaving, ask_all, fleet_of, make_completion, make_request
from tests.virtual_time import run_virtually

FAULTS: tuple[Callable[[random.Random], EndpointError], ...] = (
    lambda _: EndpointUnreachableError("reset"),
    lambda _: EndpointResponseError("500"),
    lambda _: EndpointResponseError("truncated JSON"),
    lambda _: EndpointThrottledError("429"),
    lambda rng: EndpointThrottledError("429", retry_after_s=rng.choice([0.0, 0.5, 5.0, 40.0])),
    lambda _: EndpointRejectedError("400", 400),
)


def chaotic(seed: int, faults: float, name: str = "local") -> Behaving:
    """An endpoint that fails in every way, at this share of its calls, after any time."""
    rng = random.Random(f"{seed}{name}")

    async def behave(request: Request) -> Completion:
        if rng.random() >= faults:
            await anyio.sleep(rng.expovariate(0.5))
            return make_completion(request, endpoint=name)
        if rng.random() < 0.2:  # hangs until the deadline of the transport
            await anyio.sleep(60)
            raise EndpointTimeoutError("did not finish within 60 s")
        await anyio.sleep(rng.choice([0.0, 0.01, 3.0]))
        raise rng.choice(FAULTS)(rng)

    return Behaving(behave, name)


@given(
    seed=st.integers(0, 2**32),
    shares=st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]), min_size=1, max_size=4),
    limit=st.sampled_from([1, 7, 64]),
    callers=st.sampled_from([3, 50, 200]),
)
@settings(max_examples=40, deadline=None)
def test_every_request_ends_and_nothing_is_left_behind(
    seed: int, shares: list[float], limit: int, callers: int
) -> None:
    async def main() -> None:
        endpoints = [chaotic(seed, share, f"e{number}") for number, share in enumerate(shares)]
        async with fleet_of(*endpoints, max_in_flight=limit, seed=seed) as fleet:
            requests = [make_request() for _ in range(200)]
            ended = await ask_all(fleet, requests, callers)
            states = fleet.snapshot()
        assert set(ended) == {request.id for request in requests}
        assert all(isinstance(end, Completion | EndpointError) for end in ended.values())
        assert all(end.request_id == name for name, end in ended.items() if isinstance(end, Completion))
        assert all(state.in_flight == state.waiting == 0 for state in states.values())
        assert all(endpoint.inside == 0 and endpoint.most_inside <= limit for endpoint in endpoints)
        assert sum(endpoint.calls for endpoint in endpoints) == sum(state.requests for state in states.values())

    run_virtually(main)


@given(seed=st.integers(0, 2**32), cancel_at=st.floats(0, 30))
@settings(max_examples=25, deadline=None)
def test_cancelling_at_any_time_leaves_no_place_taken(seed: int, cancel_at: float) -> None:
    async def main() -> None:
        endpoint = chaotic(seed, 0.4)
        async with fleet_of(endpoint, max_in_flight=8, seed=seed) as fleet:
            with anyio.move_on_after(cancel_at):
                await ask_all(fleet, [make_request() for _ in range(100)])
            state = fleet.snapshot()["local"]
            assert (state.in_flight, state.waiting, endpoint.inside) == (0, 0, 0)

    run_virtually(main)


@dataclass
class Switched:
    """An endpoint that answers after two seconds, or hangs while `is_hanging`."""

    name: str
    is_hanging: bool = False
    answered_at: list[float] = field(default_factory=list)

    def endpoint(self) -> Behaving:
        async def behave(request: Request) -> Completion:
            if self.is_hanging:
                await anyio.sleep(30)
                raise EndpointTimeoutError("did not finish within 30 s")
            await anyio.sleep(2)
            self.answered_at.append(anyio.current_time())
            return make_completion(request, endpoint=self.name)

        return Behaving(behave, self.name)


@pytest.mark.parametrize("callers", [48, 96, 192])
def test_one_of_three_that_hangs_costs_its_share_for_seconds_and_comes_back_whole(callers: int) -> None:
    """The bar: at least 60% within 10 s, and all of it once the endpoint answers again."""

    async def main() -> None:
        switched = [Switched(name) for name in ("one", "two", "three")]

        def rate(start: float, end: float) -> float:
            return sum(start <= at < end for each in switched for at in each.answered_at) / (end - start)

        async def keep_asking() -> None:
            while True:
                await fleet.ask(make_request())

        endpoints = [each.endpoint() for each in switched]
        async with fleet_of(*endpoints, max_in_flight=64, max_attempts=50) as fleet:  # noqa: SIM117 - asks within
            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(keep_asking)
                await anyio.sleep(100)
                start = anyio.current_time()
                before = rate(start - 40, start)
                switched[0].is_hanging = True
                await anyio.sleep(90)
                soon, during = rate(start + 10, start + 14), rate(start + 10, start + 90)
                switched[0].is_hanging = False
                await anyio.sleep(180)
                after = rate(start + 210, start + 270)
                tasks.cancel_scope.cancel()
        assert before == pytest.approx(callers / 2, rel=0.05)
        assert soon >= 0.6 * before
        assert during >= 0.6 * before
        assert after == pytest.approx(before, rel=0.05)

    run_virtually(main)


def test_a_server_that_dies_for_an_hour_is_waited_for_by_those_who_come_later() -> None:
    async def main() -> None:
        back_at = anyio.current_time() + 3600

        async def behave(request: Request) -> Completion:
            if anyio.current_time() < back_at:
                raise EndpointUnreachableError("connection refused")
            await anyio.sleep(1)
            return make_completion(request)

        async with fleet_of(Behaving(behave)) as fleet:
            lost = await ask_all(fleet, [make_request() for _ in range(20)])
            assert all(isinstance(end, EndpointUnreachableError) for end in lost.values())
            await anyio.sleep_until(back_at + 60)
            found = await ask_all(fleet, [make_request() for _ in range(20)])
            assert all(isinstance(end, Completion) for end in found.values())

    run_virtually(main)
