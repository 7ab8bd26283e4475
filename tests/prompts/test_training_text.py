from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.config import TrainingTemplate
from seedbed.core.records import Message
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import (
    KEPT_BACK_FORM,
    MIXED_FORMS,
    Form,
    chat_turns,
    choose_form,
    training_prompt,
)

PLAIN_FORMS = tuple(form for form in Form if form is not Form.CHAT)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)

# PROMPT_DICT of stanford_alpaca's train.py.
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)


@given(instruction=TEXT, input=TEXT)
def test_the_alpaca_form_is_alpacas_byte_for_byte(instruction: str, input: str) -> None:
    with_input = training_prompt(Form.ALPACA, instruction, input)
    assert with_input == ALPACA_WITH_INPUT.format_map({"instruction": instruction, "input": input})
    assert training_prompt(Form.ALPACA, instruction, "") == ALPACA_WITHOUT_INPUT.format(instruction=instruction)


@pytest.mark.parametrize("form", PLAIN_FORMS)
@given(instruction=TEXT, input=TEXT)
def test_a_prompt_holds_instruction_and_input_once_each(form: Form, instruction: str, input: str) -> None:
    prompt = training_prompt(form, instruction, input)
    assert instruction in prompt
    assert input in prompt
    assert len(prompt) - len(instruction) - len(input) == len(training_prompt(form, "I", "X")) - 2


@pytest.mark.parametrize("form", PLAIN_FORMS)
def test_a_row_without_input_shows_no_place_for_one(form: Form) -> None:
    prompt = training_prompt(form, "Name a river.", "")
    assert prompt.count("Name a river.") == 1
    for label in ("Input", "Given", "Context", "Material", "---", "work with"):
        assert label not in prompt
    assert "\n\n\n" not in prompt


def test_no_two_forms_write_a_row_alike() -> None:
    for material in ("", "The Rhine."):
        prompts = {training_prompt(form, "Name a river.", material) for form in PLAIN_FORMS}
        assert len(prompts) == len(PLAIN_FORMS)


def test_mixed_has_at_least_eight_forms_and_never_the_one_kept_back() -> None:
    assert len(set(MIXED_FORMS)) == len(MIXED_FORMS) >= 8
    assert KEPT_BACK_FORM not in MIXED_FORMS
    assert Form.CHAT not in MIXED_FORMS


@given(row_id=st.text(), seed=st.integers())
def test_the_form_follows_from_row_and_seed_alone(row_id: str, seed: int) -> None:
    assert choose_form(TrainingTemplate.MIXED, row_id, seed) is choose_form(TrainingTemplate.MIXED, row_id, seed)
    assert choose_form(TrainingTemplate.MIXED, row_id, seed) in MIXED_FORMS
    assert choose_form(TrainingTemplate.ALPACA, row_id, seed) is Form.ALPACA
    assert choose_form(TrainingTemplate.CHAT, row_id, seed) is Form.CHAT


def test_mixed_uses_every_form_about_equally() -> None:
    rows = 900 * len(MIXED_FORMS)
    counts = Counter(choose_form(TrainingTemplate.MIXED, f"row-{number}", 0) for number in range(rows))
    assert set(counts) == set(MIXED_FORMS)
    # 900 expected of each; five standard deviations of a binomial are about 141.
    assert all(abs(count - 900) < 141 for count in counts.values())


def test_another_seed_gives_other_forms() -> None:
    rows = [f"row-{number}" for number in range(100)]
    first, second = ([choose_form(TrainingTemplate.MIXED, row, seed) for row in rows] for seed in (0, 1))
    assert first != second


def test_the_chat_form_is_left_to_the_tokenizer() -> None:
    with pytest.raises(ValueError, match="chat_turns"):
        training_prompt(Form.CHAT, "Name a river.", "")


def test_a_chat_is_one_user_turn() -> None:
    assert chat_turns("Name a river.", "") == (Message(role="user", content="Name a river."),)
    assert chat_turns("Name it.", "The Rhine.") == (Message(role="user", content="Name it.\n\nThe Rhine."),)


def test_a_workspace_may_override_a_training_form(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training/bare.j2").write_text("> {{ instruction }}", encoding="utf-8")
    assert training_prompt(Form.BARE, "Hop.", "", PromptLibrary(tmp_path)) == "> Hop."
