"""How many accepted rows an assignment brings, measured as the run goes."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

PRIOR_ACCEPTANCE = 0.7
"""Share of the rows asked for that is accepted, before anything is known: 27 of 39 with a 0.5B model and an empty
pool. Too high a guess only lets less run at once at first; too low a one asks and pays for more than is wanted."""

PRIOR_WEIGHT = 3.0
"""Assignments that the prior counts for."""

MEMORY = 0.97
"""What is kept of the past at each new assignment; acceptance falls as a pool fills."""


@dataclass(slots=True)
class _Mean:
    accepted: float = 0.0
    assignments: float = 0.0

    def add(self, accepted: int) -> None:
        self.accepted = self.accepted * MEMORY + accepted
        self.assignments = self.assignments * MEMORY + 1

    def estimate(self, prior: float) -> float:
        return (self.accepted + PRIOR_WEIGHT * prior) / (self.assignments + PRIOR_WEIGHT)


class Yields:
    """Accepted rows per assignment by recipe and category, each drawn towards its recipe's mean."""

    def __init__(self, rows_asked: Mapping[str, int]) -> None:
        """Start from the rows that one assignment of each recipe asks for; an unknown recipe asks for one."""
        self._rows_asked = rows_asked
        self._by_recipe: defaultdict[str, _Mean] = defaultdict(_Mean)
        self._by_both: defaultdict[tuple[str, str], _Mean] = defaultdict(_Mean)

    def expected(self, recipe: str, category: str) -> float:
        """Estimate the rows that one more assignment will bring; never 0, so that running work always counts."""
        prior = PRIOR_ACCEPTANCE * self._rows_asked.get(recipe, 1)
        of_recipe = self._by_recipe[recipe].estimate(prior)
        return max(0.05, self._by_both[recipe, category].estimate(of_recipe))

    def record(self, recipe: str, category: str, accepted: int) -> None:
        self._by_recipe[recipe].add(accepted)
        self._by_both[recipe, category].add(accepted)
