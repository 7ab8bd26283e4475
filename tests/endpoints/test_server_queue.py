import statistics
from collections.abc import Callable

import anyio
import pytest

from seedbed.core.records import Completion, Request
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.scripted_server import Received, Reply, ScriptedServer, serve_scripted
from seedbed.endpoints.server_queue import ServerQueue, parse_queue
from tests.endpoints.parts import Behaving, fleet_of, make_completion, make_request
from tests.endpoints.test_opening import opened
from tests.virtual_time import run_virtually

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
"""


def test_the_queue_is_read_over_all_engines() -> None:
    assert parse_queue(VLLM) == ServerQueue(running=16, waiting=3)
    assert parse_queue(b"llamacpp:requests_processing 4\nllamacpp:requests_deferred 2\n") == ServerQueue(4, 2)


def test_a_server_that_does_not_tell_has_no_queue() -> None:
    assert parse_queue(b"") is None
    assert parse_queue(b"vllm:num_requests_running 1\n") is None
    assert parse_queue(b"vllm:num_requests_running x\nvllm:num_requests_waiting y\n") is None


def test_an_open_fleet_follows_the_queue_of_a_server_that_tells() -> None:
    scripted = ScriptedServer()

    def respond(received: Received) -> Reply:
        return Reply(VLLM) if received.path == "/metrics" else scripted(received)

    async def main() -> None:
        async with serve_scripted(respond=respond) as base_url, opened(base_url, max_in_flight=1000) as fleet:
            # Nothing of ours is in flight while 3 of 16 wait: the limit starts at its least.
            assert fleet.snapshot()["local"].limit_reason == "server_queue"

    anyio.run(main)


class BatchingServer:
    """Works on so many at once; each takes 4 s alone and 8 s in a full batch, as a model server's batches do."""

    def __init__(self, places: int = 256) -> None:
        self.places, self.room = places, anyio.Semaphore(places)
        self.running = self.waiting = 0
        self.latencies: list[float] = []

    async def complete(self, request: Request) -> Completion:
        start = anyio.current_time()
        self.waiting += 1
        async with self.room:
            self.waiting -= 1
            self.running += 1
            await anyio.sleep(4 + 4 * self.running / self.places)
            self.running -= 1
        self.latencies.append(anyio.current_time() - start)
        return make_completion(request)


async def kept_busy(server: BatchingServer, seconds: int, each_second: Callable[[int, Fleet], None]) -> None:
    """Keep 1,024 callers asking."""

    async def keep_asking() -> None:
        while True:
            await fleet.ask(make_request())

    async with fleet_of(Behaving(server.complete), max_in_flight=1024) as fleet:  # noqa: SIM117 - asks within
        async with anyio.create_task_group() as tasks:
            for _ in range(1024):
                tasks.start_soon(keep_asking)
            for second in range(seconds):
                each_second(second, fleet)
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()


def lead(server: BatchingServer, fleet: Fleet) -> int:
    """Tell the limit of the server's queue, and return it."""
    lane = fleet.lanes[0]
    lane.limit.queue_seen(server.running, server.waiting, lane.in_flight)
    fleet.changed()
    return lane.limit.value


def measured(is_led: bool) -> tuple[int, float]:
    """Keep a server busy for ten minutes; return answers and median latency of the last eight."""
    server = BatchingServer()

    def each_second(second: int, fleet: Fleet) -> None:
        if second == 121:
            server.latencies.clear()
        if is_led:
            lead(server, fleet)

    run_virtually(lambda: kept_busy(server, 600, each_second))
    return len(server.latencies), statistics.median(server.latencies)


def test_led_by_its_queue_a_server_is_as_fast_as_flooded_at_a_fraction_of_the_latency() -> None:
    flooded_answers, flooded_latency_s = measured(is_led=False)
    led_answers, led_latency_s = measured(is_led=True)
    assert led_answers >= 0.97 * flooded_answers
    assert led_latency_s <= 0.4 * flooded_latency_s


@pytest.mark.parametrize("places", [4, 16, 256])
def test_the_limit_of_a_server_is_found_within_a_minute_and_kept(places: int) -> None:
    """Enough to fill the server, and few that wait; the server is looked at once a second."""

    server, limits = BatchingServer(places), list[int]()
    run_virtually(lambda: kept_busy(server, 300, lambda _, fleet: limits.append(lead(server, fleet))))
    kept = limits[60:]
    assert min(kept) >= places * 0.95
    assert max(kept) <= places * 1.25 + 2
