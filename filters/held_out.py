"""Keeps held-out categories out of the pool, wherever a row was generated."""

from collections.abc import Callable, Collection
from typing import TypeAlias

from seedbed.core.records import Candidate, Verdict
from seedbed.filters.protocol import accept, refuse

NAME = "held_out"

CategoryOf: TypeAlias = Callable[[Candidate], str]
"""Names the category that a row looks like, whatever it was asked for as; empty where that is not known."""


class HeldOutFilter:
    """Refuses a row whose verified category is held out for evaluation, or that was asked for as one.

    A row need not have been verified: each is classified here, so that what was imported, or stored before there was
    a classifier, is held to the contract too.
    """

    name = NAME

    def __init__(self, categories: Collection[str], category_of: CategoryOf | None = None) -> None:
        self._categories, self._category_of = frozenset(categories), category_of
        self._accepted = accept(NAME)

    def check(self, candidate: Candidate) -> Verdict:
        if candidate.category in self._categories:
            return refuse(NAME, "held_out_category", evidence=(candidate.category,))
        if candidate.requested_category in self._categories:
            return refuse(NAME, "held_out_category_requested", evidence=(candidate.requested_category,))
        found = self._category_of(candidate) if self._category_of else ""
        if found in self._categories:
            return refuse(NAME, "held_out_category", evidence=(found,))
        return self._accepted
