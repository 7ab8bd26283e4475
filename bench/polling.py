"""What polling the API costs generation: throughput with and without 100 requests/s, by turns in one running service.

    python bench/polling.py [--quick] [--json]

A real `seedbed serve` runs on the first core against the mock server of `fanout.py`, which shares the last core with
the client that polls: the status, a page of rows, the samples over time and the metrics by turns, at fixed times
whether the answer before has come or not. Turns with and without take each other's place, so that what else runs on
the machine and what grows in the service meets both; medians count. At the end generation is paused, and what polling
alone takes of the CPU is measured.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import httpx

from seedbed.core.files import read_json
from seedbed.service.init import create_workspace
from seedbed.service.remote import ACCESS_FILE

PATHS = ("/v1/status", "/v1/pool/rows?limit=20", "/v1/history", "/metrics")
POLLS_PER_S, LARGEST_FALL = 100.0, 0.03


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    in_flight: int
    latency_s: float
    turn_s: float
    turns: int


QUICK = Size(in_flight=64, latency_s=0.5, turn_s=3.0, turns=3)
FULL = Size(in_flight=1024, latency_s=2.0, turn_s=15.0, turns=12)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn came to."""

    requests_per_s: float
    """Of generation, answered."""
    cpu_us_per_request: float
    """Of the service, for each of those."""
    polls_per_s: float
    poll_ms: float
    """Median; 0 where nobody polled."""
    turned_away: float = 0.0
    """Polls answered by 429: more were open at once than the service allows, since it came too late to them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under 50 s")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--poll", metavar="URL", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.poll:
        asyncio.run(poll(chosen.poll, os.environ["POLLING_TOKEN"]))
        return
    result = measure(QUICK if chosen.quick else FULL, is_quick=chosen.quick)
    print(json.dumps(result) if chosen.json else told(result))


def measure(size: Size, *, is_quick: bool) -> dict[str, Any]:
    turns: dict[bool, list[Turn]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        mock_server(size.latency_s) as url,
        service(Path(folder) / "w", url, size) as (process, access),
        poller(access) as client,
    ):
        wait_until_full(access, size)
        for number in range(2 * size.turns):
            is_polled = number % 4 in {1, 2}  # without, with, with, without: what drifts meets both alike
            turns[is_polled].append(take_turn(access, client, process.pid, size.turn_s, is_polled=is_polled))
            print(f"{'polled' if is_polled else 'alone '}  {turns[is_polled][-1]}", file=sys.stderr)
        poll_us = cpu_of_polling(access, client, process.pid, size.turn_s)
    rows = {name: medians(turns[is_polled]) for name, is_polled in (("alone", False), ("polled", True))}
    ratio = rows["polled"]["requests_per_s"] / rows["alone"]["requests_per_s"]
    more_cpu = rows["polled"]["cpu_us_per_request"] / rows["alone"]["cpu_us_per_request"]
    return {
        "versions": {name: version(name) for name in ("fastapi", "uvicorn", "aiohttp")}
        | {"python": platform.python_version()},
        "sizes": asdict(size) | {"possible_requests_per_s": size.in_flight / size.latency_s},
        "rows": [
            {"arm": "alone", **rows["alone"]},
            {"arm": "polled", **rows["polled"]},
            {
                "arm": "polled against alone",
                "requests_per_s": round(ratio, 4),
                "cpu_us_per_request": round(more_cpu, 3),
            },
            {"arm": "paused", "cpu_us_per_poll": round(poll_us)},
        ],
        "bars": [
            {
                "name": "throughput with the API polled at 100 requests/s, against without",
                "value": round(ratio, 4),
                "wanted": f">= {1 - LARGEST_FALL}",
                "holds": ratio >= 1 - LARGEST_FALL,
            }
        ],
        "not_run": ["at 1,024 in flight"] if is_quick else [],
    }  # fmt: skip


@contextmanager
def mock_server(latency_s: float) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("fanout.py")), "--serve", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@contextmanager
def service(folder: Path, url: str, size: Size) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, str]]]:
    """Start `seedbed serve` on a workspace that never trains, on the first core."""
    create_workspace(folder, base_url=url, model="mock")
    text = (folder / "seedbed.toml").read_text()
    (folder / "seedbed.toml").write_text(text.replace("# max_in_flight = 64", f"max_in_flight = {size.in_flight}"))
    settings = {
        "SEEDBED__GENERATION__RECIPES": "{ alpaca = 1.0 }",
        "SEEDBED__GENERATION__TRIPLES_PER_REQUEST": "1",
        "SEEDBED__GENERATION__USE_JSON_SCHEMA": "always",
        "SEEDBED__GENERATION__DRAIN_GRACE_S": "0",
        "SEEDBED__POOL__FIRST_TARGET": "1000000000",
    }
    command = [sys.executable, "-m", "seedbed", "--workspace", str(folder), "serve", "--port", "0"]
    core = min(os.sched_getaffinity(0))
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings},
        )
        os.sched_setaffinity(process.pid, {core})  # before it has threads
    try:
        while not (folder / ACCESS_FILE).exists():
            if process.poll() is not None:
                raise SystemExit((folder / "serve.log").read_text())
            time.sleep(0.1)
        yield process, read_json(folder / ACCESS_FILE)
    finally:
        process.terminate()
        process.wait()


def wait_until_full(access: dict[str, str], size: Size) -> None:
    """Wait until the fleet has found its limit and everything has been round twice."""
    while sum(one["in_flight"] for one in status_of(access)["endpoints"].values()) < 0.9 * size.in_flight:
        time.sleep(0.5)
    time.sleep(2 * size.latency_s)


def status_of(access: dict[str, str]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {access['token']}"}
    found: dict[str, Any] = httpx.get(f"{access['url']}/v1/status", headers=headers, timeout=60, trust_env=False).json()
    return found


@contextmanager
def poller(access: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Start the client that polls, on the last core; it polls for as long as it is told on its standard input."""
    command = [sys.executable, __file__, "--poll", access["url"]]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "POLLING_TOKEN": access["token"]},
    ) as client:
        os.sched_setaffinity(client.pid, {max(os.sched_getaffinity(0))})
        try:
            yield client
        finally:
            client.terminate()


def take_turn(
    access: dict[str, str], client: "subprocess.Popen[str]", process: int, seconds: float, *, is_polled: bool
) -> Turn:
    assert client.stdin is not None
    assert client.stdout is not None
    if is_polled:
        client.stdin.write(f"{seconds + 2}\n")
        client.stdin.flush()
    time.sleep(1)  # what the turn before left is over
    before, cpu, start = status_of(access)["requests_answered"], cpu_s(process), time.perf_counter()
    time.sleep(seconds)
    answered, cpu = status_of(access)["requests_answered"] - before, cpu_s(process) - cpu
    passed = time.perf_counter() - start
    polled = json.loads(client.stdout.readline()) if is_polled else {"per_s": 0.0, "median_ms": 0.0, "turned_away": 0}
    cpu_us = cpu / answered * 1e6
    return Turn(answered / passed, cpu_us, polled["per_s"], polled["median_ms"], polled["turned_away"])


def cpu_of_polling(access: dict[str, str], client: "subprocess.Popen[str]", process: int, seconds: float) -> float:
    """Pause generation, and return the CPU of the service a poll, in microseconds."""
    assert client.stdin is not None
    assert client.stdout is not None
    headers = {"authorization": f"Bearer {access['token']}"}
    httpx.post(f"{access['url']}/v1/control/pause", headers=headers, timeout=60, trust_env=False).raise_for_status()
    while status_of(access)["phase"] != "paused":
        time.sleep(0.2)
    cpu = -cpu_s(process)
    client.stdin.write(f"{seconds}\n")
    client.stdin.flush()
    polled = json.loads(client.stdout.readline())
    cpu += cpu_s(process)
    return cpu / int(polled["polls"]) * 1e6


def cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def poll(url: str, token: str) -> None:
    """Poll for as many seconds as each line of standard input says, and print what came of it."""
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {token}"}) as session:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            took: list[float] = []

            async def ask(path: str, took: list[float] = took) -> None:
                start = loop.time()
                async with session.get(url + path) as answer:
                    await answer.read()
                if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                    return
                answer.raise_for_status()
                took.append(loop.time() - start)

            start, seconds = loop.time(), float(line)
            async with asyncio.TaskGroup() as tasks:
                for number in range(int(seconds * POLLS_PER_S)):
                    await asyncio.sleep(max(0.0, start + number / POLLS_PER_S - loop.time()))
                    tasks.create_task(ask(PATHS[number % len(PATHS)]))
            polls = {"polls": len(took), "turned_away": int(seconds * POLLS_PER_S) - len(took)}
            told = polls | {"per_s": len(took) / (loop.time() - start), "median_ms": median(took) * 1e3}
            print(json.dumps(told), flush=True)


def medians(turns: list[Turn]) -> dict[str, float]:
    return {name: round(median(asdict(turn)[name] for turn in turns), 1) for name in asdict(turns[0])}


def told(result: dict[str, Any]) -> str:
    lines = ["  ".join(f"{key}: {value}" for key, value in row.items()) for row in result["rows"]]
    lines += [
        f"{'holds ' if bar['holds'] else 'MISSED'}  {bar['name']}: {bar['value']} (wanted {bar['wanted']})"
        for bar in result["bars"]
    ]
    return "\n".join([*lines, *(f"not run: {name}" for name in result["not_run"])])


if __name__ == "__main__":
    main()
