"""Wishes that a text model cannot fulfil, and the same words in wishes that it can."""

import pytest

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate, Lineage
from seedbed.filters.beyond_text import blocklisted_word


def evidence(instruction: str, input: str = "") -> str:
    row = Candidate.of(instruction, input, "x", lineage=Lineage(recipe="import"))
    found = blocklisted_word(row, WellformedConfig())
    return found.evidence if found else ""


@pytest.mark.parametrize(
    "instruction",
    [
        "Describe what you see in the image.",
        "Look at the following photo and describe it.",
        "Caption the photo below.",
        "Listen to the audio and write down the words.",
        "Summarize the attached file.",
        "Draw a diagram of the water cycle.",
        "Explain it, then plot the numbers.",
        "Generate an image of a sunset over mountains.",
        "Create a flowchart for the hiring process.",
        "Compose a piece of music for piano.",
        "Go to the website and find the cheapest flight.",
    ],
)
def test_looking_making_and_going_are_refused(instruction: str) -> None:
    assert evidence(instruction)


@pytest.mark.parametrize(
    "instruction",
    [
        "Write a Python function that opens a file and plots its columns.",
        "Name three video games from the nineties.",
        "Describe the plot of a tragedy.",
        "Draw a conclusion from the facts.",
        "Explain how image compression works.",
        "Explain why people go to the theatre.",
        "Write a caption for a photo of a dog at the beach.",
        "Explain the difference between a map and a globe.",
        "Write a story about an old photo found in an attic.",
    ],
)
def test_speaking_of_such_things_is_not(instruction: str) -> None:
    assert evidence(instruction) == ""


def test_an_input_may_hold_a_graph_as_text_but_no_picture() -> None:
    assert evidence("Find the shortest way in this graph.", "A-B, B-C, A-C") == ""
    assert evidence("Find the shortest way in this graph.")
    assert evidence("Describe this picture shortly.", "[picture of a cat]")
