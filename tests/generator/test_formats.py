"""Answers whose form the instruction prescribes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.generator.formats import is_allowed_label, is_of_format
from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks

SEEDS = load_seed_tasks(PACKAGED_TASKS, load_categories(PACKAGED_CATEGORIES))


@pytest.mark.parametrize(
    ("instruction", "output", "is_right"),
    [
        ("Return the order as a JSON object.", '{"item": "tea", "count": 2}', True),
        ("Return the order as a JSON object.", '```json\n{"item": "tea"}\n```', True),
        ("Return the order as a JSON object.", "{'item': 'tea'}", False),
        ("Return the order as a JSON object.", 'Here it is: {"item": "tea"}', False),
        ("Write the list as CSV.", "name,age\nAda,36", True),
        ("Write the list as CSV.", 'name,note\nAda,"a, b"', True),
        ("Write the list as CSV.", "name,age\nAda,36,x", False),
        ("Give the address as XML.", "<address><city>Lyon</city></address>", True),
        ("Give the address as XML.", "<address><city>Lyon</address>", False),
        ("Give the address as XML.", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', None),
        ("Write a Python function that returns JSON output.", "def f(): ...", None),
        ("Explain what a JSON array is.", "A list in brackets.", None),
        ("Turn the CSV lines into a JSON array.", "[1]", None),
        ("Name three rivers.", "Rhine", None),
    ],
)
def test_an_answer_must_parse_where_a_format_is_asked_for(instruction: str, output: str, is_right: bool | None) -> None:
    assert is_of_format(instruction, output) is is_right


@pytest.mark.parametrize(
    ("instruction", "output", "is_right"),
    [
        ('Classify the comment as "positive" or "negative".', "Positive.", True),
        ('Classify the comment as "positive" or "negative".', "mixed", False),
        ("Choose the tone: angry, calm or sad.", "calm", True),
        ("Choose the tone: angry, calm or sad.", "It is joyful", False),
        ("Choose the tone: angry, calm or sad.", "The writer sounds rather calm in most of the text", None),
        ("Choose the tone: angry, calm or sad, and give the reason.", "joyful", None),
        ("Write a poem about spring, summer or autumn.", "Leaves fall", None),
        ("Name the capital of France.", "Paris", None),
    ],
)
def test_a_label_must_be_among_those_given(instruction: str, output: str, is_right: bool | None) -> None:
    assert is_allowed_label(instruction, output) is is_right


def test_no_seed_task_is_found_wrong() -> None:
    wrong = [
        seed.id
        for seed in SEEDS
        if is_of_format(seed.instruction, seed.output) is False
        or is_allowed_label(seed.instruction, seed.output) is False
    ]
    assert wrong == []


@given(instruction=st.text(max_size=200), output=st.text(max_size=200))
def test_no_text_breaks_a_check(instruction: str, output: str) -> None:
    for prefix in ("", "Return valid JSON: ", "Write as CSV: ", "Give XML output. ", 'Choose "a" or "b". '):
        is_of_format(prefix + instruction, output)
        is_allowed_label(prefix + instruction, output)


def test_deep_nesting_is_wrong_and_does_not_break() -> None:
    assert is_of_format("Return a JSON array.", "[" * 100_000) is False
