from typing import Any

import anyio
import pytest

from seedbed.core.config import BudgetConfig
from seedbed.core.errors import (
    BudgetExhaustedError,
    EndpointRejectedError,
    EndpointResponseError,
    EndpointThrottledError,
    EndpointTimeoutError,
    EndpointUnreachableError,
)
from seedbed.core.events import Event
from seedbed.core.records import Completion, Request, Spent
from seedbed.endpoints.dispatcher import OUTAGE_PATIENCE_S
from seedbed.endpoints.protocol import State
from tests.endpoints.parts import (
    Behaving,
    answering,
    ask_all,
    failing_first,
    fleet_of,
    make_completion,
    make_request,
)
from tests.virtual_time import run_virtually


def test_an_answer_comes_back_as_it_is() -> None:
    async def main() -> None:
        request = make_request()
        async with fleet_of(answering(text="green")) as fleet:
            completion = await fleet.ask(request)
            assert (completion.request_id, completion.text) == (request.id, "green")
            state = fleet.snapshot()["local"]
        assert (state.requests, state.prompt_tokens, state.completion_tokens) == (1, 10, 5)

    run_virtually(main)


def test_failures_are_tried_again_until_an_answer_comes() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointUnreachableError("reset"), EndpointTimeoutError("slow")])
        async with fleet_of(endpoint) as fleet:
            assert (await fleet.ask(make_request())).text == "blue"
        assert endpoint.calls == 3

    run_virtually(main)


def test_a_request_is_given_up_after_its_attempts_with_the_last_reason() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointResponseError(f"failure {number}") for number in range(1, 9)])
        async with fleet_of(endpoint, max_attempts=3) as fleet:
            with pytest.raises(EndpointResponseError, match="failure 3"):
                await fleet.ask(make_request())
        assert endpoint.calls == 3

    run_virtually(main)


def test_a_malformed_request_is_not_tried_again_and_does_not_hurt_the_endpoint() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointRejectedError("context too long", 400)] * 20)
        async with fleet_of(endpoint) as fleet:
            for _ in range(20):
                with pytest.raises(EndpointRejectedError, match="context too long"):
                    await fleet.ask(make_request())
            assert fleet.snapshot()["local"].state is State.READY
        assert endpoint.calls == 20

    run_virtually(main)


def test_a_refused_key_at_one_endpoint_leaves_the_work_to_the_other() -> None:
    async def main() -> None:
        bad = failing_first([EndpointRejectedError("401", 401)] * 50, name="bad")
        async with fleet_of(bad, answering(name="good")) as fleet:
            ended = await ask_all(fleet, [make_request() for _ in range(100)])
            assert fleet.snapshot()["bad"].state is State.REJECTING
        assert all(isinstance(end, Completion) and end.endpoint == "good" for end in ended.values())

    run_virtually(main)


def test_a_key_that_everybody_refuses_fails_at_once() -> None:
    async def main() -> None:
        async with fleet_of(failing_first([EndpointRejectedError("401", 401)] * 50)) as fleet:
            start = anyio.current_time()
            ended = await ask_all(fleet, [make_request() for _ in range(100)])
            assert anyio.current_time() - start < 1
        assert all(isinstance(end, EndpointRejectedError) for end in ended.values())

    run_virtually(main)


def test_a_wish_to_wait_is_honoured_by_the_whole_endpoint() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointThrottledError("later", retry_after_s=120.0)])
        async with fleet_of(endpoint) as fleet:
            start = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fleet.ask, make_request())
                await anyio.sleep(10)
                assert fleet.snapshot()["local"].state is State.COOLING
                tasks.start_soon(fleet.ask, make_request())
                await anyio.sleep(100)
                assert endpoint.calls == 1
            assert 121 <= anyio.current_time() - start <= 133  # the wait, jittered by a tenth, and a second each
        assert endpoint.answered == 2

    run_virtually(main)


def test_work_of_a_cooling_endpoint_goes_to_another() -> None:
    async def main() -> None:
        cooling = failing_first([EndpointThrottledError("later", retry_after_s=3600.0)] * 64, name="cooling")
        async with fleet_of(cooling, answering(name="free")) as fleet:
            start = anyio.current_time()
            ended = await ask_all(fleet, [make_request() for _ in range(40)])
            assert anyio.current_time() - start < 10
        assert all(isinstance(end, Completion) for end in ended.values())

    run_virtually(main)


def test_throttles_weigh_less_than_failures_but_not_nothing() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointThrottledError("later")] * 1000)
        async with fleet_of(endpoint, max_attempts=2) as fleet:
            with pytest.raises(EndpointThrottledError):
                await fleet.ask(make_request())
        assert endpoint.calls == 20

    run_virtually(main)


def test_never_more_than_the_limit_is_in_flight_and_what_waits_is_counted() -> None:
    async def main() -> None:
        endpoint = answering(after_s=2.0)
        async with fleet_of(endpoint, max_in_flight=8) as fleet, anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(fleet.ask, make_request())
            await anyio.sleep(1)
            state = fleet.snapshot()["local"]
            assert (state.in_flight, state.limit, state.waiting) == (8, 8, 12)
            assert state.oldest_in_flight_s == pytest.approx(1.0)
            await anyio.sleep(6)
            # 8 waited 2 s and 4 waited 4 s.
            assert fleet.snapshot()["local"].queue_wait_s == pytest.approx(8 * 2 + 4 * 4)
        assert endpoint.most_inside == 8

    run_virtually(main)


def test_requests_wait_in_the_order_of_asking() -> None:
    async def main() -> None:
        order: list[str] = []

        async def behave(request: Request) -> Completion:
            order.append(request.messages[0].content)
            await anyio.sleep(1)
            return make_completion(request)

        async with fleet_of(Behaving(behave), max_in_flight=1) as fleet:
            await ask_all(fleet, [make_request(str(number)) for number in range(10)])
        assert order == [str(number) for number in range(10)]

    run_virtually(main)


def test_a_cancelled_request_frees_its_place_and_one_that_waits_leaves_the_queue() -> None:
    async def main() -> None:
        endpoint = answering(after_s=10.0)
        async with fleet_of(endpoint, max_in_flight=2) as fleet:
            async with anyio.create_task_group() as tasks:
                for _ in range(6):
                    tasks.start_soon(fleet.ask, make_request())
                await anyio.sleep(1)
                tasks.cancel_scope.cancel()
            state = fleet.snapshot()["local"]
            assert (state.in_flight, state.waiting) == (0, 0)
            assert (await fleet.ask(make_request())).text == "blue"

    run_virtually(main)


def test_the_less_loaded_endpoint_gets_more_of_the_work() -> None:
    async def main() -> None:
        slow, fast = answering(4.0, "slow"), answering(1.0, "fast")
        async with fleet_of(slow, fast, max_in_flight=32) as fleet:
            await ask_all(fleet, [make_request() for _ in range(640)], concurrency=32)
        assert fast.answered > 2 * slow.answered

    run_virtually(main)


def test_a_dead_endpoint_rests_and_is_used_again_once_it_answers() -> None:
    async def main() -> None:
        told: list[Event] = []
        dead = failing_first([EndpointUnreachableError("connection refused")] * 8, name="dead")
        async with fleet_of(dead, answering(name="live"), told=told) as fleet:
            ended = await ask_all(fleet, [make_request() for _ in range(64)], concurrency=16)
            assert all(isinstance(end, Completion) for end in ended.values())
            assert fleet.snapshot()["dead"].state is State.OPEN
            await anyio.sleep(60)
            for _ in range(8):
                await ask_all(fleet, [make_request() for _ in range(64)], concurrency=16)
                await anyio.sleep(60)
            assert fleet.snapshot()["dead"].state is State.READY
        assert [event.kind for event in told] == ["endpoint.opened", "endpoint.answered_again"]

    run_virtually(main)


def test_when_all_rest_requests_wait_instead_of_failing() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointUnreachableError("connection refused")] * 12)
        async with fleet_of(endpoint) as fleet:
            ended = await ask_all(fleet, [make_request() for _ in range(32)])
        assert all(isinstance(end, Completion) for end in ended.values())

    run_virtually(main)


def test_a_cancelled_probe_lets_the_next_one_go_at_once() -> None:
    async def main() -> None:
        endpoint = failing_first([EndpointUnreachableError("connection refused")] * 5, after_s=20.0)
        async with fleet_of(endpoint, max_attempts=1) as fleet:
            await ask_all(fleet, [make_request() for _ in range(5)])
            assert fleet.snapshot()["local"].state is State.OPEN
            await anyio.sleep(2)
            with anyio.move_on_after(0.1):
                await fleet.ask(make_request())
            start = anyio.current_time()
            await fleet.ask(make_request())
            assert anyio.current_time() - start == pytest.approx(20.0)

    run_virtually(main)


def test_an_outage_without_end_is_given_up_with_its_reason() -> None:
    async def main() -> None:
        async def behave(request: Request) -> Completion:
            raise EndpointUnreachableError("connection refused")

        async with fleet_of(Behaving(behave), max_attempts=1000) as fleet:
            start = anyio.current_time()
            ended = await ask_all(fleet, [make_request() for _ in range(32)])
            assert anyio.current_time() - start < OUTAGE_PATIENCE_S + 200
        assert all(isinstance(end, EndpointUnreachableError) for end in ended.values())
        assert any(
            "no endpoint has answered" in str(end) and "connection refused" in str(end) for end in ended.values()
        )

    run_virtually(main)


def test_the_budget_of_tokens_is_never_passed_and_stops_with_what_was_spent() -> None:
    async def main() -> None:
        async with fleet_of(answering(), budget=BudgetConfig(max_tokens=200), spent=Spent(prompt_tokens=20)) as fleet:
            # Each reserves 4 + 4 prompt tokens by estimate and 16 to write, and takes 15.
            ended = await ask_all(fleet, [make_request("x" * 16, max_tokens=16) for _ in range(50)])
            state = fleet.snapshot()["local"]
        answers = [end for end in ended.values() if isinstance(end, Completion)]
        stops = [end for end in ended.values() if isinstance(end, BudgetExhaustedError)]
        assert len(answers) + len(stops) == 50
        assert 20 + state.prompt_tokens + state.completion_tokens <= 200
        # 11 answers take 185 of 200; less than the 24 another one reserves are left.
        assert len(answers) == 11
        assert "185 of 200 tokens" in str(stops[0])

    run_virtually(main)


def test_the_budget_of_money_counts_by_the_prices() -> None:
    async def main() -> None:
        prices: dict[str, Any] = {"price_per_million_prompt_tokens": 1e6, "price_per_million_completion_tokens": 2e6}
        async with fleet_of(answering(), budget=BudgetConfig(max_cost=45), **prices) as fleet:
            request = {"max_tokens": 5}
            assert await fleet.ask(make_request("x" * 24, **request))  # 10 x 1 + 5 x 2 = 20
            assert await fleet.ask(make_request("x" * 24, **request))
            with pytest.raises(BudgetExhaustedError, match=r"40\.0000 of 45"):
                await fleet.ask(make_request("x" * 24, **request))
            assert fleet.snapshot()["local"].cost == 40

    run_virtually(main)


def test_requests_per_minute_are_kept() -> None:
    async def main() -> None:
        times: list[float] = []

        async def behave(request: Request) -> Completion:
            times.append(anyio.current_time())
            return make_completion(request)

        async with fleet_of(Behaving(behave), requests_per_minute=60) as fleet:
            await ask_all(fleet, [make_request() for _ in range(180)])
        assert max(sum(start <= at < start + 60 for at in times) for start in times) <= 60
        assert times[-1] - times[0] < 200

    run_virtually(main)


def test_tokens_per_minute_are_settled_by_what_was_used() -> None:
    async def main() -> None:
        endpoint = answering(after_s=0.1)
        async with fleet_of(endpoint, tokens_per_minute=15_000) as fleet:
            start = anyio.current_time()
            # 15 tokens are used of 1,000 reserved: by what is reserved this took 100 minutes, by use 1.5.
            ended = await ask_all(fleet, [make_request(max_tokens=1000) for _ in range(1500)])
            assert anyio.current_time() - start < 60 * 10
        assert all(isinstance(end, Completion) for end in ended.values())

    run_virtually(main)


def test_a_deterministic_request_is_asked_once() -> None:
    async def main() -> None:
        endpoint = answering()
        async with fleet_of(endpoint) as fleet:
            first = await fleet.ask(make_request("2 + 2?", temperature=0))
            request = make_request("2 + 2?", temperature=0)
            again = await fleet.ask(request)
            await fleet.ask(make_request("3 + 3?", temperature=0))
            await fleet.ask(make_request("2 + 2?", temperature=0, max_tokens=3))
        assert endpoint.calls == 3
        assert (again.text, again.request_id) == (first.text, request.id)
        assert (again.prompt_tokens, again.completion_tokens) == (0, 0)

    run_virtually(main)


def test_a_sampled_request_is_asked_each_time() -> None:
    async def main() -> None:
        endpoint = answering()
        async with fleet_of(endpoint) as fleet:
            for _ in range(3):
                await fleet.ask(make_request("Name a colour.", temperature=0.7))
        assert endpoint.calls == 3

    run_virtually(main)


def test_what_a_block_raises_comes_out_as_it_is() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with fleet_of(answering()):
                raise ZeroDivisionError

    run_virtually(main)


def test_256_callers_at_a_server_of_64_places_lose_nothing() -> None:
    async def main() -> None:
        async def behave(request: Request) -> Completion:
            if server.inside > 64:
                raise EndpointThrottledError("full")
            await anyio.sleep(2)
            return make_completion(request)

        server, told = Behaving(behave), list[Event]()
        async with fleet_of(server, max_in_flight=1024, told=told) as fleet:
            ended = await ask_all(fleet, [make_request() for _ in range(4096)], concurrency=256)
            state = fleet.snapshot()["local"]
        assert all(isinstance(end, Completion) for end in ended.values())
        assert state.limit_reason == "throttled"
        assert {event.kind for event in told} == {"endpoint.slowed"}
        assert 32 <= state.limit <= 80

    run_virtually(main)
