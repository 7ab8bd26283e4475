"""Keeps held-out categories out of the pool, wherever a row was generated."""

from collections.abc import Collection

from seedbed.core.records import Candidate, Verdict
from seedbed.filters.protocol import accept, refuse

NAME = "held_out"


class HeldOutFilter:
    """Refuses a row whose verified category is held out for evaluation, or that was asked for as one."""

    name = NAME

    def __init__(self, categories: Collection[str]) -> None:
        self._categories = frozenset(categories)
        self._accepted = accept(NAME)

    def check(self, candidate: Candidate) -> Verdict:
        if candidate.category in self._categories:
            return refuse(NAME, "held_out_category", evidence=(candidate.category,))
        if candidate.requested_category in self._categories:
            return refuse(NAME, "held_out_category_requested", evidence=(candidate.requested_category,))
        return self._accepted
