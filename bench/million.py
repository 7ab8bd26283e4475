"""What `seedbed filter` does with a million rows: the funnel, rows a second, peak memory, and a run cut in two.

    python bench/million.py [--quick] [--json] [--corpus DIR] [--seed N] [--rows N] [--keep DIR]

The rows are short instructions with made-up short answers; one in ten is an altered copy of an earlier instruction
(a word replaced, a word left out, or all in capitals). The command runs as a user runs it, in a process of its own,
is interrupted with SIGINT when a third of the rows are decided, and is started again with the same arguments. With
`--quick` the result is compared, byte for byte, with that of a run that was not interrupted.
"""

import argparse
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.2
ALTERED_SHARE = 0.1
DONE = "funnel.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a run."""

    exit_code: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    rows: int
    """Decided when it ended, by this part and those before it."""


def instructions(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from (line.rstrip("\n") for line in lines)


def altered(text: str, vocabulary: list[str], rng: random.Random) -> str:
    words = text.split()
    match rng.randrange(3):
        case 0 if words:
            words[rng.randrange(len(words))] = rng.choice(vocabulary)
        case 1 if len(words) > 1:
            del words[rng.randrange(len(words))]
        case _:
            words = [word.upper() for word in words]
    return " ".join(words)


def rows_of(path: Path, count: int, rng: random.Random) -> Iterator[dict[str, str]]:
    """Yield `count` rows, a tenth of them altered copies."""
    known: list[str] = []
    fresh = instructions(path)
    vocabulary: list[str] = []
    for _ in range(count):
        if len(known) > 100 and rng.random() < ALTERED_SHARE:
            instruction = altered(rng.choice(known), vocabulary, rng)
        else:
            instruction = next(fresh)
            known.append(instruction)
            vocabulary += instruction.split() if len(vocabulary) < 20_000 else []
        answer = " ".join(rng.choice(vocabulary) for _ in range(rng.randint(4, 14)))
        yield {"instruction": instruction, "input": "", "output": f"{answer.capitalize()}."}


def write_rows(path: Path, corpus: Path, count: int, rng: random.Random) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows_of(corpus / "short_1m.txt.gz", count, rng):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def decided(out: Path) -> int:
    """Return how many rows the folder's last checkpoint counts."""
    for name in (DONE, "progress.json"):
        if (out / name).exists():
            record = json.loads((out / name).read_text(encoding="utf-8"))
            return int(record["rows"] if name == DONE else record["counts"].get("rows", 0))
    return 0


def run(source: Path, out: Path, interrupt_at: int | None = None) -> Part:
    """Run the command; interrupt it when so many rows are decided."""
    started = time.monotonic()
    command = [sys.executable, "-m", "seedbed", "filter", str(source), "--out", str(out), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    is_sent = interrupt_at is None
    while True:
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        if not is_sent and interrupt_at is not None and decided(out) >= interrupt_at:
            child.send_signal(signal.SIGINT)
            is_sent = True
        time.sleep(POLL_SECONDS)
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = used.ru_utime + used.ru_stime
    wall_s = time.monotonic() - started
    return Part(child.returncode, wall_s, cpu_s, used.ru_maxrss * 1024, decided(out))


def equal_files(first: Path, second: Path) -> bool:
    return all(
        (first / name).read_bytes() == (second / name).read_bytes() for name in ("accepted.jsonl", "refused.jsonl")
    )


def measure(folder: Path, corpus: Path, count: int, rng: random.Random, *, is_compared: bool) -> dict[str, Any]:
    source, out = folder / "rows.jsonl", folder / "out"
    write_rows(source, corpus, count, rng)
    parts = [run(source, out, interrupt_at=count // 3), run(source, out)]
    report: dict[str, Any] = {
        "rows": count,
        "parts": [asdict(part) for part in parts],
        "rows_per_s": count / sum(part.wall_s for part in parts),
        "rows_per_cpu_s": count / sum(part.cpu_s for part in parts),
        "peak_bytes": max(part.peak_bytes for part in parts),
        "funnel": json.loads((out / DONE).read_text(encoding="utf-8")),
        "is_interrupted": parts[0].exit_code != 0 and parts[0].rows < count,
    }
    if is_compared:
        run(source, folder / "whole")
        report["equals_a_run_in_one"] = equal_files(out, folder / "whole")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "corpus")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--keep", type=Path, help="leave the files in this new folder")
    options = parser.parse_args()
    count = options.rows or (40_000 if options.quick else 1_000_000)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(folder, options.corpus, count, rng, is_compared=options.quick)
    print(json.dumps(result) if options.json else text_of(result))


def text_of(result: dict[str, Any]) -> str:
    funnel = result["funnel"]
    lines = [f"{result['rows']:,} rows, {result['rows_per_s']:,.0f} rows/s, {result['rows_per_cpu_s']:,.0f} rows/CPU s"]
    lines += [f"peak memory {result['peak_bytes'] / 2**30:.2f} GiB"]
    for part in result["parts"]:
        lines.append(
            f"  exit {part['exit_code']:>3}: {part['rows']:>9,} rows decided after {part['wall_s']:,.0f} s "
            f"({part['cpu_s']:,.0f} CPU s), peak {part['peak_bytes'] / 2**30:.2f} GiB"
        )
    for name, filtered in funnel["filters"].items():
        lines.append(
            f"  {name:15} {filtered['checked']:>10,} checked {filtered['refused']:>9,} refused "
            f"{filtered['seconds']:>8,.1f} s"
        )
    lines += [f"  {reason:40} {number:>10,}" for reason, number in funnel["refused"].items()]
    lines.append(f"  {'accepted':40} {funnel['accepted']:>10,}")
    if "equals_a_run_in_one" in result:
        lines.append(f"{'holds' if result['equals_a_run_in_one'] else 'MISSED':7} equals a run without interruption")
    lines.append(f"{'holds' if result['is_interrupted'] else 'MISSED':7} interrupted on the way and resumed")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
