"""The command line against a tiny real model with an adapter on it."""

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers

from seedbed.core.config import TrainingConfig, TrainingTemplate
from seedbed.core.files import read_json
from seedbed.core.reports import EvalReport, PromotionDecision
from seedbed.evaluation.__main__ import main
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.prompts.training_text import Form
from seedbed.trainer.generate import LocalModel, Prompted
from seedbed.trainer.quiet import quiet
from seedbed.weights.resolve import resolve


@pytest.fixture
def tiny_spec(spec: EvaluationSpec, tiny_model_folder: Path, tmp_path: Path) -> EvaluationSpec:
    """The spec for the tiny model and a LoRA adapter of random weights, large enough to change its answers."""
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
        torch.manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)
        adapted.save_pretrained(str(tmp_path / "adapter"))
    training = TrainingConfig(template=TrainingTemplate.ALPACA, dtype="float32", device="cpu", threads=1)
    evaluation = spec.evaluation.model_copy(update={"min_rows": 500, "max_new_tokens": 8})
    changes = {"student": str(tiny_model_folder), "training": training, "evaluation": evaluation}
    return spec.model_copy(update={**changes, "cache": tmp_path / "cache"})


def test_a_real_model_is_evaluated_and_held_for_too_few_rows(
    tiny_spec: EvaluationSpec, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec.model_dump(mode="json")))
    assert main([str(tmp_path / "spec.json"), str(tmp_path / "out")]) == 0
    report = EvalReport.model_validate(read_json(tmp_path / "out" / "report.json"))
    assert report.decision is PromotionDecision.HOLD_UNDECIDED
    assert "12 of 500 held-out rows" in capsys.readouterr().out
    assert report.base_sha256 == resolve(str(tiny_model_folder), cache=tmp_path / "cache").base_sha256
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    answers = {(line["arm"], line["id"]): line for line in lines}
    assert any(
        answers["adapter", task.id]["answer"] != answers["base_template", task.id]["answer"] for task in tiny_spec.tasks
    )
    plain = LocalModel(tiny_model_folder, dtype="float32", device="cpu", threads=1)
    for task in tiny_spec.tasks[:3]:
        base = answers["base", task.id]
        assert base["form"] == "chat"
        (expected,) = plain.answer([Prompted(Form(base["form"]), task.instruction, task.input)], max_new_tokens=8)
        assert (base["answer"], base["ended"], base["tokens"]) == (expected.text, expected.ended, expected.tokens)
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    assert main([str(tmp_path / "spec.json"), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before
