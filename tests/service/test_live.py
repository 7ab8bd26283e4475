"""What a gauge reads of a training from the files that its process writes."""

import json
from pathlib import Path

import pytest

from seedbed.service.live import training_gauge


@pytest.mark.parametrize(
    ("told", "notes"),
    [
        ({"tokens_per_s": 98.4, "mfu": 0.37}, ("loss 1.207", "98 tokens/s", "MFU 37%")),
        ({"tokens_per_s": 98.4}, ("loss 1.207", "98 tokens/s", "MFU 0%")),
        ({}, ("loss 1.207",)),
    ],
    ids=["ours", "an older run", "Hugging Face's Trainer"],
)
def test_a_training_is_shown_whatever_wrote_its_metrics(
    tmp_path: Path, told: dict[str, float], notes: tuple[str, ...]
) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"state": "running", "step": 6, "steps": 21}))
    lines = [{"step": 0, "val_loss": 2.0}, {"step": 6, "loss": 1.2071, **told}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = training_gauge(tmp_path)()
    assert figures is not None
    assert figures.notes == notes


def test_a_training_that_has_told_nothing_is_not_shown(tmp_path: Path) -> None:
    assert training_gauge(tmp_path)() is None
