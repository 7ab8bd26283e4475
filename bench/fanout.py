"""What a request costs: transport and fleet against a bare aiohttp loop, beside what the server's latency allows.

    python bench/fanout.py [--quick] [--json]

A mock server of ours (raw asyncio, constant answers after a fixed time) runs in a process of its own on the last core,
each client in a fresh process on the first; arms take turns, and medians count. The peer does what one would write
by hand: a closed loop on aiohttp with uvloop and a tuned garbage collector, bodies read and thrown away. Ours does the
same through `Fleet.ask`: limits, breaker, budget, deadlines, the answer parsed and checked. Parsing into rows, filters
and the pool are not in it.
"""

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.abc
import orjson

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets
from seedbed.core.errors import EndpointError
from seedbed.core.events import Events
from seedbed.core.records import Message, Request, Sampling
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.scripted_server import Received, Reply, serve_scripted
from seedbed.endpoints.wire import payload_of

PROMPT = "Write three new tasks of this kind. " * 40
ANSWER = "The carpenter repaired a violet lantern before the late ferry left the harbour. " * 12
CANCELLED = 200
NOT_MEASURED = (
    "whole path: response to parsed, filtered and durable row",
    "CPU a row against distilabel, Curator and data-designer",
    "tokens/s against vLLM's own client, and concurrency found from a cold start",
)
"""Bars that are wanted and that no size of this script measures yet."""

Ask = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    in_flight: int
    latency_s: float
    seconds: float
    repeats: int
    ramp: int


QUICK = Size(in_flight=256, latency_s=0.5, seconds=2.0, repeats=2, ramp=1024)
FULL = Size(in_flight=1024, latency_s=2.0, seconds=30.0, repeats=3, ramp=4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under 50 s")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--serve", type=float, metavar="LATENCY_S", help=argparse.SUPPRESS)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    if chosen.serve is not None:
        anyio.run(serve, chosen.serve, backend_options={"use_uvloop": True})
    elif chosen.arm:
        tune_collector()
        print(json.dumps(anyio.run(ARMS[chosen.arm], chosen.url, size, backend_options={"use_uvloop": True})))
    else:
        report(measure(size, quick=chosen.quick), as_json=chosen.json)


def measure(size: Size, *, quick: bool) -> dict[str, Any]:
    arms: dict[str, list[dict[str, float]]] = {"bare": [], "seedbed": []}
    server, url = started_server(size.latency_s)
    try:
        for _ in range(size.repeats):
            for arm, results in arms.items():
                results.append(run_arm(arm, url, quick=quick))
        faults = run_arm("faults", url, quick=quick)
    finally:
        server.terminate()
        server.wait()
    rows = [{"arm": arm, **medians(results)} for arm, results in arms.items()]
    return {
        "versions": {name: version(name) for name in ("aiohttp", "anyio", "uvloop", "orjson")}
        | {"python": platform.python_version()},
        "sizes": asdict(size) | {"possible_requests_per_s": size.in_flight / size.latency_s},
        "rows": [*rows, {"arm": "faults", **faults}],
        "bars": bars(rows[0], rows[1], faults),
        "not_run": [*(["at 1,024 in flight and 2 s", "ramp to 4,096"] if quick else []), *NOT_MEASURED],
    }


def bars(bare: dict[str, Any], ours: dict[str, Any], faults: dict[str, float]) -> list[dict[str, Any]]:
    def bar(name: str, value: float, wanted: str, holds: bool) -> dict[str, Any]:
        return {"name": name, "value": round(value, 3), "wanted": wanted, "holds": holds}

    throughput = ours["requests_per_s"] / bare["requests_per_s"]
    cpu = ours["cpu_us_per_request"] / bare["cpu_us_per_request"]
    # Nothing left open says something only where all were in flight before.
    asked, left = faults["in_flight"], faults["sockets_left"]
    return [
        bar("requests/s against a bare aiohttp loop", throughput, ">= 0.95", throughput >= 0.95),
        bar("CPU a request against a bare aiohttp loop", cpu, "<= 2", cpu <= 2),
        bar("p99 over server latency, s", ours["p99_over_s"], "<= 0.5", ours["p99_over_s"] <= 0.5),
        bar("KB a request in flight", ours["kb_in_flight"], "<= 40", ours["kb_in_flight"] <= 40),
        bar("event-loop lag p99, ms", ours["lag_p99_ms"], "<= 50", ours["lag_p99_ms"] <= 50),
        bar("failures in a ramp from 0", faults["ramp_failures"], "0", faults["ramp_failures"] == 0),
        bar("requests in flight when they are cancelled", asked, f"{CANCELLED}", asked == CANCELLED),
        bar(f"sockets open 1 s after {CANCELLED} cancelled", left, "0", left == 0),
    ]


def started_server(latency_s: float) -> tuple["subprocess.Popen[str]", str]:
    command = [sys.executable, __file__, "--serve", str(latency_s)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def run_arm(arm: str, url: str, *, quick: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--arm", arm, "--url", url, *(["--quick"] if quick else [])]
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(result[key] for result in results), 3) for key in results[0]}


async def serve(latency_s: float) -> None:
    allow_many_files()
    usage = {"prompt_tokens": 300, "completion_tokens": 240}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}
    answer = Reply(orjson.dumps({"model": "mock", "choices": [choice], "usage": usage}), delay_s=latency_s)
    models = Reply(b'{"data": [{"id": "mock"}]}')

    def respond(received: Received) -> Reply:
        if received.method == "POST":
            return answer
        return models if received.path == "/v1/models" else Reply(b"{}", 404)

    async with serve_scripted(respond=respond) as base_url:
        print(base_url, flush=True)
        await anyio.sleep_forever()


async def bare(url: str, size: Size) -> dict[str, float]:
    """Ask as one would by hand."""
    body = orjson.dumps(payload_of(request(), "mock"))
    connector = aiohttp.TCPConnector(limit=0)
    allow_many_files()
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as session:

        async def ask() -> None:
            async with session.post(f"{url}/chat/completions", data=body) as response:
                await response.read()

        return await closed_loop(ask, size)


async def seedbed(url: str, size: Size) -> dict[str, float]:
    """Ask through the fleet."""
    async with fleet_at(url, size.in_flight) as fleet:

        async def ask() -> None:
            await fleet.ask(request())

        return await closed_loop(ask, size)


async def faults(url: str, size: Size) -> dict[str, float]:
    """Ramp from 0 to all at once, and cancel `CANCELLED` in flight."""
    async with fleet_at(url, size.ramp) as fleet:
        given_up = 0

        async def ask() -> None:
            nonlocal given_up
            try:
                await fleet.ask(request())
            except EndpointError as error:
                given_up += 1
                print(f"given up in the ramp: {error}", file=sys.stderr)

        async with anyio.create_task_group() as tasks:
            for _ in range(size.ramp):
                tasks.start_soon(ask)
        failures = max(given_up, fleet.snapshot()["mock"].failures)
    async with fleet_at(url, CANCELLED) as fleet:
        before = open_sockets()

        async def keep_asking() -> None:
            while True:
                await fleet.ask(request())

        async with anyio.create_task_group() as tasks:
            for _ in range(CANCELLED):
                tasks.start_soon(keep_asking)
            with anyio.move_on_after(30 * size.latency_s):  # slow start lets them out round by round
                while fleet.snapshot()["mock"].in_flight < CANCELLED:  # noqa: ASYNC110 - the fleet has no event for it
                    await anyio.sleep(size.latency_s / 10)
            asked, during = fleet.snapshot()["mock"].in_flight, open_sockets() - before
            tasks.cancel_scope.cancel()
        await anyio.sleep(1)
        left = open_sockets() - before
    return {
        "ramp_to": size.ramp,
        "ramp_failures": failures,
        "in_flight": asked,
        "sockets_in_flight": during,  # beside what was open before, such as the connection of the first check
        "sockets_left": max(0, left),
    }


ARMS: dict[str, Callable[[str, Size], Awaitable[dict[str, float]]]] = {
    "bare": bare,
    "seedbed": seedbed,
    "faults": faults,
}


async def closed_loop(ask: Ask, size: Size) -> dict[str, float]:
    """Keep `in_flight` asking; measure after everything has been round twice."""
    memory_before = resident_kb()
    latencies: list[float] = []
    lags: list[float] = []

    async def keep_asking() -> None:
        while True:
            start = time.perf_counter()
            await ask()
            latencies.append(time.perf_counter() - start)

    async def watch_lag() -> None:
        while True:
            start = time.perf_counter()
            await anyio.sleep(0.01)
            lags.append(time.perf_counter() - start - 0.01)

    async with anyio.create_task_group() as tasks:
        for _ in range(size.in_flight):
            tasks.start_soon(keep_asking)
        await anyio.sleep(2 * size.latency_s + 1.5)
        tasks.start_soon(watch_lag)
        memory = resident_kb()
        latencies.clear()
        start, cpu_start = time.perf_counter(), time.process_time()
        await anyio.sleep(size.seconds)
        elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        tasks.cancel_scope.cancel()
    return {
        "requests_per_s": len(latencies) / elapsed,
        "cpu_us_per_request": cpu / len(latencies) * 1e6,
        "p99_over_s": quantile_99(latencies) - size.latency_s,
        "lag_p99_ms": quantile_99(lags) * 1e3,
        "kb_in_flight": (memory - memory_before) / size.in_flight,
    }


def request() -> Request:
    return Request(
        id=os.urandom(8).hex(),
        purpose="bench",
        messages=(Message(role="user", content=PROMPT),),
        sampling=Sampling(temperature=0.7, max_tokens=256),
    )


@asynccontextmanager
async def fleet_at(url: str, in_flight: int) -> AsyncIterator[Fleet]:
    allow_many_files()
    async with open_fleet(
        [EndpointConfig(name="mock", base_url=url, model="mock", max_in_flight=in_flight)],
        secrets=Secrets(),
        budget=BudgetConfig(),
        max_attempts=1,
        log_folder=Path("unused"),
        events=Events(),
    ) as fleet:
        yield fleet


def tune_collector() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def open_sockets() -> int:
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(str(link).startswith("socket:") for link in links)


def quantile_99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def report(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print("  ".join(f"{key}: {value}" for key, value in row.items()))
    print(f"possible: {result['sizes']['possible_requests_per_s']:g} requests/s")
    for bar in result["bars"]:
        print(f"{'holds ' if bar['holds'] else 'MISSED'}  {bar['name']}: {bar['value']} (wanted {bar['wanted']})")
    for name in result["not_run"]:
        print(f"not run: {name}")


if __name__ == "__main__":
    main()
