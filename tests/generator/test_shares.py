"""Target shares after an evaluation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.reports import CategoryScore
from seedbed.generator.shares import moved_shares

BASE = {"writing": 0.4, "sorting": 0.3, "mixed": 0.27, "safety": 0.03}


def score(category: str, value: float, n: int = 40, *, exact: bool = False) -> CategoryScore:
    kind = {"exact_match": value} if exact else {"rouge_l": value}
    return CategoryScore(arm="adapter", category=category, n=n, score=value, **kind)


def shares(scores: list[CategoryScore], most: float = 1.5, fixed: tuple[str, ...] = ("safety",)) -> dict[str, float]:
    return {move.category: move.share for move in moved_shares(BASE, scores, most=most, fixed=fixed)}


def test_the_weakest_category_gets_more_and_the_strongest_less() -> None:
    found = shares([score("writing", 0.2), score("sorting", 0.5), score("mixed", 0.8)])
    assert found["writing"] > BASE["writing"]
    assert found["mixed"] < BASE["mixed"]
    assert math.isclose(sum(found.values()), 1.0)
    assert found["safety"] == BASE["safety"]


def test_the_factor_is_as_worked_out_by_hand() -> None:
    """Mean 0.5; 40 of 50 parts count: factors 1.24 and 0.76, which leave the sum of equal shares as it is."""
    moves = moved_shares({"a": 0.5, "b": 0.5}, [score("a", 0.2), score("b", 0.8)], most=2.0)
    assert [round(move.share, 6) for move in moves] == [0.62, 0.38]
    assert moves[0].reason == "score 0.200 on 40 validation rows; base 0.500 times 1.24"


def test_few_rows_move_little() -> None:
    many = shares([score("writing", 0.2, 40), score("mixed", 0.8, 40)])
    few = shares([score("writing", 0.2, 1), score("mixed", 0.8, 1)])
    assert BASE["writing"] < few["writing"] < many["writing"]


def test_a_measure_is_compared_with_its_own_kind_only() -> None:
    """ROUGE-L of free text lies low by nature; it says nothing beside an exact match."""
    found = shares([score("writing", 0.2), score("mixed", 0.2), score("sorting", 0.9, exact=True)])
    assert found == pytest.approx(BASE)


def test_nothing_moves_without_scores_or_where_the_operator_wants_none() -> None:
    assert shares([]) == BASE
    assert shares([score("writing", 0.0), score("mixed", 1.0)], most=1.0) == BASE
    assert shares([score("all", 0.0), score("secret", 1.0)]) == BASE


@given(
    base=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=8),
    values=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 500)), min_size=8, max_size=8),
    most=st.floats(1.0, 4.0),
)
def test_shares_add_up_and_stay_in_their_bounds(
    base: list[float], values: list[tuple[float, int]], most: float
) -> None:
    before = {f"c{number}": share for number, share in enumerate(base)}
    scores = [score(name, *value) for name, value in zip(before, values, strict=False)]
    after = {move.category: move.share for move in moved_shares(before, scores, most=most)}
    assert math.isclose(sum(after.values()), sum(base), rel_tol=1e-9)
    for name, share in before.items():
        assert share / most * (1 - 1e-9) <= after[name] <= share * most * (1 + 1e-9)
