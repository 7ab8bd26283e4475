"""What exact ROUGE-L novelty costs, beside `rouge_score` and `rapidfuzz`, and whether its decisions are theirs.

    python bench/novelty.py [--quick] [--json] [--corpus DIR] [--plots DIR] [--seed N]
    python bench/novelty.py --exactness 4000000

One thread, thread CPU time, medians over batches. Candidates are lines that follow the pool's in the corpus, every
tenth an altered line of the pool. `rouge_score` is timed on sampled pairs of the same candidates with the same pool
and extrapolated to all of it (its cost is a sum over pairs); tokenizing counts for both. Exactness compares decision,
score and neighbour with brute force over `RougeScorer(["rougeL"])` and prints every disagreement.
"""

import argparse
import gzip
import itertools
import json
import math
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel
from rouge_score.rouge_scorer import RougeScorer

from seedbed.core.text import rouge_words
from seedbed.filters.rouge import Match, RougeIndex

SCORER = RougeScorer(["rougeL"])
CORPORA = {"short_1m": 0.65, "templated_300k": 0.85}
"""Corpus and the greatest growth exponent wanted on it."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    pool: int
    growth: tuple[int, ...]
    candidates: int
    scored_pairs: int
    checked: int
    """Candidates compared with brute force over `checked_pool` entries."""
    checked_pool: int
    streamed: int


QUICK = Size(5_000, (2_500, 5_000, 10_000, 20_000), 1_000, 4_000, 5, 2_000, 20_000)
FULL = Size(50_000, (50_000, 100_000, 200_000, 300_000, 500_000, 1_000_000), 5_000, 100_000, 8, 50_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, in microseconds a candidate unless `unit` says otherwise."""

    corpus: str
    what: str
    pool: int
    value: float
    unit: str = "us"


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what is wanted of it."""

    name: str
    value: float
    wanted: str
    holds: bool


def at_least(name: str, value: float, wanted: float) -> Bar:
    return Bar(name, value, f">= {wanted:,g}", value >= wanted)


def at_most(name: str, value: float, wanted: float) -> Bar:
    return Bar(name, value, f"<= {wanted:,g}", value <= wanted)


def lines_of(path: Path, count: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        return [line.rstrip("\n") for line in itertools.islice(lines, count)]


def altered(text: str, rng: random.Random) -> str:
    """Drop, double or replace up to a third of the words."""
    words = text.split()
    for _ in range(rng.randint(1, 1 + len(words) // 3)):
        at = rng.randrange(len(words) + 1)
        words[at : at + rng.randint(0, 2)] = [rng.choice(words)] if words and rng.random() < 0.5 else []
    return " ".join(words)


def candidates_after(lines: Sequence[str], pool: int, count: int, rng: random.Random) -> list[str]:
    """Return the lines after the pool's, every tenth replaced by an altered line of the pool."""
    chosen = lines[pool : pool + count]
    return [altered(lines[rng.randrange(pool)], rng) if n % 10 == 0 else text for n, text in enumerate(chosen)]


def filled(pool: Sequence[str]) -> RougeIndex:
    """Index a pool; keys are as long as the ids of candidates."""
    index = RougeIndex(tokenizer="rouge")
    index.load((f"{number:032x}", text) for number, text in enumerate(pool))
    return index


def microseconds_each(call: Callable[[list[str]], object], texts: list[str], batch: int) -> float:
    """Return the median over batches of thread CPU time a text."""
    call(texts[:batch])
    times = []
    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        before = time.thread_time()
        call(part)
        times.append((time.thread_time() - before) / len(part))
    return statistics.median(times) * 1e6


def rouge_score_pair_us(pool: Sequence[str], candidates: Sequence[str], pairs: int, rng: random.Random) -> float:
    """Return the median over 20 samples of the CPU time of one pair."""
    times = []
    for _ in range(20):
        sample = [(rng.choice(pool), rng.choice(candidates)) for _ in range(max(1, pairs // 20))]
        before = time.thread_time()
        for entry, text in sample:
            SCORER.score(entry, text)
        times.append((time.thread_time() - before) / len(sample))
    return statistics.median(times) * 1e6


def cdist_us(pool: Sequence[str], candidates: Sequence[str]) -> float:
    """Time `rapidfuzz.process.cdist` with each word as one character; Indel's similarity is the F-measure."""
    numbers: dict[str, str] = {}

    def letters(text: str) -> str:
        return "".join(numbers.setdefault(word, chr(0x10000 + len(numbers))) for word in rouge_words(text))

    choices, queries = [letters(text) for text in pool], [letters(text) for text in candidates]
    before = time.thread_time()
    process.cdist(queries, choices, scorer=Indel.normalized_similarity, score_cutoff=0.7, dtype=np.float32, workers=1)
    return (time.thread_time() - before) / len(queries) * 1e6


def interleaved_us(
    arms: dict[int, Callable[[Sequence[str]], object]], texts: Sequence[str], batch: int
) -> dict[int, float]:
    """Return the median cost of a text in each arm; arms take turns batch by batch, so that drift hits all alike."""
    times: dict[int, list[float]] = {name: [] for name in arms}
    for start in range(0, len(texts), batch):
        part = texts[start : start + batch]
        for name, call in arms.items():
            before = time.thread_time()
            call(part)
            times[name].append((time.thread_time() - before) / len(part) * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def brute_force(pool: Sequence[str], text: str) -> Match | None:
    scores = [SCORER.score(entry, text)["rougeL"].fmeasure for entry in pool]
    best = max(scores, default=0.0)
    return Match(f"{scores.index(best):032x}", best) if best > 0.7 else None


def disagreements(pool: Sequence[str], asked: Sequence[str]) -> int:
    """Count the texts whose decision, score or neighbour is not that of brute force, printing each."""
    index, wrong = filled(pool), 0
    for text in asked:
        got, wanted = index.best(text), brute_force(pool, text)
        if got != wanted:
            wrong += 1
            print(f"DISAGREES: {text!r}: {got} instead of {wanted}", file=sys.stderr)
    return wrong


def measure_pool(corpus: str, lines: list[str], size: Size, rng: random.Random) -> tuple[list[Row], list[Bar]]:
    """Measure at one pool size, where every peer can be run."""
    pool, n = lines[: size.pool], size.pool
    asked = candidates_after(lines, n, size.candidates, rng)
    index = filled(pool)
    pair = rouge_score_pair_us(pool, asked, size.scored_pairs, rng)
    batch = microseconds_each(index.decide_batch, asked, 500)
    single = microseconds_each(lambda texts: index.best(texts[0]), asked[:2000], 1)
    first = microseconds_each(lambda texts: [index.is_near_duplicate(text) for text in texts], asked[:2000], 1)
    nearest = microseconds_each(lambda texts: [index.nearest(text) for text in texts], asked[:2000], 1)
    ten = microseconds_each(lambda texts: [index.top_k(text, 10) for text in texts], asked[:500], 1)
    cdist = cdist_us(pool, asked[:100])
    wrong = disagreements(pool[: size.checked_pool], asked[: 10 * size.checked : 5])
    names = {
        "decide, batch": batch,
        "best, one from Python": single,
        "is_near_duplicate, one from Python": first,
        "nearest (floor 0.5), one from Python": nearest,
        "top 10, one from Python": ten,
        "rapidfuzz cdist, batch": cdist,
        "rouge_score, extrapolated": pair * n,
    }
    rows = [Row(corpus, what, n, value) for what, value in names.items()]
    at = f"at {n:,} on {corpus}"
    return rows, [
        at_most(f"decisions that differ from rouge_score, {2 * size.checked} candidates {at}", wrong, 0),
        at_least(f"times rouge_score's speed, deciding {at}", pair * n / batch, 100_000 * n / 50_000),
        at_least(f"times rapidfuzz cdist's speed {at}", cdist / batch, 100 * n / 50_000),
        at_least(f"times rouge_score's speed, exact top 10 {at}", pair * n / ten, 1_500 * min(1, n / 50_000)),
        at_most(f"microseconds for one text from Python {at}", single, 60),
    ]


def measure_growth(
    corpus: str, lines: list[str], size: Size, exponent: float, rng: random.Random
) -> tuple[list[Row], list[Bar]]:
    """Decide the same candidates at growing pool sizes; they come from the corpus's end and are in no pool."""
    most = len(lines) - size.candidates
    sizes = sorted({min(n, most) for n in size.growth})
    asked = candidates_after(lines, most, size.candidates, rng)
    indexes = {n: filled(lines[:n]) for n in sizes}
    taken = interleaved_us({n: index.decide_batch for n, index in indexes.items()}, asked, 500)
    rows, bars = [], []
    for n, index in indexes.items():
        rows.append(Row(corpus, "decide, batch, growth", n, taken[n]))
        rows.append(Row(corpus, "bytes an entry", n, index.nbytes / n, "bytes"))
    times = [row.value for row in rows if row.unit == "us"]
    grown = math.log(times[-1] / times[0]) / math.log(sizes[-1] / sizes[0])
    span = f"{sizes[0]:,} to {sizes[-1]:,} on {corpus}"
    bars.append(at_most(f"growth exponent of deciding, {span}", grown, exponent))
    if sizes[-1] >= 990_000:
        pair = rouge_score_pair_us(lines, asked, size.scored_pairs, rng)
        bars.append(at_least(f"times rouge_score's speed at {sizes[-1]:,}", pair * sizes[-1] / times[-1], 400_000))
        bars.append(at_most(f"bytes an entry at {sizes[-1]:,}", rows[-1].value, 400))
    return rows, bars


def measure_stream(corpus: str, lines: list[str], size: Size, rng: random.Random) -> tuple[list[Row], list[Bar]]:
    """Decide and insert one candidate after another, from an empty index."""
    asked = lines[: size.streamed]
    pair = rouge_score_pair_us(asked, asked, size.scored_pairs, rng)
    index, compared = RougeIndex(tokenizer="rouge"), 0
    before = time.thread_time()
    for start in range(0, len(asked), 256):
        held = len(index)
        part = [(f"{start + n:032x}", text) for n, text in enumerate(asked[start : start + 256])]
        index.screen(part)
        index.confirm()
        compared += len(part) * (held + len(index)) // 2
    spent = time.thread_time() - before
    each = spent / len(asked) * 1e6
    name = f"times rouge_score's speed (extrapolated), {len(asked):,} decided and inserted on {corpus}"
    rows = [Row(corpus, "decide and insert", len(asked), each), Row(corpus, "accepted", len(asked), len(index), "rows")]
    return rows, [at_least(name, compared * pair / 1e6 / spent, 50_000 * min(1, len(asked) / 1_000_000))]


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the growth of both corpora, logarithmic on both axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for corpus in dict.fromkeys(row.corpus for row in rows):
        points = [row for row in rows if row.corpus == corpus and row.what == "decide, batch, growth"]
        axes.loglog([row.pool for row in points], [row.value for row in points], marker="o", label=corpus)
    axes.set(xlabel="entries", ylabel="CPU time a candidate (us)", title="Exact ROUGE-L decision, one thread")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def check_exactness(pairs: int, corpora: Path, rng: random.Random) -> int:
    """Compare decisions over at least so many pairs: real lines, altered ones, and few words in many orders."""
    done = wrong = 0
    sources = [
        lines_of(corpora / f"{name}.txt.gz", 50_000) for name in CORPORA if (corpora / f"{name}.txt.gz").exists()
    ]
    while done < pairs:
        if sources and rng.random() < 0.7:
            lines = rng.choice(sources)
            pool = rng.sample(lines, 2000)
        else:
            words = [f"w{number}" for number in range(rng.choice([8, 40, 400]))]
            pool = [" ".join(rng.choices(words, k=rng.randint(0, 40))) for _ in range(2000)]
        asked = [altered(rng.choice(pool), rng) for _ in range(20)]
        wrong += disagreements(pool, asked)
        done += len(pool) * len(asked)
        print(f"\r{done:,} pairs, {wrong} disagreements", end="", flush=True)
    print()
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--exactness", type=int, metavar="PAIRS")
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "corpus")
    parser.add_argument("--plots", type=Path, default=Path("docs") / "plots")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    if options.exactness:
        sys.exit(1 if check_exactness(options.exactness, options.corpus, rng) else 0)
    size = QUICK if options.quick else FULL
    RougeIndex().warm()
    rows: list[Row] = []
    bars: list[Bar] = []
    for corpus, exponent in CORPORA.items():
        most = max(*size.growth, size.streamed) + 2 * size.candidates
        lines = lines_of(options.corpus / f"{corpus}.txt.gz", most)
        for measured in (
            measure_pool(corpus, lines, size, rng),
            measure_growth(corpus, lines, size, exponent, rng),
            measure_stream(corpus, lines, size, rng),
        ):
            rows += measured[0]
            bars += measured[1]
    plot(rows, options.plots / "novelty.png")
    report(rows, bars, size, is_json=options.json)


def report(rows: Sequence[Row], bars: Sequence[Bar], size: Size, *, is_json: bool) -> None:
    versions = {name: version(name) for name in ("seedbed", "numba", "numpy", "rouge-score", "rapidfuzz")}
    machine: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), **versions}
    not_run = [] if size is FULL else ["times rouge_score's speed at 1,000,000", "bytes an entry at 1,000,000"]
    if is_json:
        both = {"rows": [asdict(row) for row in rows], "bars": [asdict(bar) for bar in bars]}
        print(json.dumps({"versions": machine, "sizes": asdict(size), **both, "not_run": not_run}))
        return
    print(" ".join(f"{name} {number}" for name, number in machine.items()))
    for row in rows:
        print(f"{row.corpus:15} {row.what:40} {row.pool:>10,} {row.value:>16,.2f} {row.unit}")
    for bar in bars:
        print(f"{'holds' if bar.holds else 'MISSED':7} {bar.name}: {bar.value:,.2f} (wanted {bar.wanted})")
    for name in not_run:
        print(f"not run: {name}")


if __name__ == "__main__":
    main()
