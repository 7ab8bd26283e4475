"""Two processes train what one trains, whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from seedbed.prompts.training_text import Form
from seedbed.trainer.data import Row
from seedbed.trainer.job import Job, Stop
from seedbed.trainer.loop import train
from seedbed.trainer.processes import Processes

SETTINGS = {"epochs": 2, "evaluate_every_steps": 3, "max_steps": 7}
MACHINE = {"dtype": "float32", "device": "cpu", "threads": 1, "batch_rows": 8, "learning_rate": 5e-3}


def torchrun(folder: Path, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    command: list[str | Path] = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "seedbed.trainer", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def told(out: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_two_processes_give_the_curve_of_one_and_go_on_after_sigterm(
    make_job: Callable[..., Job], snapshot_folder: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    alone = make_job("alone", **SETTINGS)
    assert train(alone, Stop())
    out = tmp_path / "together"
    config = tmp_path / "training.json"
    config.write_text(json.dumps({**SETTINGS, **MACHINE}))
    arguments: list[str | Path] = [
        snapshot_folder,
        out,
        "--student",
        tiny_model_folder,
        "--config",
        config,
        "--cache",
        tmp_path / "cache",
    ]
    process = torchrun(tmp_path, *arguments)
    while process.poll() is None and '"step": 2,' not in (
        (out / "metrics.jsonl").read_text() if (out / "metrics.jsonl").exists() else ""
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.wait()
    log = (tmp_path / "log").read_text
    state = json.loads((out / "state.json").read_text())
    assert state["state"] in {"interrupted", "done"}, log()
    assert state["step"] >= 2

    assert torchrun(tmp_path, *arguments).wait() == 0, log()
    for name in ("loss", "val_loss", "learning_rate", "tokens", "grad_norm"):
        assert told(out, name) == pytest.approx(told(alone.out, name), rel=1e-4), name
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["machine"]["processes"], manifest["steps"]) == (2, 7)
    one, other = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (alone.out, out))
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-3


@given(st.lists(st.integers(2, 900), max_size=40), st.integers(1, 8))
def test_every_row_goes_to_one_process(lengths: list[int], count: int) -> None:
    rows = [Row(str(number), Form.ALPACA, (1,) * size, 1) for number, size in enumerate(lengths)]
    shares = [Processes(rank, count).share(rows) for rank in range(count)]
    assert sorted(row.id for share in shares for row in share) == sorted(row.id for row in rows)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    loads = [sum(map(len, share)) for share in shares]
    assert max(loads) - min(loads) <= max(lengths, default=0)


def test_alone_nothing_changes() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    alone = Processes()
    alone.sum_gradients([parameter])
    assert parameter.grad is None
    assert alone.total(1.5, 2.0) == [1.5, 2.0]
    alone.check_together(Stop(is_asked=True))  # one process stops between its passes instead
