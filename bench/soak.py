"""What a service takes as it runs on: memory, file descriptors, answer times, events and logs, through N candidates.

    python bench/soak.py [--candidates N] [--minutes M] [--accepted SHARE] [--folder DIR] [--quick] [--json]

By hand: a million candidates take hours on two cores. A real `seedbed serve` runs as a child against a scripted server
in a process of its own, and is looked at from outside, through /proc and HTTP. Of what the server writes, `--accepted`
is new; the rest are near-duplicates of it, malformed rows and text that is no row. The indexes hold what is accepted,
so memory may grow with that alone: the slope is told for 10,000 candidates and for an accepted row. A client refuses
and accepts one row again and again, with long notes, so that the event log has something to rotate. The interval of a
slope is that of 1,000 draws of a moving-block bootstrap over its residuals, since samples that follow each other are
alike.
"""

import argparse
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import httpx
import numpy as np
import orjson

from seedbed.core.files import read_json
from seedbed.endpoints.scripted_server import Received, Reply, serve_scripted
from seedbed.service.init import create_workspace
from seedbed.service.remote import ACCESS_FILE

STARTS = [f"{one}{two}" for one in ("ba", "ke", "li", "mo", "nu", "ra", "si", "to") for two in ("dra", "fen", "gil")]
WORDS = [f"{one}{two}{three}" for one in STARTS for two in ("c", "let", "nd", "rin") for three in ("a", "e", "i", "o")]
"""Enough words that two rows of them are never near each other."""
ROWS_PER_ANSWER, WARM_UP_SHARE, BLOCK, DRAWS = 3, 0.25, 12, 1000
LATENCY_S, IN_FLIGHT, SAMPLE_S, NOTES_PER_S = 0.2, 64, 2.0, 20.0
NOTE = "a long note " * 160


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the service from outside."""

    at: float
    """Seconds since the start."""
    decided: int
    accepted: int
    rss_kb: int
    descriptors: int
    page_ms: float
    status_ms: float
    events_bytes: int
    logs_bytes: int
    rotated: int
    """Event files set aside."""
    database_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop then, wherever it is")
    parser.add_argument("--accepted", type=float, default=0.02, help="share of the rows that is new")
    parser.add_argument("--folder", type=Path, help="where the workspace is made (default: the system's temporary)")
    parser.add_argument("--quick", action="store_true", help="3,000 candidates")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        anyio.run(answer_rows, chosen.accepted)
        return
    wanted = 3_000 if chosen.quick else chosen.candidates
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        result = measure(Path(folder) / "w", wanted, chosen.accepted, chosen.minutes * 60)
    print(json.dumps(result) if chosen.json else told(result))


def measure(folder: Path, wanted: int, accepted: float, limit_s: float) -> dict[str, Any]:
    samples: list[Sample] = []
    with scripted(accepted) as url, service(folder, url) as (process, client):
        threading.Thread(target=write_notes, args=(folder, client), daemon=True).start()
        began = time.monotonic()
        while (not samples or samples[-1].decided < wanted) and time.monotonic() - began < limit_s:
            time.sleep(SAMPLE_S)
            if process.poll() is not None:
                raise SystemExit(f"the service ended with exit code {process.returncode}; see {folder}/serve.log")
            samples.append(look(folder, process.pid, client, began))
            print(progress(samples[-1]), file=sys.stderr)
    return summed(samples, wanted)


@contextmanager
def scripted(accepted: float) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", "--accepted", str(accepted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@contextmanager
def service(folder: Path, url: str) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """Start `seedbed serve` on a workspace that never trains, and yield it with a client that may ask it."""
    create_workspace(folder, base_url=url, model="scripted")
    settings = {
        "SEEDBED__GENERATION__RECIPES": "{ alpaca = 1.0 }",
        "SEEDBED__GENERATION__USE_JSON_SCHEMA": "always",
        "SEEDBED__GENERATION__CONCURRENCY": str(IN_FLIGHT),
        "SEEDBED__GENERATION__MAX_FRUITLESS_REQUESTS": "1000000",
        "SEEDBED__DIVERSITY__REACT": "false",
        "SEEDBED__POOL__FIRST_TARGET": "1000000000",
    }
    command = [sys.executable, "-m", "seedbed", "--workspace", str(folder), "serve", "--port", "0"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **settings})
    try:
        while not (folder / ACCESS_FILE).exists():
            if process.poll() is not None:
                raise SystemExit((folder / "serve.log").read_text())
            time.sleep(0.1)
        access = read_json(folder / ACCESS_FILE)
        headers = {"authorization": f"Bearer {access['token']}"}
        with httpx.Client(base_url=access["url"], headers=headers, timeout=60, trust_env=False) as client:
            while client.get("/v1/status").json()["phase"] != "generating":
                time.sleep(0.5)
            yield process, client
    finally:
        process.terminate()
        process.wait()


async def answer_rows(accepted: float) -> None:
    """Serve answers of three rows: some new, others like those before, malformed, or no rows at all."""
    rng, earlier, usage = (
        random.Random(0),
        [new_row(random.Random(1))],
        {"prompt_tokens": 300, "completion_tokens": 240},
    )

    def row() -> dict[str, str]:
        chance = rng.random()
        if chance < accepted:
            earlier.append(new_row(rng))
            del earlier[:-1000]
            return earlier[-1]
        like = rng.choice(earlier)
        if chance < 0.3:
            return like | {"output": " ".join(rng.choices(WORDS, k=60))}
        if chance < 0.6:
            return like | {"instruction": f"{like['instruction']} {rng.choice(WORDS)} {rng.choice(WORDS)}"}
        return {
            "topic": "it",
            "instruction": rng.choice(WORDS),
            "input": "",
            "output": " ".join(rng.choices(WORDS, k=9)),
        }

    def respond(received: Received) -> Reply:
        if received.method != "POST":
            return Reply(b'{"data": [{"id": "scripted"}]}', 200 if received.path == "/v1/models" else 404)
        is_text = rng.random() < 0.05
        content = (
            "no rows today" if is_text else orjson.dumps({"tasks": [row() for _ in range(ROWS_PER_ANSWER)]}).decode()
        )
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        return Reply(orjson.dumps({"model": "scripted", "choices": [choice], "usage": usage}), delay_s=LATENCY_S)

    async with serve_scripted(respond=respond) as base_url:
        print(base_url, flush=True)
        await anyio.sleep_forever()


def new_row(rng: random.Random) -> dict[str, str]:
    instruction, output = (" ".join(rng.choices(WORDS, k=count)) for count in (12, 60))
    return {"topic": "it", "instruction": f"Describe {instruction}.", "input": "", "output": f"The {output}."}


def write_notes(folder: Path, client: httpx.Client) -> None:
    """Refuse and accept one row by turns, so that the event log grows as over weeks."""
    with httpx.Client(base_url=client.base_url, headers=client.headers, timeout=60, trust_env=False) as own:
        while (folder / ACCESS_FILE).exists():
            try:
                found = own.get("/v1/pool/rows", params={"state": "accepted", "limit": 1}).json()["rows"]
                for verdict in ("refuse", "accept") * 200 if found else ():
                    own.post(f"/v1/pool/rows/{found[0]['candidate']['id']}/{verdict}", json={"note": NOTE})
                    time.sleep(1 / NOTES_PER_S)
            except httpx.HTTPError:
                time.sleep(1)


def look(folder: Path, process: int, client: httpx.Client, began: float) -> Sample:
    page_ms, status_ms = timed(client, "/"), timed(client, "/v1/status")
    status = client.get("/v1/status").json()
    memory = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert memory is not None
    logs = folder / "logs"
    events = logs / "events.jsonl"
    return Sample(
        at=time.monotonic() - began,
        decided=status["decided"],
        accepted=status["accepted"],
        rss_kb=int(memory[1]),
        descriptors=len(list(Path(f"/proc/{process}/fd").iterdir())),
        page_ms=page_ms,
        status_ms=status_ms,
        events_bytes=events.stat().st_size,
        logs_bytes=sum(path.stat().st_size for path in logs.iterdir()),
        rotated=len(list(logs.glob(f"{events.name}.*"))),
        database_bytes=sum(path.stat().st_size for path in folder.glob("pool.sqlite3*")),
    )


def timed(client: httpx.Client, path: str) -> float:
    start = time.perf_counter()
    client.get(path, follow_redirects=True).raise_for_status()
    return (time.perf_counter() - start) * 1e3


def summed(samples: list[Sample], wanted: int) -> dict[str, Any]:
    last = samples[-1]
    warm = [one for one in samples if one.decided >= WARM_UP_SHARE * last.decided]
    decided = [one.decided / 10_000 for one in warm]
    memory, descriptors = (
        slope(decided, [one.rss_kb for one in warm]),
        slope(decided, [one.descriptors for one in warm]),
    )
    by_row = slope([one.accepted for one in warm], [one.rss_kb for one in warm])
    page, status = median(one.page_ms for one in samples), median(one.status_ms for one in samples)
    return {
        "versions": {name: version(name) for name in ("fastapi", "uvicorn", "SQLAlchemy")}
        | {"python": platform.python_version()},
        "sizes": {"wanted": wanted, "decided": last.decided, "accepted": last.accepted, "seconds": round(last.at)},
        "rows": [
            {"what": "memory, KB for 10,000 candidates", **memory},
            {"what": "memory, KB for an accepted row", **by_row},
            {"what": "file descriptors for 10,000 candidates", **descriptors},
            {"what": "page, ms", "median": round(page, 1), "p99": quantile([one.page_ms for one in samples])},
            {"what": "/v1/status, ms", "median": round(status, 1), "p99": quantile([one.status_ms for one in samples])},
            {"what": "resident memory, MB", "warm": round(warm[0].rss_kb / 1e3), "last": round(last.rss_kb / 1e3)},
            {"what": "file descriptors", "warm": warm[0].descriptors, "last": last.descriptors},
            {"what": "logs", "events_bytes": last.events_bytes, "all_bytes": last.logs_bytes, "rotated": last.rotated},
            {"what": "database, bytes a candidate", "value": round(last.database_bytes / last.decided)},
        ],
        "bars": [
            {"name": "median of the page while it generates, ms", "value": round(page, 1), "wanted": "< 200",
             "holds": page < 200},
            {"name": "growth of file descriptors, lower end of the interval", "value": descriptors["low"],
             "wanted": "<= 0", "holds": descriptors["low"] <= 0},
        ],
        "not_run": [] if last.decided >= 1_000_000 else ["1,000,000 candidates"],
    }  # fmt: skip


def slope(x: list[float] | list[int], y: list[float] | list[int]) -> dict[str, float]:
    """Fit a line, and draw blocks of its residuals for the 95% interval of its slope."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    if len(xs) < 2 * BLOCK or xs[0] == xs[-1]:
        return {"slope": float("nan"), "low": float("nan"), "high": float("nan")}
    fitted = np.polyfit(xs, ys, 1)
    line = np.polyval(fitted, xs)
    residuals, rng, drawn = ys - line, np.random.default_rng(0), []
    for _ in range(DRAWS):
        starts = rng.integers(0, len(xs) - BLOCK + 1, -(-len(xs) // BLOCK))
        noise = np.concatenate([residuals[start : start + BLOCK] for start in starts])[: len(xs)]
        drawn.append(np.polyfit(xs, line + noise, 1)[0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"slope": round(float(fitted[0]), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def quantile(values: list[float], at: float = 0.99) -> float:
    return round(sorted(values)[int(len(values) * at)], 1)


def progress(one: Sample) -> str:
    return (
        f"{one.at:6.0f} s  {one.decided} decided, {one.accepted} accepted, {one.rss_kb / 1e3:.1f} MB, "
        f"{one.descriptors} descriptors, page {one.page_ms:.0f} ms, status {one.status_ms:.0f} ms, "
        f"events {one.events_bytes} bytes, {one.rotated} rotated"
    )


def told(result: dict[str, Any]) -> str:
    lines = ["  ".join(f"{key}: {value}" for key, value in result["sizes"].items())]
    lines += ["  ".join(f"{key}: {value}" for key, value in row.items()) for row in result["rows"]]
    lines += [
        f"{'holds ' if bar['holds'] else 'MISSED'}  {bar['name']}: {bar['value']} (wanted {bar['wanted']})"
        for bar in result["bars"]
    ]
    return "\n".join([*lines, *(f"not run: {name}" for name in result["not_run"])])


if __name__ == "__main__":
    main()
