"""Refuses rows that a judge marked down."""

from seedbed.core.config import QualityConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.filters.protocol import accept, refuse

NAME = "quality"
JUDGE_PREFIX = "judge"
"""A judge's marks are the grades named `judge` or `judge.<aspect>`."""


class QualityFilter:
    """Compares the lowest mark the judge gave with the least that is wanted.

    The marks were stored on the candidate by a stage before; this filter asks no model. Where a least mark is set, a
    row without any is refused too: it would otherwise enter unjudged.
    """

    name = NAME

    def __init__(self, config: QualityConfig) -> None:
        self._min_grade = config.min_grade

    def check(self, candidate: Candidate) -> Verdict:
        marks = _marks(candidate.grades)
        if not marks:
            return refuse(NAME, "not_graded", threshold=self._min_grade) if self._min_grade > 0 else accept(NAME)
        aspect = min(marks, key=lambda name: marks[name])
        if marks[aspect] < self._min_grade:
            return refuse(NAME, "low_grade", score=marks[aspect], threshold=self._min_grade, evidence=(aspect,))
        return accept(NAME, score=marks[aspect], threshold=self._min_grade)


def _marks(grades: dict[str, float]) -> dict[str, float]:
    return {name: mark for name, mark in grades.items() if name.split(".", 1)[0] == JUDGE_PREFIX}
