"""What categories say: corrected for their number, and nothing where rows are too few."""

import pytest

from seedbed.core.reports import Difference, Finding
from seedbed.evaluation.metrics import Score
from seedbed.evaluation.scoring import Scored, category_scores, differences
from seedbed.evaluation.tasks import HeldOutTask


def rows(category: str, values: list[float], tasks: int | None = None) -> list[Scored]:
    return [
        Scored(
            HeldOutTask(
                id=f"{category}/{number}",
                task=f"{category}/{number % (tasks or len(values))}",
                category=category,
                instruction="Say it.",
                references=("yes",),
            ),
            "",
            Score(value, None),
            ended=number % 2 == 0,
        )
        for number, value in enumerate(values)
    ]


def compared(min_rows: int = 14) -> dict[str, Difference]:
    # gains: 14 tasks gained, p = 2/2^14. mixed: 10 of 14 gained, 4 lost. few: 6 of 6 gained, p = 2/2^6 = 0.031.
    base = rows("gains", [0.0] * 14) + rows("mixed", [0.0] * 10 + [1.0] * 4) + rows("few", [0.0] * 6)
    adapter = rows("gains", [1.0] * 14) + rows("mixed", [1.0] * 10 + [0.0] * 4) + rows("few", [1.0] * 6)
    return {found.category: found for found in differences(base, adapter, draws=200, min_rows=min_rows)}


def test_categories_are_corrected_for_each_other_and_all_is_one_test() -> None:
    found = compared()
    # 2 · (1 + 14 + 91 + 364 + 1001) / 2^14 for 4 losses or fewer of 14, both sides.
    assert found["mixed"].p == pytest.approx(2 * 1471 / 2**14)
    assert found["gains"].holm_p == pytest.approx(3 * 2 / 2**14)
    assert found["few"].holm_p == pytest.approx(2 * 2 / 2**6)
    assert found["mixed"].holm_p == pytest.approx(2 * 1471 / 2**14)
    assert found["all"].holm_p is None


def test_a_category_says_something_only_with_enough_rows_tasks_and_a_small_p() -> None:
    found = compared()
    assert {name: one.finding for name, one in found.items()} == {
        "few": Finding.UNDECIDED,
        "gains": Finding.BETTER,
        "mixed": Finding.UNDECIDED,
        "all": Finding.BETTER,
    }
    assert compared(min_rows=15)["gains"].finding is Finding.UNDECIDED


def test_a_category_that_lost_is_worse() -> None:
    (found, _) = differences(rows("a", [1.0] * 20), rows("a", [0.0] * 20), draws=200)
    assert found.finding is Finding.WORSE


def test_many_rows_of_few_tasks_claim_nothing() -> None:
    (found, _) = differences(rows("a", [0.0] * 500, 11), rows("a", [1.0] * 500, 11), draws=200)
    assert (found.n, found.tasks, found.finding) == (500, 11, Finding.UNDECIDED)


def test_each_number_carries_its_rows_and_interval() -> None:
    (score, _) = category_scores("adapter", rows("a", [1.0, 1.0, 0.0, 0.0], 2), draws=4000)
    # Rows 0 and 2 are one task (mean 0.5), 1 and 3 the other (mean 0.5): every draw has the mean 0.5. Of the first all
    # ended, of the second none, so draws of the share lie between 0 and 1.
    assert set(score.intervals) == {"exact_match", "score", "eos_share"}
    exact, ended = score.intervals["exact_match"], score.intervals["eos_share"]
    assert (exact.n, exact.low, exact.high) == (4, 0.5, 0.5)
    assert (ended.n, ended.low, ended.high) == (4, 0.0, 1.0)
