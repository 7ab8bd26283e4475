"""Answers of the tiny model: the same alone and in a batch, ended where it ends, with and without an adapter."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from seedbed.core.errors import InputError
from seedbed.core.records import Example
from seedbed.prompts.training_text import Form, training_prompt
from seedbed.trainer.generate import LocalModel, Prompted
from seedbed.trainer.job import Job, Stop
from seedbed.trainer.loop import train

MakeJob = Callable[..., Job]


def load(folder: Path, adapter: Path | None = None) -> LocalModel:
    return LocalModel(folder, adapter=adapter, dtype="float32", device="cpu", threads=1)


def prompts(examples: list[Example], form: Form = Form.ALPACA) -> list[Prompted]:
    return [Prompted(form, example.instruction, example.input) for example in examples]


def test_a_batch_answers_as_each_alone(tiny_model_folder: Path, examples: list[Example]) -> None:
    model = load(tiny_model_folder)
    asked = prompts(examples[:6])
    together = model.answer(asked, max_new_tokens=12, batch_rows=4)
    assert together == [model.answer([one], max_new_tokens=12)[0] for one in asked]


def test_an_answer_is_what_the_highest_logits_say(tiny_model_folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model_folder)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    tokens = tokenizer(training_prompt(Form.ALPACA, "Name a colour.", "")).input_ids
    start = len(tokens)
    for _ in range(8):
        with torch.no_grad():
            tokens.append(int(reference(torch.tensor([tokens])).logits[0, -1].argmax()))
    (answer,) = load(tiny_model_folder).answer([Prompted(Form.ALPACA, "Name a colour.")], max_new_tokens=8)
    assert answer.text == str(tokenizer.decode(tokens[start:])).strip()
    assert (answer.tokens, answer.ended) == (8, False)


def test_a_trained_model_says_what_it_was_taught_and_stops(
    make_job: MakeJob, tiny_model_folder: Path, examples: list[Example]
) -> None:
    """The end is trained: a model that learned its rows by heart ends each answer by itself."""
    rows = [
        examples[0].model_copy(update={"id": name, "instruction": f"Say {name} now", "output": name})
        for name in ("red", "blue")
    ]
    for template, form in (("alpaca", Form.ALPACA), ("chat", Form.CHAT)):
        job = make_job(template, train=rows, template=template, epochs=60, batch_rows=2, learning_rate=1e-2)
        train(job, Stop())
        model = load(tiny_model_folder, job.out / "adapter")
        answers = model.answer([Prompted(form, row.instruction, row.input) for row in rows], max_new_tokens=8)
        assert [answer.text for answer in answers] == ["red", "blue"], template
        assert all(answer.ended for answer in answers), template
        with model.base():
            unlearned = model.answer([Prompted(form, rows[0].instruction, rows[0].input)], max_new_tokens=8)
        assert not unlearned[0].ended
        assert unlearned == load(tiny_model_folder).answer(
            [Prompted(form, rows[0].instruction, rows[0].input)], max_new_tokens=8
        )


def test_a_folder_without_an_adapter_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="adapter_model"):
        load(tiny_model_folder, tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tokenizer"):
        load(tmp_path)
