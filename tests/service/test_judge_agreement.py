"""A judge beside people."""

import math
from collections import Counter
from pathlib import Path

import pytest

from seedbed.core.config import Config, EndpointConfig
from seedbed.core.errors import InputError
from seedbed.core.records import Candidate, Lineage
from seedbed.service.judge_agreement import Marks, agreement_of, compared, read_graded

GRADED = Path(__file__).with_name("graded_rows.jsonl")


def test_there_are_120_graded_rows_of_every_kind() -> None:
    rows = read_graded(GRADED)
    assert len(rows) >= 120
    assert len({(row.instruction, row.input, row.output) for row in rows}) == len(rows)
    assert len({row.category for row in rows}) >= 15
    kinds = Counter(
        "unclear" if row.clarity <= 2 else "unfit" if row.fit <= 2 else "wrong" if row.correctness <= 3 else "good"
        for row in rows
    )
    assert min(kinds[kind] for kind in ("unclear", "unfit", "wrong", "good")) >= 12


def test_the_agreement_is_as_worked_out_by_hand() -> None:
    """Good by both 4, by the person alone 1, by the judge alone 2, by neither 3: kappa (0.7 - 0.5) / 0.5."""
    pairs = [Marks(5, 5)] * 3 + [Marks(4, 5)] + [Marks(5, 2)] + [Marks(1, 4)] * 2 + [Marks(2, 2)] * 2 + [Marks(3, 1)]
    found = agreement_of("fit", pairs)
    assert (found.rows, found.equal, found.within_one) == (10, 0.5, 0.6)
    assert math.isclose(found.good_or_not, 0.7)
    assert found.kappa is not None
    assert math.isclose(found.kappa, 0.4)
    assert found.wanting_found == 0.6
    assert found.good_kept == 0.8


def test_where_both_find_all_good_chance_tells_nothing() -> None:
    found = agreement_of("fit", [Marks(5, 4), Marks(4, 4)])
    assert (found.good_or_not, found.kappa, found.wanting_found) == (1.0, None, None)


def test_unmarked_rows_count_nowhere_and_all_takes_the_lowest_mark() -> None:
    rows = read_graded(GRADED)[:2]
    marked = [Candidate.of(row.instruction, row.input, row.output, lineage=Lineage(recipe="graded")) for row in rows]
    low = {"judge.clarity": 5.0, "judge.fit": 5.0, "judge.correctness": 1.0}
    found = compared(rows, [marked[0].model_copy(update={"grades": low}), marked[1]])
    assert {one.aspect: (one.rows, one.equal) for one in found} == {
        "clarity": (1, 1.0),
        "fit": (1, 1.0),
        "correctness": (1, 0.0),
        "all": (1, 0.0),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no graded rows"),
        ('{"instruction": "a", "output": "b", "clarity": 6, "fit": 1, "correctness": 1}', "line 1: clarity"),
        ('{"instruction": "a", "output": "b", "clarity": 5, "fit": 1}', "line 1: correctness"),
        ("[1]", "line 1"),
    ],
)
def test_a_file_of_other_things_is_refused_by_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(InputError, match=problem):
        read_graded(tmp_path / "rows.jsonl")


def test_grading_without_a_judge_and_marks_without_grading_are_refused() -> None:
    endpoint = EndpointConfig(name="one", base_url="http://one/v1", model="m")
    with pytest.raises(ValueError, match="judge names no endpoint"):
        Config.model_validate({"endpoints": [endpoint], "generation": {"checks": {"grade_rows": True}}})
    with pytest.raises(ValueError, match="nobody gives marks"):
        Config.model_validate({"filters": {"quality": {"min_fit": 3}}})
