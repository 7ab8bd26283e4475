"""What a request costs: the whole path to a durable row, against a bare aiohttp loop and what the latency allows.

    python bench/fanout.py [--quick] [--json]

A mock server of ours (raw asyncio, a new row in each answer after a fixed time) runs in a process of its own on the
last core, each client in a fresh process on the first; arms take turns, and medians count. The peer does what one would
write by hand: a closed loop on aiohttp with uvloop and a tuned garbage collector, bodies read and thrown away. `fleet`
does the same through `Fleet.ask`: limits, breaker, budget, deadlines, the answer read and checked. `whole` is what
`seedbed generate` does: a prompt of the Alpaca recipe made and stored before it is sent, its answer stored, parsed into
a row, compared with the benchmarks, the seeds and all rows before it, and on disk before it counts.
"""

import argparse
import gc
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from seedbed.core.records import Completion, Message, Request, Sampling
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.scripted_server import Received, Reply, serve_scripted
from seedbed.endpoints.wire import payload_of
from seedbed.service.context import Context, writing
from seedbed.service.generation import generate
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace

PROMPT = "Write three new tasks of this kind. " * 40
WORDS = [f"{one}{two}{three}" for one in ("ba", "ke", "li", "mo", "nu") for two in ("dra", "fen", "gil", "hos", "tum")
         for three in ("", "c", "let", "nd", "rin", "st", "vo", "xa")]  # fmt: skip
"""Enough words that two rows of them are never near each other."""
VERBS = (
    "Describe",
    "Name",
    "Compare",
    "Explain",
    "Sort",
    "Write",
    "Find",
    "List",
    "Rewrite",
    "Count",
    "Plan",
    "Choose",
)
"""Were all rows to begin alike, the watch over diversity would turn to other recipes."""
INSTRUCTION_WORDS, OUTPUT_WORDS = 12, 150
CANCELLED = 200
NOT_MEASURED = (
    "CPU a row against distilabel, Curator and data-designer: fanout_peers.py",
    "tokens/s against a closed loop on a real vLLM, and the limit found from a cold start: real_server.py",
)
"""What other scripts measure."""

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
    arms: dict[str, list[dict[str, float]]] = {"bare": [], "fleet": [], "whole": []}
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
        "bars": [*bars(rows[0], rows[1]), *bars(rows[0], rows[2]), *fault_bars(faults)],
        "not_run": [*(["at 1,024 in flight and 2 s", "ramp to 4,096"] if quick else []), *NOT_MEASURED],
    }


def bar(name: str, value: float, wanted: str, holds: bool) -> dict[str, Any]:
    return {"name": name, "value": round(value, 3), "wanted": wanted, "holds": holds}


def bars(bare: dict[str, Any], ours: dict[str, Any]) -> list[dict[str, Any]]:
    arm = ours["arm"]
    throughput = ours["requests_per_s"] / bare["requests_per_s"]
    cpu = ours["cpu_us_per_request"] / bare["cpu_us_per_request"]
    found = [
        bar(f"{arm}: requests/s against a bare aiohttp loop", throughput, ">= 0.95", throughput >= 0.95),
        bar(f"{arm}: CPU a request against a bare aiohttp loop", cpu, "<= 2", cpu <= 2),
        bar(f"{arm}: p99 over server latency, s", ours["p99_over_s"], "<= 0.5", ours["p99_over_s"] <= 0.5),
        bar(f"{arm}: KB a request in flight", ours["kb_in_flight"], "<= 40", ours["kb_in_flight"] <= 40),
        bar(f"{arm}: event-loop lag p99, ms", ours["lag_p99_ms"], "<= 50", ours["lag_p99_ms"] <= 50),
    ]
    if "rows_per_s" in ours:
        share = ours["rows_per_s"] / ours["requests_per_s"]
        found.append(bar(f"{arm}: durable accepted rows for each answer", share, ">= 0.95", share >= 0.95))
    return found


def fault_bars(faults: dict[str, float]) -> list[dict[str, Any]]:
    # Nothing left open says something only where all were in flight before.
    asked, left = faults["in_flight"], faults["sockets_left"]
    return [
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
    usage = {"prompt_tokens": 300, "completion_tokens": 240, "total_tokens": 540}
    models = Reply(b'{"data": [{"id": "mock"}]}')
    rng = random.Random(0)

    def respond(received: Received) -> Reply:
        if received.method == "POST":
            instruction = " ".join(rng.choices(WORDS, k=INSTRUCTION_WORDS))
            task = {"topic": "it", "instruction": f"{rng.choice(VERBS)} {instruction}.", "input": "", "output": ""}
            task["output"] = f"The {' '.join(rng.choices(WORDS, k=OUTPUT_WORDS))}."
            content = orjson.dumps({"tasks": [task]}).decode()
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
            body = {"model": "mock", "choices": [choice], "usage": usage}
            return Reply(orjson.dumps(body), delay_s=latency_s)
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


async def fleet(url: str, size: Size) -> dict[str, float]:
    """Ask through the fleet."""
    async with fleet_at(url, size.in_flight) as opened:

        async def ask() -> None:
            await opened.ask(request())

        return await closed_loop(ask, size)


async def whole(url: str, size: Size) -> dict[str, float]:
    """Do what `seedbed generate` does, in a workspace of its own on the disk."""
    allow_many_files()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        create_workspace(Path(folder) / "workspace", base_url=url, model="mock")
        workspace = open_workspace(Path(folder) / "workspace")
        settings = workspace.config.generation.model_copy(
            update={
                "recipes": {"alpaca": 1.0},
                "triples_per_request": 1,
                "use_json_schema": "always",
                "drain_grace_s": 0.0,
            }
        )
        endpoints = (workspace.config.endpoints[0].model_copy(update={"max_in_flight": size.in_flight}),)
        pool = workspace.config.pool.model_copy(update={"first_target": 10**9})
        config = workspace.config.model_copy(update={"generation": settings, "endpoints": endpoints, "pool": pool})
        with writing(replace(workspace, config=config)) as context:
            return await watched(context, size)


async def watched(context: Context, size: Size) -> dict[str, float]:
    """Generate, and measure after everything has been round twice."""
    live, stop = Live(), Stop()
    latencies: list[float] = []
    original = Fleet.ask

    async def timed(self: Fleet, request: Request) -> Completion:
        completion = await original(self, request)
        latencies.append(completion.latency_s)  # without the wait for a place
        return completion

    Fleet.ask = timed  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(generate, context, target=10**9, stop=stop, live=live))
        while live.fleet is None:  # noqa: ASYNC110 - filters are loaded before
            await anyio.sleep(0.01)
        memory_before = resident_kb()
        await anyio.sleep(2 * size.latency_s + 1.5)
        memory = resident_kb()
        counters = live.counters
        latencies.clear()
        before = (counters.completions, counters.accepted)
        found = await measured(size)
        answers, rows = counters.completions - before[0], counters.accepted - before[1]
        # Rows stay in the filters' indexes: what each of them took while we measured is no part of a request in flight.
        rows_kb = (resident_kb() - memory) / max(1, rows) * before[1]
        found |= {
            "requests_per_s": answers / found["seconds"],
            "rows_per_s": rows / found["seconds"],
            "cpu_us_per_request": found["cpu_s"] / answers * 1e6,
            "p99_over_s": quantile_99(latencies) - size.latency_s,
            "kb_in_flight": (memory - memory_before - rows_kb) / size.in_flight,
        }
        tasks.cancel_scope.cancel()
    Fleet.ask = original  # type: ignore[method-assign]
    return found


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
    "fleet": fleet,
    "whole": whole,
    "faults": faults,
}


async def closed_loop(ask: Ask, size: Size) -> dict[str, float]:
    """Keep `in_flight` asking; measure after everything has been round twice."""
    memory_before = resident_kb()
    latencies: list[float] = []

    async def keep_asking() -> None:
        while True:
            start = time.perf_counter()
            await ask()
            latencies.append(time.perf_counter() - start)

    async with anyio.create_task_group() as tasks:
        for _ in range(size.in_flight):
            tasks.start_soon(keep_asking)
        await anyio.sleep(2 * size.latency_s + 1.5)
        memory = resident_kb()
        latencies.clear()
        found = await measured(size)
        tasks.cancel_scope.cancel()
    return found | {
        "requests_per_s": len(latencies) / found["seconds"],
        "cpu_us_per_request": found["cpu_s"] / len(latencies) * 1e6,
        "p99_over_s": quantile_99(latencies) - size.latency_s,
        "kb_in_flight": (memory - memory_before) / size.in_flight,
    }


async def measured(size: Size) -> dict[str, float]:
    """Let time pass, and return how much, the CPU that went by in all threads, and how late timers were."""
    lags: list[float] = []
    start, cpu_start = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < size.seconds:
        slept = time.perf_counter()
        await anyio.sleep(0.01)
        lags.append(time.perf_counter() - slept - 0.01)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu_start,
        "lag_p99_ms": quantile_99(lags) * 1e3,
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
