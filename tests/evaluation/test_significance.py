"""Exact tests agree with scipy, with published examples, and with what can be worked out."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seedbed.evaluation.significance import holm, mcnemar, sign_flip, wilson


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        # 2 · (1/2)^6
        (6, 0, 0.03125),
        # 2 · (1 + 10) / 2^10
        (9, 1, 0.021484375),
        # 2 · (1 + 12 + 66) / 2^12
        (2, 10, 0.03857421875),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int, p: float) -> None:
    first = [0.0] * gained + [1.0] * lost + [1.0] * 7 + [0.0] * 3
    second = [1.0] * gained + [0.0] * lost + [1.0] * 7 + [0.0] * 3
    assert mcnemar(first, second) == pytest.approx(p)


def test_mcnemar_takes_thousands_of_rows() -> None:
    # 1,600 against 1,400: z = (100 - 0.5) / √750 = 3.633 with continuity correction, so p is about 0.00028.
    first, second = [0.0] * 1600 + [1.0] * 1400, [1.0] * 1600 + [0.0] * 1400
    assert mcnemar(first, second) == pytest.approx(0.00028, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_the_sign_flip_test_is_scipys_paired_permutation_test(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.2, 0.5, size=10)
    expected = scipy.stats.permutation_test(
        (values, np.zeros(10)), lambda one, other: np.sum(one - other), permutation_type="samples", n_resamples=np.inf
    )
    found = sign_flip(values.tolist(), [str(number) for number in range(10)], draws=1)
    assert found == pytest.approx(expected.pvalue)


def test_rows_of_one_task_flip_together() -> None:
    # Three tasks that all gained: of the 8 signs only all plus and all minus reach the sum, so p = 2/8, however many
    # rows there are.
    assert sign_flip([1.0] * 30, [str(number % 3) for number in range(30)], draws=1) == 0.25


def test_many_tasks_are_flipped_at_random() -> None:
    # 40 tasks, 26 gained and 14 lost: the sign test, which this is for equal sizes, has p = P(|X - 20| >= 6).
    values = [1.0] * 26 + [-1.0] * 14
    expected = scipy.stats.binomtest(26, 40).pvalue
    found = sign_flip(values, [str(number) for number in range(40)], draws=40_000)
    assert found == pytest.approx(expected, abs=0.006)


def test_fewer_than_two_tasks_have_no_p_value() -> None:
    assert sign_flip([], [], draws=10) is None
    assert sign_flip([1.0, 1.0], ["a", "a"], draws=10) is None


def test_arms_that_never_differ_have_p_one() -> None:
    assert sign_flip([0.0] * 30, [str(number) for number in range(30)], draws=100) == 1.0


def test_holm_gives_the_corrected_values_of_the_textbook_example() -> None:
    # The example of "Holm-Bonferroni method" in Wikipedia: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7, 0.6]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_the_value_and_bonferronis(values: list[float]) -> None:
    corrected = holm(values)
    for value, found in zip(values, corrected, strict=True):
        assert value <= found <= min(1.0, value * len(values)) + 1e-12
    order = sorted(range(len(values)), key=lambda number: values[number])
    assert all(corrected[one] <= corrected[other] for one, other in itertools.pairwise(order))


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (7, 12), (450, 500), (1, 2)])
def test_wilsons_interval_is_scipys(hits: int, trials: int) -> None:
    expected = scipy.stats.binomtest(hits, trials).proportion_ci(method="wilson")
    found = wilson(hits, trials)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_trials_say_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)
