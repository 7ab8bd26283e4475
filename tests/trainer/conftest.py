"""A small frozen snapshot of seed tasks, and jobs on the tiny model."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.config import TrainingConfig
from seedbed.core.records import Example, Snapshot
from seedbed.core.text import triple_id
from seedbed.trainer.job import Job
from seedbed.weights.resolve import resolve

SEEDS = Path(__file__).parents[2] / "seeds" / "seed_tasks.jsonl"
MakeJob = Callable[..., Job]


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Return 40 short seed tasks as rows of a snapshot."""
    found = []
    for line in SEEDS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        triple = (row["instruction"], row.get("input", ""), row["output"])
        if sum(map(len, triple)) < 400:
            identity = triple_id(*triple)
            found.append(
                Example(
                    id=identity,
                    task_id=identity,
                    category=row["category"],
                    instruction=triple[0],
                    input=triple[1],
                    output=triple[2],
                )
            )
    assert len(found) >= 40
    return found[:40]


@pytest.fixture(scope="session")
def snapshot_folder(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    parts = {"train.jsonl": examples[:32], "val.jsonl": examples[32:]}
    for name, rows in parts.items():
        (folder / name).write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    manifest = Snapshot(
        id="5" * 32,
        round=0,
        train_rows=32,
        val_rows=8,
        categories={},
        held_out_categories=(),
        config_fingerprint="",
        files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in parts},
        created_at=0.0,
        seedbed_version="0",
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder


@pytest.fixture
def make_job(tmp_path: Path, tiny_model_folder: Path, examples: list[Example]) -> MakeJob:
    """Return a maker of jobs on the tiny model, in float32 on one thread."""

    def make(out: str = "out", train: list[Example] | None = None, **settings: Any) -> Job:
        chosen = {"dtype": "float32", "device": "cpu", "threads": 1, "batch_rows": 8, "learning_rate": 5e-3, **settings}
        return Job(
            snapshot_id="5" * 32,
            train=examples[:32] if train is None else train,
            validation=examples[32:],
            weights=resolve(str(tiny_model_folder), cache=tmp_path / "cache"),
            out=tmp_path / out,
            config=TrainingConfig(**chosen),
            cache=tmp_path / "cache",
        )

    return make
