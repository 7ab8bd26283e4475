"""Rows become tokens: prompt, response, end; trained where they should be, ordered by the seed alone."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import ConfigError, TrainingError
from seedbed.core.records import Example
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import Form, training_prompt
from seedbed.trainer.data import encode_rows, plan_steps
from seedbed.trainer.encode import end_id, stop_ids
from seedbed.trainer.model import load_tokenizer


@pytest.fixture
def tokenizer(tiny_model_folder: Path) -> Any:
    return load_tokenizer(tiny_model_folder)


def config(**settings: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(settings)


def test_an_alpaca_row_is_prompt_then_response_then_end_of_text(tokenizer: Any, examples: list[Example]) -> None:
    (row,) = encode_rows(examples[:1], tokenizer, config(template="alpaca")).kept
    example = examples[0]
    text = training_prompt(Form.ALPACA, example.instruction, example.input) + example.output + "<|endoftext|>"
    assert tokenizer.decode(list(row.tokens)) == text
    assert tokenizer.decode(list(row.tokens[row.prompt_tokens :])) == example.output + "<|endoftext|>"


def test_a_chat_row_ends_with_the_end_of_its_turn(tokenizer: Any, examples: list[Example]) -> None:
    (row,) = encode_rows(examples[:1], tokenizer, config(template="chat")).kept
    example = examples[0]
    asked = f"{example.instruction}\n\n{example.input}" if example.input else example.instruction
    head = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(list(row.tokens)) == f"{head}{example.output}<|im_end|>"
    assert tokenizer.decode(list(row.tokens[: row.prompt_tokens])) == head


def test_mixed_rows_take_several_forms_and_the_same_ones_each_time(tokenizer: Any, examples: list[Example]) -> None:
    first = encode_rows(examples, tokenizer, config(template="mixed"))
    assert len(first.forms) >= 4
    assert first == encode_rows(examples, tokenizer, config(template="mixed"))
    assert sum(first.forms.values()) == len(examples)


def test_a_student_without_a_chat_template_cannot_take_the_chat_form(tokenizer: Any, examples: list[Example]) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="chat template"):
        encode_rows(examples[:1], tokenizer, config(template="chat"))


def test_a_tokenizer_without_an_end_is_an_error(tokenizer: Any) -> None:
    tokenizer.eos_token = None
    with pytest.raises(TrainingError, match="end-of-text"):
        end_id(tokenizer, Form.ALPACA)


def test_an_answer_may_stop_at_the_end_of_text_or_of_a_turn(tokenizer: Any) -> None:
    vocabulary = tokenizer.get_vocab()
    assert set(stop_ids(tokenizer)) == {vocabulary["<|endoftext|>"], vocabulary["<|im_end|>"]}


def test_the_longest_row_allowed_is_kept_and_one_token_more_is_not(tokenizer: Any, examples: list[Example]) -> None:
    rows = encode_rows(examples, tokenizer, config(template="alpaca")).kept
    longest = max(rows, key=len)
    tight = encode_rows(examples, tokenizer, config(template="alpaca", max_length=len(longest)))
    assert len(tight.kept) == len(rows)
    tighter = encode_rows(examples, tokenizer, config(template="alpaca", max_length=len(longest) - 1))
    assert tighter.dropped["too_long"] == len(rows) - len(tighter.kept) >= 1


@given(st.integers(1, 60), st.sampled_from([0.5, 1.0, 2.0, 2.5]), st.integers(1, 9), st.integers(0, 3))
def test_every_pass_sees_every_row_once(rows: int, epochs: float, batch_rows: int, seed: int) -> None:
    steps = plan_steps(rows, config(epochs=epochs, batch_rows=batch_rows, seed=seed))
    order = [number for step in steps for number in step]
    assert len(order) == max(1, int(rows * epochs))
    assert all(len(step) == batch_rows for step in steps[:-1])
    for start in range(0, len(order) - rows + 1, rows):
        assert Counter(order[start : start + rows]) == Counter(range(rows))


def test_the_order_follows_the_seed_and_the_limit_cuts_it() -> None:
    base = plan_steps(50, config(epochs=2, seed=1))
    assert base == plan_steps(50, config(epochs=2, seed=1))
    assert base != plan_steps(50, config(epochs=2, seed=2))
    assert plan_steps(50, config(epochs=2, seed=1, max_steps=3)) == base[:3]
    assert base[0] != base[4]


def test_a_workspaces_own_template_is_what_is_trained(tmp_path: Path, tokenizer: Any, examples: list[Example]) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "alpaca.j2").write_text("My own: {{ instruction }}|{{ input }}|")
    (row,) = encode_rows(examples[:1], tokenizer, config(template="alpaca"), PromptLibrary(tmp_path)).kept
    text = tokenizer.decode(list(row.tokens[: row.prompt_tokens]))
    assert text == f"My own: {examples[0].instruction}|{examples[0].input}|"
