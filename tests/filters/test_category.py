"""The compiled classifier scores rows as the plain one does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.filters.category import compiled_scores
from seedbed.seeds.classifier import CategoryClassifier, Learned, Row, Score
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks
from seedbed.seeds.traits import ANSWER_CUES, ASKED_CUES

CATEGORIES = load_categories(PACKAGED_CATEGORIES)
SEEDS = load_seed_tasks(PACKAGED_TASKS, CATEGORIES)
HELD_OUT = [category.name for category in CATEGORIES.held_out]
PLAIN = CategoryClassifier(SEEDS, HELD_OUT)
ROUNDING = 1e-9

PIECES = (
    *(key.replace("*", "ing") for cues in (ASKED_CUES, ANSWER_CUES) for key in cues.places),
    *("What is", "according to", "the passage", "classify", "Step 1:", "1. one", "- two", "* three", "12) four", "3.5"),
    *("\n", "\n\n", "\t", " ", "\x1c", "\r\n", "```", "'", "it's", "''s", "_", "a_b", "?", "!", '"', "{}", "<|>", ";="),
    *("the of and", "I", "i", "0123456789", "\x00", "x" * 300, "word " * 210, "é", "Straße", "“quoted”", "don’t"),
)
TEXT = st.lists(st.sampled_from(PIECES) | st.text(st.characters(max_codepoint=127), max_size=12), max_size=30).map(
    " ".join
)


@pytest.fixture(scope="module")
def compiled() -> CategoryClassifier:
    return CategoryClassifier(SEEDS, HELD_OUT, compiled_scores)


@pytest.fixture(scope="module")
def scores() -> Score:
    made: list[Score] = []

    def keep(learned: Learned, plain: Score) -> Score:
        made.append(compiled_scores(learned, plain))
        return made[0]

    CategoryClassifier(SEEDS, HELD_OUT, keep)
    return made[0]


def test_every_seed_has_the_same_scores_and_category(scores: Score, compiled: CategoryClassifier) -> None:
    for seed in SEEDS:
        row = Row(seed.instruction, seed.input, seed.output)
        assert np.abs(scores(row) - PLAIN.scores(row)).max() < ROUNDING
        assert compiled.named(row) == PLAIN.named(row)
        assert compiled.named(row, "coding") == PLAIN.named(row, "coding")
        assert compiled.is_held_out(row) == PLAIN.is_held_out(row)


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, TEXT)
def test_any_row_has_the_same_scores(scores: Score, instruction: str, given_input: str, output: str) -> None:
    row = Row(instruction, given_input, output)
    assert np.abs(scores(row) - PLAIN.scores(row)).max() < ROUNDING


@pytest.mark.parametrize("text", ["", " ", "x" * 5000, "a b " * 2000, "1. x\n" * 500, "word\n" * 100, "``" * 3])
def test_long_and_empty_fields_have_the_same_scores(scores: Score, text: str) -> None:
    for row in (Row(text, "", ""), Row("", text, ""), Row("", "", text), Row(text, text, text)):
        assert np.abs(scores(row) - PLAIN.scores(row)).max() < ROUNDING
