"""How target shares follow the scores of an evaluation: weak categories get more rows, within bounds."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from seedbed.core.reports import CategoryScore

SHRINKING_ROWS = 10
"""A category's score counts n / (n + this): with a handful of validation rows next to nothing is known."""

_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Move:
    """A category's new target share, and why it is so."""

    category: str
    share: float
    reason: str


def moved_shares(
    base: Mapping[str, float], scores: Sequence[CategoryScore], *, most: float, fixed: Collection[str] = ()
) -> list[Move]:
    """Return the shares for the next rows; they add up to what the base does.

    A share is its base times 1 + (mean score - the category's score), drawn towards 1 where few rows were scored.
    Exact match and ROUGE-L are compared each among its own kind. No share leaves base / most to base x most; the base
    is the same each time, so nothing builds up over rounds.

    Args:
        base: Category to share, as the operator wants it.
        scores: Of one arm on validation rows, by category; `all` and unknown categories are not looked at.
        most: From 1, which moves nothing.
        fixed: Categories whose share stays, such as those that safety holds at a few percent.
    """
    known = {one.category: one for one in scores if one.category in base and one.category not in fixed and one.n}
    movable = [name for name in base if name not in fixed and base[name] > 0]
    total = math.fsum(base[name] for name in movable)
    if not known or most <= 1 or total <= 0:
        return [Move(name, share, "as the base says") for name, share in base.items()]
    wanted = {name: 1 + _lack(known[name], known.values()) if name in known else 1.0 for name in movable}
    factors = _bounded({name: max(0.01, factor) for name, factor in wanted.items()}, base, most)
    return [
        Move(name, share * factors.get(name, 1.0), _reason(known.get(name), share, factors.get(name)))
        for name, share in base.items()
    ]


def _lack(score: CategoryScore, scores: Collection[CategoryScore]) -> float:
    """Return how far a category is behind the mean of those scored as it is, from -1 to 1, shrunk by its rows."""
    alike = [one for one in scores if (one.exact_match is None) == (score.exact_match is None)]
    mean = math.fsum(one.score * one.n for one in alike) / sum(one.n for one in alike)
    return (mean - score.score) * score.n / (score.n + SHRINKING_ROWS)


def _bounded(wanted: Mapping[str, float], base: Mapping[str, float], most: float) -> dict[str, float]:
    """Scale factors by one number so that, each held in its bounds, they leave the sum of the shares as it is."""
    total = math.fsum(base[name] for name in wanted)

    def held(scale: float) -> dict[str, float]:
        return {name: min(most, max(1 / most, scale * factor)) for name, factor in wanted.items()}

    low, high = 0.0, most / min(wanted.values())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_under = math.fsum(base[name] * factor for name, factor in held(middle).items()) < total
        low, high = (middle, high) if is_under else (low, middle)
    return held(high)


def _reason(score: CategoryScore | None, base: float, factor: float | None) -> str:
    if factor is None:
        return f"stays at its base {base:.3f}"
    if score is None:
        return f"no score; base {base:.3f} times {factor:.2f}, so that all add up"
    return f"score {score.score:.3f} on {score.n} validation rows; base {base:.3f} times {factor:.2f}"
