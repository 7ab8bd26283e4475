"""What the benchmark check costs, beside datatrove and plain Python sets, and what it finds.

    python bench/contamination.py [--quick] [--json] [--references DIR] [--corpus DIR]

One thread, thread CPU time, the best of three turns, arms in turn, each from text (instruction, input and output of a
triple joined). The references are the benchmark files themselves, the same for all arms. datatrove's
`NGramsDecontFilter` has its own tokenizer (spaCy's, English) and is timed on the first rows; where spaCy is not
installed it is left out and named. The selftest and the false positives are those of the shipped digests; a clean row
is one in which no item was found verbatim, and what remains is printed with its rule, item and words.
"""

import argparse
import gzip
import importlib.util
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.core.filter_config import ContaminationConfig
from seedbed.core.records import Candidate, Lineage
from seedbed.filters.contamination import ContaminationFilter
from seedbed.filters.normal_form import normal_words
from seedbed.filters.overlap_index import Rule
from seedbed.filters.references import Reference, read_references
from seedbed.filters.selftest import Canary, run_selftest

Triple = tuple[str, str, str]
DATA = Path(__file__).parents[2] / "shared" / "data"
MUST_BE_WHOLE = (
    Canary.VERBATIM, Canary.EMBEDDED, Canary.CASE, Canary.PUNCTUATION, Canary.UNICODE, Canary.LOOK_ALIKES,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    timed: int
    by_datatrove: int
    clean: int
    canaries: int
    """Items of each reference, at most; 0: all."""


QUICK = Size(timed=1_500, by_datatrove=100, clean=5_000, canaries=40)
FULL = Size(timed=50_000, by_datatrove=2_000, clean=50_000, canaries=0)


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


def triples_of(path: Path, count: int) -> list[Triple]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = (json.loads(line) for line in itertools.islice(lines, count))
        return [(row["instruction"], row["input"], row["output"]) for row in rows]


def grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def words_of(row: Triple) -> list[str]:
    return normal_words("\n".join(row))


def python_13_grams(references: Sequence[Reference]) -> Callable[[Sequence[Triple]], int]:
    known = {gram for one in references for item in one.items for gram in grams(normal_words(item.text), 13)}
    return lambda rows: sum(any(gram in known for gram in grams(words_of(row), 13)) for row in rows)


def python_8_grams(references: Sequence[Reference]) -> Callable[[Sequence[Triple]], int]:
    items = [normal_words(item.text) for one in references for item in one.items]
    holders: dict[tuple[str, ...], list[int]] = {}
    for number, words in enumerate(items):
        for gram in grams(words, 8):
            holders.setdefault(gram, []).append(number)

    def is_covered(row: Triple) -> bool:
        ours = set(grams(words_of(row), 8))
        for number in {number for gram in ours for number in holders.get(gram, ())}:
            words = items[number]
            places = {at + step for at, gram in enumerate(grams(words, 8)) if gram in ours for step in range(8)}
            if len(places) >= len(words) / 2:
                return True
        return False

    return lambda rows: sum(map(is_covered, rows))


def datatrove_13_grams(references: Sequence[Reference]) -> Callable[[Sequence[Triple]], int]:
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    folder = tempfile.mkdtemp()
    peer = NGramsDecontFilter(folder, NGramsDecontConfig(n_grams=13))
    hashed = peer.hash_func
    peer.hash_func = lambda text: hashed(text.encode())  # xxhash 4 takes bytes, datatrove 0.10 hands it text
    known = {
        peer.hash_func(" ".join(gram))
        for one in references
        for item in one.items
        for gram in ngrams(peer.tokenizer.word_tokenize(simplify_text(item.text, peer.config.norm_config)), 13)
    }
    np.array(sorted(known), dtype=peer.config.hash_config.np_descr).tofile(f"{folder}/all.index.hashes")
    return lambda rows: sum(peer.filter(Document(text="\n".join(row), id="")) is not True for row in rows)


def ours(contamination: ContaminationFilter, rules: Rule) -> Callable[[Sequence[Triple]], int]:
    def check(rows: Sequence[Triple]) -> int:
        batches = (rows[first : first + 256] for first in range(0, len(rows), 256))
        founds = (contamination.index.find(batch, rules) for batch in batches)
        return sum(int(((found.shared >= 0) | (found.coverage >= 0.5)).sum()) for found in founds)

    return check


def microseconds(call: Callable[[Sequence[Triple]], int], rows: Sequence[Triple]) -> float:
    """Return the best of three turns, CPU microseconds a row."""
    times = []
    for _ in range(3):
        before = time.thread_time()
        call(rows)
        times.append(time.thread_time() - before)
    return min(times) / len(rows) * 1e6


def measure_speed(references: Sequence[Reference], rows: Sequence[Triple], size: Size) -> tuple[list[Row], list[Bar]]:
    config = ContaminationConfig(digests=False, max_document_frequency=1_000_000)
    contamination = ContaminationFilter(config, loaded=references)
    contamination.warm()
    arms: dict[str, tuple[Callable[[Sequence[Triple]], int], int]] = {
        "13-grams, ours": (ours(contamination, Rule.SHARED_NGRAM), len(rows)),
        "13-grams, a Python set": (python_13_grams(references), len(rows)),
        "8-gram coverage, ours": (ours(contamination, Rule.COVERED_ITEM), len(rows)),
        "8-gram coverage, Python": (python_8_grams(references), len(rows)),
    }
    if importlib.util.find_spec("spacy") and importlib.util.find_spec("datatrove"):
        arms["13-grams, datatrove"] = (datatrove_13_grams(references), size.by_datatrove)
    taken = {name: microseconds(call, rows[:count]) for name, (call, count) in arms.items()}
    bars = [
        at_least("13-grams: times a Python set", taken["13-grams, a Python set"] / taken["13-grams, ours"], 3),
        at_least("8-gram coverage: times Python", taken["8-gram coverage, Python"] / taken["8-gram coverage, ours"], 4),
    ]
    if "13-grams, datatrove" in taken:
        # On the same rows: the first of the file.
        mine = microseconds(arms["13-grams, ours"][0], rows[: size.by_datatrove])
        bars.append(at_least("13-grams: times NGramsDecontFilter", taken["13-grams, datatrove"] / mine, 80))
    return [Row(name, value, "us a row") for name, value in taken.items()], bars


def measure_findings(
    references: Sequence[Reference], rows: Sequence[Triple], size: Size
) -> tuple[list[Row], list[Bar], list[str]]:
    contamination = ContaminationFilter()
    verbatim = Rule.EQUAL_ITEM
    clean = [row for row, rules in zip(rows, contamination.rules_of(rows), strict=True) if verbatim not in rules]
    table = run_selftest(contamination, references, clean, most_items=size.canaries)
    recalls = {canary: table.recall(canary) for canary in Canary}
    measured = [Row(f"recall, {name.value}", value, "") for name, value in recalls.items() if value is not None]
    measured += [Row(f"false positives by {name}", count, "rows") for name, count in table.false_by_rule.items()]
    lowest = min(value for name in MUST_BE_WHOLE if (value := recalls[name]) is not None)
    bars = [at_least("recall, verbatim, embedded and altered, the lowest", lowest, 1.0)]
    for canary, wanted in ((Canary.REPLACED_21_TO_35, 0.8), (Canary.REPLACED_FROM_36, 0.99)):
        bars.append(at_least(f"recall, {canary.value}", recalls[canary] or 0.0, wanted))
    share = table.false_positive_share
    bars.append(Bar(f"false positives on {len(clean):,} clean rows", share, "<= 0.001", share <= 0.001))
    return measured, bars, remaining(contamination, clean)


def remaining(contamination: ContaminationFilter, clean: Sequence[Triple]) -> list[str]:
    """Say what is still refused among clean rows."""
    lineage = Lineage(recipe="import")
    verdicts = contamination.check_many([Candidate.of(*row, lineage=lineage) for row in clean])
    return [f"{v.reason} {v.neighbour_id}: {' / '.join(v.evidence)}" for v in verdicts if not v.accepted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--references", type=Path, default=DATA / "benchmarks")
    parser.add_argument("--corpus", type=Path, default=DATA / "corpus")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    references = read_references(options.references)
    triples = triples_of(options.corpus / "triples_60k.jsonl.gz", max(size.timed, size.clean))
    rows, bars = measure_speed(references, triples[: size.timed], size)
    more_rows, more_bars, still_refused = measure_findings(references, triples[: size.clean], size)
    report(rows + more_rows, bars + more_bars, still_refused, size, is_json=options.json)


def report(
    rows: Sequence[Row], bars: Sequence[Bar], still_refused: Sequence[str], size: Size, *, is_json: bool
) -> None:
    peers = [name for name in ("datatrove", "spacy") if importlib.util.find_spec(name)]
    versions = {name: version(name) for name in ("seedbed", "numba", "numpy", *peers)}
    machine: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine(), **versions}
    not_run = [] if len(peers) == 2 else ["13-grams: times NGramsDecontFilter (needs datatrove and spacy)"]
    if is_json:
        both = {"rows": [asdict(row) for row in rows], "bars": [asdict(bar) for bar in bars]}
        rest = {"still_refused": list(still_refused), "not_run": not_run}
        print(json.dumps({"versions": machine, "sizes": asdict(size), **both, **rest}))
        return
    print(" ".join(f"{name} {number}" for name, number in machine.items()))
    for row in rows:
        print(f"{row.what:50} {row.value:>14,.4f} {row.unit}")
    print(*(f"still refused: {line}" for line in still_refused), sep="\n")
    for bar in bars:
        print(f"{'holds' if bar.holds else 'MISSED':7} {bar.name}: {bar.value:,.4g} (wanted {bar.wanted})")
    for name in not_run:
        print(f"not run: {name}")


if __name__ == "__main__":
    main()
