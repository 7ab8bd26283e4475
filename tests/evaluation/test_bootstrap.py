"""Intervals agree with what can be worked out."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.evaluation.bootstrap import mean_interval, paired_interval


def test_two_tasks_have_an_interval_that_can_be_enumerated() -> None:
    # Tasks with sums 2 and 0 of 2 rows each. Draws: both first (mean 1), both second (0), one each (0.5), with
    # probabilities 1/4, 1/4, 1/2; so the 2.5% and 97.5% quantiles are 0 and 1.
    found = paired_interval([1, 1, 0, 0], ["a", "a", "b", "b"], draws=10_000)
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_three_tasks_of_unequal_size_agree_with_every_possible_draw() -> None:
    differences, tasks = [1, 0, 0.5, -1, 1, 1], ["a", "b", "b", "c", "c", "c"]
    groups = {"a": [1.0], "b": [0, 0.5], "c": [-1.0, 1, 1]}
    means = sorted(
        statistics.fmean(itertools.chain.from_iterable(groups[name] for name in drawn))
        for drawn in itertools.product("abc", repeat=3)
    )
    found = paired_interval(differences, tasks, draws=40_000)
    # 27 equally likely draws: the quantiles are the least and the greatest of them.
    assert [found.low, found.high] == pytest.approx([means[0], means[-1]])
    assert found.mean == pytest.approx(sum(differences) / 6)


def test_many_independent_rows_give_the_normal_interval() -> None:
    # With a task a row the bootstrap approaches mean ± 1.96 · s/√n.
    rng = np.random.default_rng(3)
    values = rng.normal(0.03, 0.4, size=800)
    found = paired_interval(values.tolist(), [str(number) for number in range(800)], draws=10_000)
    half = 1.96 * values.std() / math.sqrt(800)
    assert found.low == pytest.approx(values.mean() - half, abs=0.002)
    assert found.high == pytest.approx(values.mean() + half, abs=0.002)


def test_rows_that_hang_together_widen_the_interval() -> None:
    # Ten tasks whose 20 rows all agree are ten facts, not two hundred.
    values = [float(task % 2) for task in range(10) for _ in range(20)]
    tasks = [str(task) for task in range(10) for _ in range(20)]
    clustered = paired_interval(values, tasks, draws=10_000)
    loose = paired_interval(values, [str(number) for number in range(200)], draws=10_000)
    # Standard errors √(0.25/10) and √(0.25/200): a ratio of √20 = 4.47.
    assert (clustered.high - clustered.low) / (loose.high - loose.low) == pytest.approx(math.sqrt(20), rel=0.12)


@pytest.mark.parametrize(("differences", "tasks"), [([], []), ([1.0, 1.0], ["a", "a"])])
def test_fewer_than_two_tasks_say_nothing(differences: list[float], tasks: list[str]) -> None:
    found = paired_interval(differences, tasks, draws=1000)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_equal_rows_have_equal_intervals_whatever_their_order() -> None:
    values, tasks = [0.1, 0.9, -0.3, 0.2, 0.5], ["d", "a", "c", "b", "a"]
    order = [3, 0, 4, 2, 1]
    again = paired_interval([values[at] for at in order], [tasks[at] for at in order], draws=2000)
    found = paired_interval(values, tasks, draws=2000)
    assert [again.low, again.high] == pytest.approx([found.low, found.high])


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_holds_only_possible_means(rows: list[tuple[float, int]]) -> None:
    found = paired_interval([value for value, _ in rows], [str(task) for _, task in rows], draws=200)
    assert -1 <= found.low <= found.high <= 1


def test_a_difference_of_nothing_has_no_width() -> None:
    found = paired_interval([0.0] * 30, [str(number % 5) for number in range(30)], draws=500)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_many_draws_over_many_tasks_are_drawn_in_parts() -> None:
    values = [float(number % 2) for number in range(9000)]
    found = paired_interval(values, [str(number) for number in range(9000)], draws=5000)
    half = 1.96 * 0.5 / math.sqrt(9000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_a_mean_of_one_arm_has_its_interval_too() -> None:
    # As above: tasks a (1, 1) and b (0, 0); the draws' means are 1, 0 and 0.5.
    found = mean_interval([1, 1, 0, 0], ["a", "a", "b", "b"], draws=10_000)
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    single = mean_interval([1, 1], ["a", "a"], draws=100)
    assert (single.mean, single.low, single.high) == (1.0, 0.0, 1.0)
