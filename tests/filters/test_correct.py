"""Rows that were checked."""

import pytest

from seedbed.core.records import Candidate, Lineage
from seedbed.filters.correct import CorrectFilter


@pytest.mark.parametrize(
    ("grades", "reason"),
    [
        ({}, ""),
        ({"judge": 0.0}, ""),
        ({"check.arithmetic": 1.0, "check.agreement": 1.0}, ""),
        ({"check.arithmetic": 0.0, "check.agreement": 1.0}, "wrong_arithmetic"),
        ({"check.agreement": 0.0}, "wrong_agreement"),
    ],
)
def test_only_what_a_check_found_wrong_is_refused(grades: dict[str, float], reason: str) -> None:
    row = Candidate.of("What is 2 + 2?", "", "The answer is 4.", lineage=Lineage(recipe="chain_of_thought"))
    verdict = CorrectFilter().check(row.model_copy(update={"grades": grades}))
    assert (verdict.accepted, verdict.reason) == (not reason, reason)
