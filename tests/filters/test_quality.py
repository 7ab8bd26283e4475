"""The judge's marks against the least that is wanted."""

from seedbed.core.filter_config import QualityConfig
from seedbed.core.records import Candidate, Lineage, Verdict
from seedbed.filters.quality import QualityFilter


def verdict(grades: dict[str, float], least: float) -> Verdict:
    candidate = Candidate.of("Name a river in Europe.", "", "Danube", lineage=Lineage(recipe="alpaca"))
    return QualityFilter(QualityConfig(min_grade=least)).check(candidate.model_copy(update={"grades": grades}))


def test_the_lowest_mark_decides_and_is_named() -> None:
    found = verdict({"judge.clarity": 5, "judge.correctness": 2}, 3)
    assert (found.reason, found.score, found.threshold, found.evidence) == (
        "low_grade",
        2,
        3,
        ("judge.correctness",),
    )


def test_a_mark_at_the_least_is_enough() -> None:
    assert verdict({"judge": 3}, 3).accepted


def test_a_row_that_no_judge_saw_does_not_slip_in() -> None:
    assert verdict({"agreement": 1}, 3).reason == "not_graded"
    assert verdict({}, 0).accepted


def test_each_aspect_has_a_least_mark_of_its_own() -> None:
    candidate = Candidate.of("Name a river in Europe.", "", "Danube", lineage=Lineage(recipe="alpaca"))
    marked = candidate.model_copy(update={"grades": {"judge.clarity": 3, "judge.fit": 2, "judge.correctness": 4}})
    assert QualityFilter(QualityConfig(min_clarity=3, min_correctness=4)).check(marked).accepted
    found = QualityFilter(QualityConfig(min_clarity=4, min_fit=4)).check(marked)
    assert (found.reason, found.score, found.threshold, found.evidence) == ("low_grade", 2, 4, ("judge.fit",))
    assert QualityFilter(QualityConfig(min_fit=1)).check(candidate).reason == "not_graded"
