"""Refuses rows that a judge marked down."""

from seedbed.core.filter_config import QualityConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.filters.protocol import accept, refuse

NAME = "quality"
JUDGE_PREFIX = "judge"
"""A judge's marks are the grades named `judge` or `judge.<aspect>`."""


class QualityFilter:
    """Compares each mark the judge gave with the least that is wanted for it; the one furthest below decides.

    The marks were stored on the candidate by a stage before; this filter asks no model. Where a least mark is set, a
    row without any is refused too: it would otherwise enter unjudged.
    """

    name = NAME

    def __init__(self, config: QualityConfig) -> None:
        self._is_on, self._least = config.is_on, config.min_grade
        self._least_of = {
            "judge.clarity": config.min_clarity,
            "judge.fit": config.min_fit,
            "judge.correctness": config.min_correctness,
        }

    def check(self, candidate: Candidate) -> Verdict:
        marks = _marks(candidate.grades)
        if not marks:
            return refuse(NAME, "not_graded", threshold=self._least) if self._is_on else accept(NAME)
        wanted = {name: max(self._least, self._least_of.get(name, 0.0)) for name in marks}
        aspect = min(marks, key=lambda name: (marks[name] - wanted[name], marks[name]))
        if marks[aspect] < wanted[aspect]:
            return refuse(NAME, "low_grade", score=marks[aspect], threshold=wanted[aspect], evidence=(aspect,))
        return accept(NAME, score=marks[aspect], threshold=wanted[aspect])


def _marks(grades: dict[str, float]) -> dict[str, float]:
    return {name: mark for name, mark in grades.items() if name.split(".", 1)[0] == JUDGE_PREFIX}
