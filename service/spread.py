"""How the rows are spread: categories against their targets, similarity to the nearest neighbour, lengths in words."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from seedbed.core.config import GenerationConfig
from seedbed.core.records import Candidate, Record
from seedbed.core.text import words
from seedbed.generator.choice import capped_shares
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided

LOOKED_AT = 5000
"""The newest candidates whose similarity and lengths are measured: enough for a histogram, read in a moment."""
SIMILARITY_EDGES = tuple(number / 20 for number in range(21))
LENGTH_EDGES = (0, 1, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
FIELDS = ("instruction", "input", "output")


class CategoryShare(Record):
    """One category against its target."""

    category: str
    accepted: int
    decided: int
    share: float
    """Of the accepted rows, 0 to 1."""
    target: float | None
    """None for a category that is in no plan."""
    base: float | None
    """The target of the categories' file."""


class Histogram(Record):
    """How many values lie from each edge to the next; the last bin has no upper end where `edges` are as many."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float | None
    """None where there are no values."""


class Similarity(Record):
    """ROUGE-L of instructions to their nearest neighbour, as stored with the decisions."""

    accepted: Histogram
    refused: Histogram
    far: int
    """Accepted candidates with nothing near enough to be measured."""
    threshold: float | None
    """That of the newest decision; None where there is none."""


class Spread(Record):
    """What the pool holds, for people."""

    categories: tuple[CategoryShare, ...]
    similarity: Similarity
    lengths: dict[str, Histogram]
    """Words of each field of accepted rows."""
    looked_at: int
    """The newest candidates, of which similarity and lengths are."""


def spread_of(pool: Pool, base: Mapping[str, float], settings: GenerationConfig) -> Spread:
    """Measure a pool; `base` are the shares of the categories' file, `settings` may cap some."""
    newest = pool.newest_decided(LOOKED_AT)
    rows = [one.subject for one in newest if one.decision.accepted and isinstance(one.subject, Candidate)]
    return Spread(
        categories=tuple(_categories(pool, base, settings)),
        similarity=_similarity(newest),
        lengths={name: histogram([len(words(getattr(row, name))) for row in rows], LENGTH_EDGES) for name in FIELDS},
        looked_at=len(newest),
    )


def histogram(values: Sequence[float], edges: Sequence[float]) -> Histogram:
    """Count values by bins: from an edge to below the next; what reaches the last edge is in the last bin."""
    counts = [0] * len(edges)
    for value in values:
        counts[max(0, bisect_right(edges, value) - 1)] += 1
    return Histogram(edges=tuple(edges), counts=tuple(counts), median=median(values) if values else None)


def _categories(pool: Pool, base: Mapping[str, float], settings: GenerationConfig) -> Iterable[CategoryShare]:
    counts, targets = pool.counts(), normalised(capped_shares(_holding(pool, base), settings))
    for name in sorted({*base, *counts.decided_categories}):
        accepted = counts.categories.get(name, 0)
        yield CategoryShare(
            category=name,
            accepted=accepted,
            decided=counts.decided_categories.get(name, 0),
            share=accepted / counts.accepted if counts.accepted else 0.0,
            target=targets.get(name, 0.0 if name in base else None),
            base=base.get(name),
        )


def _holding(pool: Pool, base: Mapping[str, float]) -> dict[str, float]:
    """Return the shares as they hold now: the latest in the pool, else the category file's."""
    return {**base, **{name: share for name, share in pool.shares().items() if name in base}}


def normalised(shares: Mapping[str, float]) -> dict[str, float]:
    """Return shares that add up to 1."""
    total = math.fsum(shares.values())
    return {name: share / total for name, share in shares.items()} if total else dict(shares)


def _similarity(newest: Sequence[Decided]) -> Similarity:
    scores: dict[bool, list[float]] = {True: [], False: []}
    threshold, far = None, 0
    for one in newest:
        for verdict in one.decision.verdicts:
            if verdict.filter == "rouge" and verdict.score is not None:
                scores[verdict.accepted].append(verdict.score)
                threshold = verdict.threshold
            elif verdict.filter == "rouge" and verdict.accepted:
                far += 1
    accepted, refused = (histogram(scores[kind], SIMILARITY_EDGES[:-1]) for kind in (True, False))
    return Similarity(accepted=accepted, refused=refused, far=far, threshold=threshold)
