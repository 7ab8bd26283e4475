"""How diverse rows are: one pass over as many as are looked at, so that its cost does not grow with the pool."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from seedbed.core.diversity import Collapse, Diversity, DiversityConfig, Lengths
from seedbed.core.text import words
from seedbed.generator.verbs import Asked, asked_for

COMMONEST = 20
"""Leading words told; Self-Instruct's figure shows so many verbs, each with its four commonest nouns."""

NOUNS_OF_A_VERB = 4
UNDER = "under"


@dataclass(frozen=True, slots=True)
class Written:
    """A row as it is looked at: what the teacher wrote, and what became of it."""

    instruction: str
    category: str
    """As verified, else as requested."""
    requested_category: str
    is_accepted: bool
    input: str | None = None
    """None where a proposal was refused, so that no instance was ever written."""
    output: str | None = None
    depth: int = 1
    similarity: float | None = None
    """ROUGE-L to the nearest neighbour; None where none is near enough to be measured."""
    is_near_duplicate: bool = False
    """Refused for being like another row."""


def measure(rows: Sequence[Written]) -> Diversity:
    """Measure rows in the order in which they were decided; there must be one at least."""
    categories = Counter(row.category for row in rows)
    entropy, asked_entropy = _entropy(categories), _entropy(Counter(row.requested_category for row in rows))
    tokens = [words(row.instruction) for row in rows]
    asked = [asked_for(row.instruction) for row in rows]
    leading = Counter(one.verb or next(iter(own), "") for one, own in zip(asked, tokens, strict=True))
    half = len(rows) // 2
    return Diversity(
        rows=len(rows),
        categories=dict(categories.most_common()),
        category_entropy=entropy,
        category_evenness=entropy / asked_entropy if asked_entropy else None,
        distinct_1=_distinct(tokens, 1),
        distinct_2=_distinct(tokens, 2),
        similarity=_similarities(rows),
        near_duplicates=_share(row.is_near_duplicate for row in rows),
        leading_words=dict(leading.most_common(COMMONEST)),
        leading_share=leading.most_common(1)[0][1] / len(rows),
        verb_nouns=_verb_nouns(asked),
        lengths=_lengths(rows),
        acceptance=_share(row.is_accepted for row in rows),
        acceptance_slope=_share(row.is_accepted for row in rows[half:])
        - _share(row.is_accepted for row in rows[:half]),
        mean_depth=sum(row.depth for row in rows) / len(rows),
        max_depth=max(row.depth for row in rows),
    )


def collapses(found: Diversity, bounds: DiversityConfig, standing: Collection[Collapse] = ()) -> dict[Collapse, str]:
    """Return what is wrong, each with what was measured; one that stands already must recover past its bound."""
    told: dict[Collapse, str] = {}
    for check in _checks(found, bounds):
        slack = bounds.recovery * abs(check.bound) if check.cause in standing else 0.0
        if check.is_worse(slack):
            told.setdefault(check.cause, f"{check.text} (bound {check.bound:g}, diversity.{check.setting})")
    return told


@dataclass(frozen=True, slots=True)
class _Check:
    """One measure against its bound."""

    cause: Collapse
    setting: str
    value: float
    bound: float
    text: str

    def is_worse(self, slack: float) -> bool:
        """Tell whether the measure is on the wrong side of its bound, or not yet `slack` beyond it."""
        if self.setting.startswith("min_"):
            return self.value < self.bound + slack
        return self.value > self.bound - slack


def _checks(found: Diversity, bounds: DiversityConfig) -> Iterable[_Check]:
    rows = f"the latest {found.rows} rows"
    distinct = f"{found.distinct_2:.2f} of the word pairs in {rows} are different"
    yield _Check(Collapse.REPEATED_WORDING, "min_distinct_2", found.distinct_2, bounds.min_distinct_2, distinct)
    alike = f"{found.near_duplicates:.0%} of {rows} are like another row"
    yield _Check(
        Collapse.REPEATED_WORDING, "max_near_duplicates", found.near_duplicates, bounds.max_near_duplicates, alike
    )
    word = f'{found.leading_share:.0%} of {rows} begin with "{next(iter(found.leading_words), "")}"'
    yield _Check(Collapse.FEW_VERBS, "max_leading_word", found.leading_share, bounds.max_leading_word, word)
    if found.category_evenness is not None:
        kinds = f"{rows} have {found.category_evenness:.0%} of the category entropy that was asked for"
        yield _Check(
            Collapse.FEW_CATEGORIES, "min_category_entropy", found.category_evenness, bounds.min_category_entropy, kinds
        )
    deep = f"{found.mean_depth:.1f} generations lie behind {rows} on average"
    yield _Check(Collapse.DEEP_LINEAGE, "max_mean_depth", found.mean_depth, bounds.max_mean_depth, deep)
    slope = f"acceptance of {rows} changed by {100 * found.acceptance_slope:+.0f} points between their halves"
    yield _Check(
        Collapse.FALLING_ACCEPTANCE, "min_acceptance_slope", found.acceptance_slope, bounds.min_acceptance_slope, slope
    )


def _entropy(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values()) + 0.0


def _distinct(tokens: Iterable[Sequence[str]], size: int) -> float:
    """Return the share of different n-grams; n-grams do not reach over the end of an instruction."""
    grams = [tuple(own[at : at + size]) for own in tokens for at in range(len(own) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _similarities(rows: Iterable[Written]) -> dict[str, int]:
    bins = Counter(UNDER if row.similarity is None else f"{_tenth(row.similarity):.1f}" for row in rows)
    return dict(sorted(bins.items(), key=lambda item: (item[0] != UNDER, item[0])))


def _tenth(score: float) -> float:
    return min(9, int(score * 10 + 1e-9)) / 10


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _verb_nouns(asked: Iterable[Asked]) -> dict[str, dict[str, int]]:
    nouns: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in asked:
        if one.verb and one.noun:
            nouns[one.verb][one.noun] += 1
    commonest = sorted(nouns, key=lambda verb: (-nouns[verb].total(), verb))[:COMMONEST]
    return {verb: dict(nouns[verb].most_common(NOUNS_OF_A_VERB)) for verb in commonest}


def _lengths(rows: Sequence[Written]) -> dict[str, Lengths]:
    fields = {
        "instruction": [row.instruction for row in rows],
        "input": [row.input for row in rows if row.input is not None],
        "output": [row.output for row in rows if row.output is not None],
    }
    return {name: _length(texts) for name, texts in fields.items() if texts}


def _length(texts: Sequence[str]) -> Lengths:
    counts = sorted(len(text.split()) for text in texts)
    tenths = quantiles(counts, n=10, method="inclusive") if len(counts) > 1 else [float(counts[0])] * 9
    bins = Counter(max(0, count - 1).bit_length() if count else -1 for count in counts)
    return Lengths(
        median=tenths[4], p10=tenths[0], p90=tenths[8], histogram={_bin_name(one): bins[one] for one in sorted(bins)}
    )


def _bin_name(exponent: int) -> str:
    if exponent < 1:
        return str(exponent + 1)  # no word, or one
    low, high = 2 ** (exponent - 1) + 1, 2**exponent
    return str(high) if low == high else f"{low}-{high}"
