"""Sums that texts state, recomputed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.generator.arithmetic import asked_sum, last_number, sums_in, value_of
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3 * 4 = 12", [True]),
        ("So 3 × 4 = 13 boxes.", [False]),
        ("She pays $1,200 / 4 = $300 a month.", [True]),
        ("First 2 + 3 = 5, then 5 * 4 = 20.", [True, True]),
        ("2 + 3 = 1 + 4 = 6", [True, False]),
        ("10 / 3 = 3.33", [True]),
        ("20 / 3 = 6.66 or 6.67", [True]),
        ("10 / 3 = 3", [False]),
        ("10 / 3 ≈ 3", [False]),
        ("100 / 3 ≈ 33", [True]),
        ("(2 + 3)^2 = 25", [True]),
        ("-4 + 1 = -3", [True]),
        ("The price is 60 x 2 = 120 euros.", [True]),
    ],
)
def test_a_stated_sum_is_recomputed(text: str, right: list[bool]) -> None:
    assert [found.is_right for found in sums_in(text)] == right


@pytest.mark.parametrize(
    "text",
    [
        "x + 3 = 5",
        "2x = 10",
        "2x + 3 = 7",
        "y = 3x + 2",
        "f(3) = 9",
        "80 * 15% = 12",
        "15% of 80 = 12",
        "1 = 100",
        "if n % 2 == 0:",
        "total += 3",
        "a <= 4 - 1",
        "```\n2 + 2 = 5\n```",
        "5 apples + 3 apples = 9 apples",
        "x^2 + 2 = 6",
        "3 + 4 = x + 2",
        "3(4) = 12",
        "1/0 = 5",
        "9**9**9**9 = 1",
        "2^100000 = 3",
        "=" * 500,
    ],
)
def test_what_is_no_certain_sum_is_left_alone(text: str) -> None:
    assert sums_in(text) == ()


def test_no_seed_is_called_wrong_though_people_wrote_sums_in_many_ways() -> None:
    seeds = load_seed_tasks(PACKAGED_TASKS, load_categories(PACKAGED_CATEGORIES))
    found = [(seed.id, one) for seed in seeds if seed.category != "coding" for one in sums_in(seed.output)]
    assert len(found) >= 10
    assert [one for one in found if not one[1].is_right] == []


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from("+-*"))
def test_python_and_we_agree(one: int, other: int, sign: str) -> None:
    expression = f"({one}) {sign} ({other})"
    assert value_of(expression) == eval(expression)


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    sums_in(text)
    value_of(text)
    asked_sum(text)
    last_number(text)


@pytest.mark.parametrize(
    ("instruction", "value"),
    [
        ("What is 12 * 7?", 84),
        ("Calculate the value of (3 + 5) / 2.", 4),
        ("Compute 1,000 - 1", 999),
        ("What is 15% of 80?", None),
        ("What is 5 in words?", None),
        ("What is the 3rd planet?", None),
        ("Tell me a story about 3 + 4.", None),
    ],
)
def test_the_sum_that_is_asked_for_is_known_only_where_it_stands_there(instruction: str, value: int | None) -> None:
    assert asked_sum(instruction) == value


def test_the_last_number_of_a_text() -> None:
    assert last_number("First 3, then 1,204.50 euros.") == Fraction("1204.5")
    assert last_number("none") is None
