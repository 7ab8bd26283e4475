"""Which labels an instruction allows."""

import pytest

from seedbed.generator.labels import labels_in


@pytest.mark.parametrize(
    ("instruction", "labels"),
    [
        ('Label the message as "spam" or "not spam".', ("spam", "not spam")),
        ("Choose the device: metaphor, simile, hyperbole or irony.", ("metaphor", "simile", "hyperbole", "irony")),
        ("Name the genre (comedy, thriller, or western) of the film.", ("comedy", "thriller", "western")),
        ("Is the review positive or negative? Answer with one word: positive / negative.", ("positive", "negative")),
        ("Say what it is: a verb or a noun", ("a verb", "a noun")),
        ("Determine which season the diary entry was written in.", ()),
        ("Sort the mail: read each one with care, then put it where it belongs or throw it away for good.", ()),
        ('Answer "yes" where it rains.', ()),
        ("", ()),
    ],
)
def test_labels_are_found_where_an_instruction_lists_them(instruction: str, labels: tuple[str, ...]) -> None:
    assert labels_in(instruction) == labels
