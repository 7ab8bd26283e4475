"""Rows a second that the pool acknowledges as durable, by how callers hand them in, and what counts cost as it grows.

    python bench/pool.py [--quick] [--json] [--folder DIR]

The peer is the same table written by plain `sqlite3` with a commit a row (`synchronous=FULL`), which is what a pool
without group commit does. The folder should lie on the disk that matters: a tmpfs syncs nothing.
"""

import argparse
import asyncio
import json
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy

from seedbed.core.config import PoolConfig
from seedbed.core.records import Candidate, Decision, Lineage, Subject, Verdict
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided

NEVER = PoolConfig(first_target=1_000_000_000)
WANTED_AT_256 = 10_000.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under 50 s")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--folder", type=Path, help="where the databases are made (default: the system's temporary)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder), quick=arguments.quick)
    if arguments.json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print("  ".join(f"{key}: {value}" for key, value in row.items()))
    for bar in result["bars"]:
        print(f"{'holds ' if bar['holds'] else 'MISSED'}  {bar['name']}: {bar['value']} (wanted {bar['wanted']})")


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    count = 4_000 if quick else 40_000
    rows = [
        _row("plain sqlite3, a commit a row", plain(folder / "plain.sqlite3", 200 if quick else 1_000)),
        _row("one thread, a commit a row", blocking(folder / "one", 200 if quick else 1_000, threads=1)),
        _row("256 threads, a row each", blocking(folder / "threads", count, threads=256)),
        _row("256 coroutines, a row each", asyncio.run(awaiting(folder / "coroutines", count, callers=256))),
        _row("batches of 256", batches(folder / "batches", count)),
    ]
    grown, rereads = growth(folder / "growth", 20_000 if quick else 1_000_000)
    best = max(row["rows_per_s"] for row in rows[2:4])
    rate = best / rows[0]["rows_per_s"]
    return {
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "sqlalchemy": sqlalchemy.__version__,
        },
        "sizes": {"rows": count, "grown_to": grown[-1]["rows_in_pool"]},
        "rows": rows + grown,
        "bars": [
            _bar("rows/s acknowledged, 256 callers of one row each", best, WANTED_AT_256, ">="),
            _bar("… as a multiple of plain sqlite3 with a commit a row", round(rate, 1), 10.0, ">="),
            _bar("ms to read all counts at the grown size, of those at 1,000 rows", rereads, 3.0, "<="),
        ],
        "not_run": ["counts at 1,000,000 rows"] if quick else [],
    }


def plain(path: Path, count: int) -> tuple[int, float, list[float]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE candidates (id TEXT PRIMARY KEY, instruction TEXT, output TEXT)")
        waits, start = [], time.perf_counter()
        for number in range(count):
            begun = time.perf_counter()
            row = _decided(number).subject
            assert isinstance(row, Candidate)
            connection.execute("INSERT INTO candidates VALUES (?, ?, ?)", (row.id, row.instruction, row.output))
            waits.append(time.perf_counter() - begun)
        return count, time.perf_counter() - start, waits


def blocking(folder: Path, count: int, *, threads: int) -> tuple[int, float, list[float]]:
    waits: list[float] = []

    def write(pool: Pool, first: int) -> None:
        for number in range(first, count, threads):
            item, begun = _decided(number), time.perf_counter()
            pool.commit([item])
            waits.append(time.perf_counter() - begun)

    with Pool.open(folder, NEVER) as pool:
        running = [threading.Thread(target=write, args=(pool, first)) for first in range(threads)]
        seconds = _timed(lambda: _run_all(running))
    return count, seconds, waits


async def awaiting(folder: Path, count: int, *, callers: int) -> tuple[int, float, list[float]]:
    waits: list[float] = []

    async def write(pool: Pool, first: int) -> None:
        for number in range(first, count, callers):
            item, begun = _decided(number), time.perf_counter()
            await asyncio.wrap_future(pool.submit_decided([item]))
            waits.append(time.perf_counter() - begun)

    with Pool.open(folder, NEVER) as pool:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for first in range(callers):
                group.create_task(write(pool, first))
        return count, time.perf_counter() - start, waits


def batches(folder: Path, count: int) -> tuple[int, float, list[float]]:
    items = [_decided(number) for number in range(count)]
    waits: list[float] = []
    with Pool.open(folder, NEVER) as pool:
        start = time.perf_counter()
        for first in range(0, count, 256):
            begun = time.perf_counter()
            pool.commit(items[first : first + 256])
            waits.append(time.perf_counter() - begun)
        return count, time.perf_counter() - start, waits


def growth(folder: Path, size: int) -> tuple[list[dict[str, Any]], float]:
    """Grow a pool and read its counts as it grows; the rows, and the last reading as a multiple of the first."""
    rows: list[dict[str, Any]] = []
    with Pool.open(folder, NEVER) as pool:
        number = 0
        for wanted in [1_000, *[part for part in (20_000, 100_000, 1_000_000) if part <= size]]:
            items, seconds = wanted - number, 0.0
            while number < wanted:
                batch = [_decided(one) for one in range(number, min(number + 512, wanted))]
                seconds += _timed(lambda batch=batch: pool.commit(batch))  # type: ignore[misc]
                number += len(batch)
            reads = [_timed(pool.counts) for _ in range(21)]
            milliseconds = round(statistics.median(reads) * 1000, 3)
            rate = round(items / seconds)
            rows.append({"what": "growing", "rows_in_pool": wanted, "rows_per_s": rate, "counts_ms": milliseconds})
    return rows, round(rows[-1]["counts_ms"] / rows[0]["counts_ms"], 2)


def _run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _decided(number: int) -> Decided:
    candidate = Candidate.of(
        f"Write a sentence of {number} words about a river that nobody has named",
        "",
        f"This is the answer number {number}, and it is about as long as such answers are.",
        lineage=Lineage(recipe="alpaca", request_ids=(f"request {number}",), demonstration_ids=("a", "b", "c")),
        requested_category="creative",
    )
    verdict = Verdict(filter="rouge", accepted=True, score=0.4, threshold=0.7, neighbour_id="seed-1")
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=candidate.id,
        sequence=0,
        accepted=True,
        verdicts=(verdict,),
        decided_at=0.0,
    )
    return Decided(candidate, decision)


def _row(what: str, measured: tuple[int, float, list[float]]) -> dict[str, Any]:
    count, seconds, waits = measured
    cuts = statistics.quantiles(waits, n=100)
    return {
        "what": what,
        "rows": count,
        "rows_per_s": round(count / seconds),
        "p50_ms": round(cuts[49] * 1000, 2),
        "p99_ms": round(cuts[98] * 1000, 2),
    }


def _bar(name: str, value: float, wanted: float, operator: str) -> dict[str, Any]:
    holds = value >= wanted if operator == ">=" else value <= wanted
    return {"name": name, "value": value, "wanted": f"{operator} {wanted:g}", "holds": holds}


if __name__ == "__main__":
    main()
