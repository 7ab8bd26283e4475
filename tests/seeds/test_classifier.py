"""Telling the category of a row from the seed tasks."""

import random

import pytest

from seedbed.core.records import SeedTask
from seedbed.seeds.classifier import MIN_SEEDS, CategoryClassifier, Row
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks
from seedbed.seeds.traits import offers_choice

CATEGORIES = load_categories(PACKAGED_CATEGORIES)
SEEDS = load_seed_tasks(PACKAGED_TASKS, CATEGORIES)
HELD_OUT = [category.name for category in CATEGORIES.held_out]


@pytest.fixture(scope="module")
def classifier() -> CategoryClassifier:
    return CategoryClassifier(SEEDS, HELD_OUT)


def row_of(seed: SeedTask) -> Row:
    return Row(seed.instruction, seed.input, seed.output)


def test_the_agreement_is_what_training_without_each_seed_gives(classifier: CategoryClassifier) -> None:
    """The closed form against the long way, on a third of the seeds; scale and word rarity differ by one seed."""
    chosen = random.Random(0).sample(range(len(SEEDS)), 94)
    right = sum(
        CategoryClassifier([*SEEDS[:left_out], *SEEDS[left_out + 1 :]], HELD_OUT).named(row_of(SEEDS[left_out]))
        == SEEDS[left_out].category
        for left_out in chosen
    )
    share = right / len(chosen)
    # Two standard errors of a share of 94 drawn from 282 without return, and three seeds that may fall otherwise.
    assert abs(share - classifier.agreement.share) <= 2 * (0.2 * 0.8 / 94 * 2 / 3) ** 0.5 + 3 / 94


def test_the_packaged_seeds_are_told_apart(classifier: CategoryClassifier) -> None:
    """Guessing the largest category would be right for 30 of 282."""
    found = classifier.agreement
    assert found.seeds == len(SEEDS) == sum(seeds for seeds, _ in found.by_category.values())
    assert found.right == sum(right for _, right in found.by_category.values())
    assert found.share >= 0.75
    assert found.held_out_found >= 0.9 * found.held_out_seeds
    assert found.trained_refused <= 0.03 * found.trained_seeds


def test_what_was_asked_for_stands_unless_another_category_is_well_ahead(classifier: CategoryClassifier) -> None:
    poem = Row(
        "Write a short poem about a lighthouse in a storm.", "", "The lamp turns slow\nabove the foam,\nand calls"
    )
    assert classifier.named(poem) == "creative_writing"
    assert classifier.named(poem, "creative_writing") == "creative_writing"
    assert classifier.named(poem, "mathematics") == "creative_writing"


def test_a_category_that_nobody_knows_stands(classifier: CategoryClassifier) -> None:
    row = Row("Write a short poem about a lighthouse in a storm.", "", "The lamp turns slow\nabove the foam")
    assert classifier.named(row, "limericks_of_mine") == "limericks_of_mine"


def test_a_held_out_category_is_told_whatever_was_asked_for(classifier: CategoryClassifier) -> None:
    row = Row("Translate the sentence into French.", "I like tea.", "J'aime le thé.")
    assert {classifier.named(row, name) for name in CATEGORIES.names} == {"translation"}


def test_a_category_with_few_seeds_is_not_learned() -> None:
    coding = [seed for seed in SEEDS if seed.category == "coding"]
    planning = [seed for seed in SEEDS if seed.category == "planning"]
    assert CategoryClassifier([*coding, *planning[: MIN_SEEDS - 1]]).categories == ("coding",)
    assert CategoryClassifier([*coding, *planning[:MIN_SEEDS]]).categories == ("coding", "planning")


def test_nothing_is_told_where_nothing_was_learned() -> None:
    alone = CategoryClassifier([seed for seed in SEEDS if seed.category == "coding"], ["coding"])
    assert alone.named(Row("Write a function.", "", "def f(): ...")) == ""
    assert alone.named(Row("Write a function.", "", "def f(): ..."), "planning") == "planning"
    assert alone.agreement.share == 0.0


@pytest.mark.parametrize("text", ["", "\x00", "\ud800", "?" * 100_000, "नमस्ते दुनिया", "```" * 500])
def test_no_text_breaks_it(classifier: CategoryClassifier, text: str) -> None:
    assert classifier.named(Row(text, text, text)) in CATEGORIES.names


CHOICES = {
    "Is the sender of this postcard happy, homesick or bored?": True,
    'Answer "ripe" or "unripe" for the fruit that is described.': True,
    "Name the genre of the book from its blurb.": True,
    "Assign the caller to one queue: sales, repairs, complaints.": True,
    "Which kind of cloud is this?": True,
    "Describe the steps of repairing a bicycle (e.g., cleaning, lubricating).": False,
    "List the habits that you have, whether exercise or reading.": False,
    "What are some features of the equator?": False,
    "Given a date, list all the events of that date.": False,
    "Define the difference between a lake and a pond.": False,
}


@pytest.mark.parametrize(("instruction", "is_choice"), CHOICES.items())
def test_a_row_is_a_classification_only_where_its_instruction_offers_a_choice(
    classifier: CategoryClassifier, instruction: str, is_choice: bool
) -> None:
    """The answers are short, as those of small models to whatever they call a classification."""
    row = Row(instruction, "It lies before me.", "equator")
    assert offers_choice(instruction) is is_choice
    assert (classifier.named(row, "classification") == "classification") is is_choice


def test_every_seed_that_chooses_between_labels_offers_them() -> None:
    assert [seed.id for seed in SEEDS if seed.is_classification and not offers_choice(seed.instruction)] == []
