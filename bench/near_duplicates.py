"""What near-duplicate search costs, beside datasketch and rensa, and whether it finds what exact Jaccard finds.

    python bench/near_duplicates.py [--quick] [--json] [--corpus DIR] [--plots DIR] [--seed N]

One thread, thread CPU time, the best of three turns, arms in turn. All start from the same texts (input + output of
triples) and take word 5-grams and 128 permutations; tokenizing counts for all. Query and insert starts from signatures
for both (ours in batches of 256, each text seeing those before it), and ours verifies by exact Jaccard, theirs does
not. Recall is against an inverted index over the shingles themselves, in plain Python. Growth: the same texts, none of
them in the pool, are looked up in growing pools; the plot shows ours beside datasketch's.
"""

import argparse
import gzip
import itertools
import json
import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datasketch import LeanMinHash, MinHash, MinHashLSH
from rensa import RMinHash

from seedbed.core.text import words
from seedbed.filters.minhash_index import MinHashIndex, Sketcher, Sketches, choose_bands

THRESHOLD = 0.7
PERMUTATIONS = 128


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    pool: int
    edits: int
    signed: int
    inserted: int
    growth: tuple[int, ...]
    asked: int
    """Texts looked up at each size of `growth`."""


QUICK = Size(pool=4_000, edits=500, signed=600, inserted=2_000, growth=(500, 1_000, 2_000, 3_500), asked=500)
FULL = Size(
    pool=50_000, edits=3_000, signed=10_000, inserted=20_000, growth=(3_000, 6_000, 12_000, 24_000, 36_000), asked=3_000
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what is wanted of it."""

    name: str
    value: float
    wanted: str
    holds: bool


def at_least(name: str, value: float, wanted: float) -> Bar:
    return Bar(name, value, f">= {wanted:,g}", value >= wanted)


def texts_of(path: Path, count: int) -> list[str]:
    """Return input + output of triples that have at least 20 words there."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = (json.loads(line) for line in lines)
        long = (f"{row['input']}\n{row['output']}" for row in rows)
        return list(itertools.islice((text for text in long if len(words(text)) >= 20), count))


def shingles(text: str) -> list[str]:
    found = words(text)
    return [" ".join(found[at : at + 5]) for at in range(len(found) - 4)]


def cpu_seconds(call: Callable[[], object]) -> float:
    before = time.thread_time()
    call()
    return time.thread_time() - before


def best_of(arms: dict[str, Callable[[], object]], turns: int = 3) -> dict[str, float]:
    """Return the least CPU seconds of each arm; arms take turns, so that a busy machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(turns):
        for name, call in arms.items():
            times[name].append(cpu_seconds(call))
    return {name: min(taken) for name, taken in times.items()}


def measure_signing(texts: Sequence[str]) -> tuple[list[Row], list[Bar]]:
    sketcher = Sketcher(permutations=PERMUTATIONS)
    taken = best_of(
        {
            "ours": lambda: sketcher.signatures(texts),
            "datasketch": lambda: MinHash.bulk(
                [[one.encode() for one in shingles(text)] for text in texts], num_perm=PERMUTATIONS, scheme="affine32"
            ),
            "rensa": lambda: RMinHash.digest_matrix_from_token_sets(
                [shingles(text) for text in texts], PERMUTATIONS, 1
            ),
        }
    )
    rows = [Row(f"text to signature, {name}", seconds / len(texts) * 1e6, "us") for name, seconds in taken.items()]
    return rows, [
        at_least("text to signature: times datasketch's MinHash.bulk", taken["datasketch"] / taken["ours"], 15),
        at_least("text to signature: times rensa", taken["rensa"] / taken["ours"], 3),
    ]


def query_and_insert_singly(sketches: Sketches) -> None:
    index = MinHashIndex(choose_bands(THRESHOLD, PERMUTATIONS))
    for sketch in sketches:
        index.nearest(sketch)
        index.add(sketch)


def query_and_insert(sketches: Sketches) -> None:
    index = MinHashIndex(choose_bands(THRESHOLD, PERMUTATIONS))
    for first in range(0, len(sketches), 256):
        index.take(sketches.part(first, first + 256))


def query_and_insert_datasketch(lean: Sequence[LeanMinHash]) -> None:
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    for number, signature in enumerate(lean):
        index.query(signature)
        index.insert(number, signature)


def measure_index(texts: Sequence[str]) -> tuple[list[Row], list[Bar]]:
    sketches = Sketcher(permutations=PERMUTATIONS).sketches(texts)
    lean = [sketch.lean() for sketch in sketches]
    taken = best_of(
        {
            "ours, verified": lambda: query_and_insert(sketches),
            "ours, verified, one call each": lambda: query_and_insert_singly(sketches),
            "datasketch's MinHashLSH": lambda: query_and_insert_datasketch(lean),
        }
    )
    rows = [Row(f"query + insert, {name}", seconds / len(texts) * 1e6, "us") for name, seconds in taken.items()]
    ratio = taken["datasketch's MinHashLSH"] / taken["ours, verified"]
    return rows, [at_least("query + insert: times datasketch's MinHashLSH", ratio, 30)]


def measure_growth(texts: Sequence[str], size: Size) -> list[Row]:
    """Look the last texts up in growing pools of the first ones."""
    sketches = Sketcher(permutations=PERMUTATIONS).sketches(texts)
    asked = sketches.part(len(texts) - size.asked, len(texts))
    index, theirs = MinHashIndex(choose_bands(THRESHOLD, PERMUTATIONS)), MinHashLSH(THRESHOLD, PERMUTATIONS)
    rows, held = [], 0
    for wanted in size.growth:
        for number in range(held, wanted):
            index.add(sketches[number])
            theirs.insert(number, sketches[number].lean())
        held = wanted
        lean = [sketch.lean() for sketch in asked]
        taken = best_of(
            {
                "ours, verified": lambda: [index.nearest(sketch) for sketch in asked],
                "datasketch's MinHashLSH": lambda lean=lean: [theirs.query(one) for one in lean],  # type: ignore[misc]
            }
        )
        rows += [Row(f"query at {held:,}, {name}", seconds / size.asked * 1e6, "us") for name, seconds in taken.items()]
    return rows


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw what a query costs in growing pools, logarithmic on both axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    points: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        at, name = row.what.removeprefix("query at ").split(", ", 1)
        points.setdefault(name, []).append((int(at.replace(",", "")), row.value))
    for name, line in points.items():
        axes.loglog(*zip(*line, strict=True), marker="o", label=name)
    axes.set(xlabel="entries", ylabel="CPU time a query (us)", title="Near-duplicate lookup, one call each, one thread")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def edited(text: str, rng: random.Random) -> str:
    """Replace up to one word in eight."""
    parts = text.split()
    for _ in range(rng.randint(1, 1 + len(parts) // 8)):
        parts[rng.randrange(len(parts))] = rng.choice(parts)
    return " ".join(parts)


def exact_nearest(pool: Sequence[str], edits: Sequence[str]) -> Iterator[float]:
    """Yield the greatest Jaccard of each edit with any text of the pool, by plain sets."""
    sets = [set(shingles(text)) for text in pool]
    holders: dict[str, list[int]] = {}
    for number, one in enumerate(sets):
        for shingle in one:
            holders.setdefault(shingle, []).append(number)
    for text in edits:
        ours = set(shingles(text))
        shared = Counter(number for shingle in ours for number in holders.get(shingle, ()))
        yield max((count / (len(ours) + len(sets[number]) - count) for number, count in shared.items()), default=0.0)


def measure_recall(pool: Sequence[str], count: int, rng: random.Random) -> tuple[list[Row], list[Bar]]:
    edits = [edited(text, rng) for text in rng.sample(pool, count)]
    sketcher, index = Sketcher(permutations=PERMUTATIONS), MinHashIndex(choose_bands(THRESHOLD, PERMUTATIONS))
    for sketch in sketcher.sketches(pool):
        index.add(sketch)
    found = [index.nearest(sketch) for sketch in sketcher.sketches(edits)]
    ours = [nearest.jaccard if nearest else 0.0 for nearest in found]
    exact = list(exact_nearest(pool, edits))
    due = [mine for mine, true in zip(ours, exact, strict=True) if true >= THRESHOLD]
    recall = sum(mine >= THRESHOLD for mine in due) / len(due)
    false = sum(mine >= THRESHOLD > true for mine, true in zip(ours, exact, strict=True))
    rows = [
        Row("edits at or above the threshold", len(due), "edits"),
        Row("index", index.memory_bytes / len(pool), "bytes an entry"),
    ]
    return rows, [
        at_least("recall against exact Jaccard", recall, 0.999),
        Bar("false refusals", false, "0", false == 0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "corpus")
    parser.add_argument("--plots", type=Path, default=Path("docs") / "plots")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    size, rng = QUICK if options.quick else FULL, random.Random(options.seed)
    texts = texts_of(options.corpus / "triples_60k.jsonl.gz", size.pool)
    query_and_insert(Sketcher(permutations=PERMUTATIONS).sketches(texts[:10]))  # compile
    rows: list[Row] = []
    bars: list[Bar] = []
    for measured in (
        measure_signing(texts[: size.signed]),
        measure_index(texts[: size.inserted]),
        measure_recall(texts, size.edits, rng),
    ):
        rows += measured[0]
        bars += measured[1]
    growth = measure_growth(texts, size)
    plot(growth, options.plots / "near_duplicates.png")
    rows += growth
    report(rows, bars, size, is_json=options.json)


def report(rows: Sequence[Row], bars: Sequence[Bar], size: Size, *, is_json: bool) -> None:
    versions = {name: version(name) for name in ("seedbed", "numba", "numpy", "datasketch", "rensa")}
    machine: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), **versions}
    if is_json:
        both = {"rows": [asdict(row) for row in rows], "bars": [asdict(bar) for bar in bars]}
        print(json.dumps({"versions": machine, "sizes": asdict(size), **both, "not_run": []}))
        return
    print(" ".join(f"{name} {number}" for name, number in machine.items()))
    for row in rows:
        print(f"{row.what:50} {row.value:>14,.2f} {row.unit}")
    for bar in bars:
        print(f"{'holds' if bar.holds else 'MISSED':7} {bar.name}: {bar.value:,.4g} (wanted {bar.wanted})")


if __name__ == "__main__":
    main()
