"""What is measured, by hand-worked sums and by scipy; and when it is too little."""

import math

import pytest
from scipy.stats import entropy

from seedbed.core.diversity import Collapse, DiversityConfig
from seedbed.generator.diversity import Written, collapses, measure

BOUNDS = DiversityConfig()


def row(instruction: str, category: str = "a", *, accepted: bool = True, depth: int = 1) -> Written:
    return Written(instruction, category, category, accepted, "", "yes", depth)


def varied(count: int) -> list[Written]:
    verbs = ("Write", "List", "Explain", "Compare", "Sort")
    return [row(f"{verbs[at % 5]} n{at} of m{at}.", "ab"[at % 2]) for at in range(count)]


def test_distinct_n_is_the_share_of_different_n_grams() -> None:
    found = measure([row("Name the river."), row("Name the lake.")])
    assert found.distinct_1 == pytest.approx(4 / 6)  # name, the, river, lake
    assert found.distinct_2 == pytest.approx(3 / 4)  # name the (twice), the river, the lake


def test_category_entropy_is_scipys_in_bits() -> None:
    found = measure([row("Name it.", name) for name in "aaabbc"])
    assert found.category_entropy == pytest.approx(entropy([3, 2, 1], base=2))
    assert found.category_evenness == pytest.approx(1.0)


def test_evenness_compares_what_came_with_what_was_asked_for() -> None:
    rows = [Written("Name it.", "a", asked, is_accepted=True) for asked in "ab"]
    assert measure(rows).category_evenness == 0
    assert measure([row("Name it.")]).category_evenness is None


def test_the_slope_is_the_newer_half_minus_the_older() -> None:
    rows = [row("Name it.", accepted=at < 6) for at in range(8)]
    assert measure(rows).acceptance_slope == pytest.approx(0.5 - 1.0)
    assert measure(rows).acceptance == pytest.approx(0.75)


def test_lengths_and_similarities_are_binned() -> None:
    rows = [
        Written("a b c d e", "a", "a", is_accepted=True, input="", output="x y", similarity=score)
        for score in (0.7, 0.69, None)
    ]
    found = measure(rows)
    assert found.lengths["instruction"].histogram == {"5-8": 3}
    assert found.lengths["input"].histogram == {"0": 3}
    assert found.lengths["output"].histogram == {"2": 3}
    assert found.similarity == {"under": 1, "0.6": 1, "0.7": 1}


def test_verbs_are_counted_with_their_nouns() -> None:
    found = measure([row("Write a poem."), row("Write a story."), row("Write two poems."), row("What is it?")])
    assert found.verb_nouns == {"write": {"poem": 2, "story": 1}}
    assert found.leading_words == {"write": 3, "what": 1}
    assert found.leading_share == pytest.approx(0.75)


def test_varied_rows_raise_nothing() -> None:
    assert collapses(measure(varied(100)), BOUNDS) == {}


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([row("Sort the old red box.")] * 40 + varied(5), Collapse.REPEATED_WORDING),
        ([row(f"Write n{at} m{at}.") for at in range(40)], Collapse.FEW_VERBS),
        ([Written(f"n{at} m{at}", "a", "ab"[at % 2], is_accepted=True) for at in range(40)], Collapse.FEW_CATEGORIES),
        ([row(f"n{at} m{at}", depth=6) for at in range(40)], Collapse.DEEP_LINEAGE),
        ([row(f"n{at} m{at}", accepted=at < 20) for at in range(40)], Collapse.FALLING_ACCEPTANCE),
    ],
)
def test_each_collapse_is_named_with_its_measure_and_setting(rows: list[Written], cause: Collapse) -> None:
    told = collapses(measure(rows), BOUNDS)
    assert cause in told
    assert "diversity.m" in told[cause]


def test_a_standing_collapse_ends_only_beyond_its_bound() -> None:
    rows = [row(f"{'Write' if at < 19 else f'w{at}'} n{at}.", "ab"[at % 2]) for at in range(40)]
    found = measure(rows)
    assert found.leading_share == pytest.approx(0.475)  # under the bound of 0.5, over 0.45
    assert Collapse.FEW_VERBS not in collapses(found, BOUNDS)
    assert Collapse.FEW_VERBS in collapses(found, BOUNDS, {Collapse.FEW_VERBS})


def test_one_category_has_an_entropy_of_zero() -> None:
    assert math.copysign(1, measure([row("Name it.")]).category_entropy) == 1
