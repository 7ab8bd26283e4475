"""Hugging Face's Trainer behind our command: the same rows, the same files, and what it cannot do is refused."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from seedbed.core.errors import ConfigError
from seedbed.trainer.hf import train_with_hf
from seedbed.trainer.job import Job, Stop
from seedbed.trainer.loop import train
from seedbed.trainer.quiet import quiet

MakeJob = Callable[..., Job]
SETTINGS: dict[str, Any] = {"backend": "hf", "epochs": 2, "micro_batch_rows": 4}


@pytest.fixture(autouse=True)
def _libraries_may_warn() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def lines(job: Job) -> list[dict[str, float]]:
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def adapter(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.out / "adapter" / "adapter_model.safetensors")


def test_it_learns_and_leaves_the_same_files(make_job: MakeJob) -> None:
    job, ours = make_job("hf", **SETTINGS), make_job("ours", epochs=2, micro_batch_rows=4)
    assert train_with_hf(job, Stop())
    assert train(ours, Stop())
    found, expected = (json.loads((one.out / "manifest.json").read_text()) for one in (job, ours))
    assert found.keys() == expected.keys()
    assert (found["steps"], found["rows"]) == (expected["steps"], expected["rows"]) == (8, {"train": 32, "val": 8})
    assert found["curves"]["val_loss"]["first"] == pytest.approx(expected["curves"]["val_loss"]["first"], rel=0.02)
    assert found["curves"]["val_loss"]["last"] < found["curves"]["val_loss"]["first"]
    assert adapter(job).keys() == adapter(ours).keys()
    assert [line["step"] for line in lines(job) if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in lines(job) if "val_loss" in line] == [0, 8]
    assert "padded" in found["notes"][0]
    assert json.loads((job.out / "state.json").read_text()) == {"state": "done", "step": 8, "steps": 8}
    with quiet():
        base = transformers.AutoModelForCausalLM.from_pretrained(job.weights.path)
        assert not torch.equal(
            base(torch.arange(1, 9)[None]).logits,
            peft.PeftModel.from_pretrained(base, job.out / "adapter")(torch.arange(1, 9)[None]).logits,
        )


def test_one_step_over_the_same_rows_is_ours(make_job: MakeJob) -> None:
    """All 32 rows in one step: their order does not matter, so both must see one loss and one gradient."""
    settings: dict[str, Any] = {"epochs": 1, "batch_rows": 32, "micro_batch_rows": 8, "learning_rate": 1e-3}
    job, ours = make_job("hf", **{**settings, "backend": "hf"}), make_job("ours", **settings)
    train_with_hf(job, Stop())
    train(ours, Stop())
    (found,), (expected,) = ([line for line in lines(one) if "loss" in line] for one in (job, ours))
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)


def test_it_stops_when_asked_and_goes_on(make_job: MakeJob) -> None:
    whole, parted = make_job("whole", **SETTINGS), make_job("parted", **SETTINGS)
    assert train_with_hf(whole, Stop())

    assert not train_with_hf(parted, Stop(is_asked=True))
    assert json.loads((parted.out / "state.json").read_text()) == {"state": "interrupted", "step": 1, "steps": 8}
    assert train_with_hf(parted, Stop())
    assert [line["step"] for line in lines(parted) if "loss" in line] == list(range(1, 9))
    one, other = adapter(whole), adapter(parted)
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompt_loss_weight": 0.1}, "prompt_loss_weight is 0.1"),
        ({"hf_arguments": {"learning_rate": 1}}, "sets learning_rate"),
        ({"hf_arguments": {"fdsp": "full_shard"}}, "fdsp"),
    ],
)
def test_what_it_cannot_do_is_refused(make_job: MakeJob, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train_with_hf(make_job(**{**SETTINGS, **settings}), Stop())


def test_another_runs_checkpoints_are_refused(make_job: MakeJob) -> None:
    assert not train_with_hf(make_job(**SETTINGS), Stop(is_asked=True))
    with pytest.raises(ConfigError, match=r"training\.learning_rate"):
        train_with_hf(make_job(**SETTINGS, learning_rate=1e-4), Stop())
