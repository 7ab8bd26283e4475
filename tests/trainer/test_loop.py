"""A whole run on the tiny model: it learns, stops, goes on, and leaves what a user needs."""

import errno
import json
import math
import os
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from seedbed.core.config import TrainingConfig
from seedbed.core.errors import ConfigError, TrainingError
from seedbed.core.files import read_json
from seedbed.core.records import Example
from seedbed.core.text import content_id
from seedbed.prompts.training_text import KEPT_BACK_FORM, MIXED_FORMS
from seedbed.trainer.job import Job, Stop, newest_checkpoint
from seedbed.trainer.loop import learning_rate, train
from seedbed.trainer.quiet import quiet

MakeJob = Callable[..., Job]


def lines(job: Job) -> list[dict[str, float]]:
    return [json.loads(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]


def adapter(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.out / "adapter" / "adapter_model.safetensors")


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_validation_loss_falls_and_the_manifest_says_so(make_job: MakeJob) -> None:
    job = make_job(epochs=4, template="alpaca", learning_rate=2e-2)
    assert train(job, Stop())
    manifest = json.loads((job.out / "manifest.json").read_text())
    curve = manifest["curves"]["val_loss"]
    assert curve["last"] < 0.95 * curve["first"]
    assert abs(curve["first"] - math.log(2000)) < 0.6, (
        "random weights know nothing: the loss is near log of the vocabulary"
    )
    assert (manifest["snapshot_id"], manifest["base_sha256"]) == (job.snapshot_id, job.weights.base_sha256)
    assert manifest["rows"] == {"train": 32, "val": 8}
    assert manifest["steps"] == 16
    assert json.loads((job.out / "state.json").read_text())["state"] == "done"


def test_the_manifest_counts_the_forms_of_mixed_rows(make_job: MakeJob) -> None:
    job = make_job(epochs=1, max_steps=1, template="mixed", seed=3)
    train(job, Stop())
    told = json.loads((job.out / "manifest.json").read_text())
    assert told["template"] == "mixed"
    by_hash = [
        MIXED_FORMS[int(content_id((row.id, "3")), 16) % 9]
        for row in job.train  # of nine forms
    ]
    assert told["forms"] == dict(sorted(Counter(map(str, by_hash)).items()))
    assert len(told["forms"]) >= 5
    assert KEPT_BACK_FORM not in told["forms"]


def test_every_step_is_told_once(make_job: MakeJob) -> None:
    job = make_job(epochs=1)
    train(job, Stop())
    steps = [line for line in lines(job) if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert steps[0].keys() == {"step", "loss", "learning_rate", "tokens", "tokens_per_s", "mfu", "grad_norm"}
    assert [line["step"] for line in lines(job) if "val_loss" in line] == [0, 4]
    assert list((job.out / "tensorboard").glob("events.*"))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT asks transformers the old way
def test_the_adapter_loads_in_plain_peft_and_changes_the_answers(make_job: MakeJob, tiny_model_folder: Path) -> None:
    job = make_job(epochs=1)
    train(job, Stop())
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    tokens = torch.arange(1, 20)[None]
    before = base(tokens).logits
    model = peft.PeftModel.from_pretrained(base, job.out / "adapter")
    assert not torch.allclose(model(tokens).logits, before)
    names = set(adapter(job))
    assert all("lora_A" in name or "lora_B" in name for name in names), "no saved modules, no embeddings"
    settings = json.loads((job.out / "adapter" / "adapter_config.json").read_text())
    assert settings["modules_to_save"] is None
    assert settings["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert "base_model" in (job.out / "adapter" / "README.md").read_text()


class StopAfter(Stop):
    """Asks for a stop before the pass of that number, counted from 1."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.left = passes

    def check(self) -> None:
        self.left -= 1
        self.is_asked = self.left <= 0
        super().check()


@pytest.mark.parametrize("passes", [1, 3, 6, 8, 11])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(make_job: MakeJob, passes: int) -> None:
    settings = {"epochs": 2, "packing": False, "micro_batch_rows": 4, "evaluate_every_steps": 3}
    whole, parted = make_job("whole", **settings), make_job("parted", **settings)
    assert train(whole, Stop())
    assert not train(parted, StopAfter(passes))
    assert json.loads((parted.out / "state.json").read_text())["state"] == "interrupted"
    assert train(parted, Stop())
    assert are_equal(adapter(whole), adapter(parted))
    for name in ("loss", "val_loss", "learning_rate", "grad_norm"):
        assert [line[name] for line in lines(whole) if name in line] == [
            line[name] for line in lines(parted) if name in line
        ]


def test_a_run_that_died_goes_on_from_its_last_checkpoint(make_job: MakeJob) -> None:
    class DiedError(Exception):
        pass

    class Die(Stop):
        left = 9

        def check(self) -> None:
            self.left -= 1
            if not self.left:
                raise DiedError

    settings = {"epochs": 2, "packing": False, "micro_batch_rows": 8, "checkpoint_every_steps": 3}
    whole, parted = make_job("whole", **settings), make_job("parted", **settings)
    train(whole, Stop())
    with pytest.raises(DiedError):
        train(parted, Die())
    assert [path.name for path in (parted.out / "checkpoint").iterdir()] == ["step-00000006"]
    assert train(parted, Stop())
    assert are_equal(adapter(whole), adapter(parted))
    assert [line["step"] for line in lines(parted) if "loss" in line] == list(range(1, 9))


def test_a_full_disk_leaves_the_last_whole_checkpoint(make_job: MakeJob) -> None:
    """A limit on the size of files stands for the full disk: writing fails in the middle of a file."""
    settings = {"epochs": 2, "packing": False, "micro_batch_rows": 8, "checkpoint_every_steps": 3}

    class DiskFillsUp(Stop):
        passes = 0

        def check(self) -> None:
            self.passes += 1
            if self.passes == 6:  # after the first checkpoint
                resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    whole, job = make_job("whole", **settings), make_job("filled", **settings)
    train(whole, Stop())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(TrainingError, match="checkpoint of step 6 cannot be written"):
            train(job, DiskFillsUp())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (job.out / "checkpoint").iterdir()] == ["step-00000003"]
    assert train(job, Stop())
    assert are_equal(adapter(whole), adapter(job))


def test_a_disk_that_is_full_at_any_write_loses_no_step_that_was_saved(
    make_job: MakeJob, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file is written to its end, then synced: the n-th sync of a run fails, for every n."""
    settings = {"epochs": 3, "train": examples[:8], "checkpoint_every_steps": 1, "packing": False, "trackers": []}
    real, synced, full_at = os.fsync, 0, 0

    def fsync(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    whole = make_job("whole", **settings)
    assert train(whole, Stop())
    writes = synced
    assert writes > 30
    for full_at in range(1, writes + 1, 3):
        job, synced = make_job(f"full-{full_at}", **settings), 0
        with pytest.raises((OSError, TrainingError), match="No space left"):
            train(job, Stop())
        assert not (job.out / "manifest.json").exists() or are_equal(adapter(whole), adapter(job))
        told = [line["step"] for line in lines(job) if "loss" in line] if (job.out / "metrics.jsonl").exists() else []
        saved = newest_checkpoint(job.out / "checkpoint", job.identity)
        assert max(told, default=0) - (read_json(saved / "state.json")["step"] if saved else 0) <= 1
        synced = writes  # the disk has room again
        assert train(job, Stop())
        assert are_equal(adapter(whole), adapter(job))


def test_the_adapter_merges_into_the_base(make_job: MakeJob, tiny_model_folder: Path) -> None:
    job = make_job(epochs=1)
    train(job, Stop())
    tokens = torch.arange(1, 40)[None]
    with quiet(), torch.no_grad():
        base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model_folder)
        before = base(tokens).logits
        model = peft.PeftModel.from_pretrained(base, job.out / "adapter")
        adapted = model(tokens).logits
        merged = model.merge_and_unload()
        assert type(merged) is type(base)
        assert torch.allclose(merged(tokens).logits, adapted, atol=1e-4)
        assert (adapted - before).abs().max() > 100 * (merged(tokens).logits - adapted).abs().max()


def test_a_checkpoint_of_other_settings_is_refused_by_name(make_job: MakeJob) -> None:
    assert not train(make_job(epochs=2), StopAfter(5))
    with pytest.raises(ConfigError, match=r"training\.learning_rate"):
        train(make_job(epochs=2, learning_rate=1e-3), Stop())


def test_rows_that_are_too_long_are_counted_not_cut(make_job: MakeJob, examples: list[Example]) -> None:
    long = examples[0].model_copy(update={"id": "long", "output": "word " * 3000})
    empty = examples[0].model_copy(update={"id": "empty", "output": "  "})
    job = make_job(train=[*examples[:30], long, empty], epochs=1)
    train(job, Stop())
    rows = json.loads((job.out / "manifest.json").read_text())["rows"]
    assert rows == {"train": 30, "val": 8, "train_too_long": 1, "train_nothing_to_train": 1}


def test_a_snapshot_without_a_trainable_row_is_an_error(make_job: MakeJob, examples: list[Example]) -> None:
    job = make_job(train=[examples[0].model_copy(update={"output": "word " * 3000})])
    with pytest.raises(TrainingError, match="too_long"):
        train(job, Stop())


def test_packing_and_padding_learn_the_same(make_job: MakeJob) -> None:
    """The rows of a step are the same either way, so the whole curve must be, but for rounding."""
    plain = {"packing": False, "chunked_loss": False, "fused_lora": False}
    packed, padded = make_job("packed", epochs=2), make_job("padded", epochs=2, **plain)
    train(packed, Stop())
    train(padded, Stop())
    one, other = adapter(packed), adapter(padded)
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 1e-3
    losses = [[line["loss"] for line in lines(job) if "loss" in line] for job in (packed, padded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert json.loads((packed.out / "manifest.json").read_text())["notes"] == []


def test_a_learning_rate_without_bounds_is_told(make_job: MakeJob) -> None:
    with pytest.raises(TrainingError, match="learning_rate"):
        train(make_job(learning_rate=1e30, epochs=3, clip_norm=1e30), Stop())


@pytest.mark.parametrize(("schedule", "middle"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_the_learning_rate_rises_and_falls(schedule: str, middle: float) -> None:
    config = TrainingConfig.model_validate({"schedule": schedule, "warmup_share": 0.2, "learning_rate": 1.0})
    rates = [learning_rate(step, 10, config) for step in range(1, 11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(middle)
    assert all(rate > 0 for rate in rates)
