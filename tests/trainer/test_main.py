"""The trainer's command line: bad input is one line and exit code 2, a signal is a checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedbed.trainer.__main__ import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def refused(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that says why work was refused."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def settings(folder: Path, **values: object) -> Path:
    path = folder / "training.json"
    path.write_text(json.dumps(values))
    return path


def test_a_folder_that_is_no_snapshot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused([tmp_path, tmp_path / "out", "--student", "qwen2.5-coder-0.5b"], capsys)
    assert "manifest.json" in said


def test_an_unknown_student_is_refused(
    snapshot_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([snapshot_folder, tmp_path / "out", "--student", "qwen2.5-coder-0.5"], capsys)
    assert 'did you mean "qwen2.5-coder-0.5b"' in said


def test_a_licence_that_was_not_accepted_is_refused(
    snapshot_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(
        [snapshot_folder, tmp_path / "out", "--student", "gemma-3-270m", "--cache", tmp_path / "cache"], capsys
    )
    assert 'accept_licence = ["gemma"]' in said


@pytest.mark.parametrize(("key", "value"), [("learning_rate", -1), ("ranks", 8), ("template", "vicuna")])
def test_a_wrong_setting_is_refused_by_name(
    snapshot_folder: Path, tmp_path: Path, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(tmp_path, **{key: value})
    said = refused([snapshot_folder, tmp_path / "out", "--student", "x", "--config", config], capsys)
    assert f"{config}: {key}:" in said
    assert str(value) in said


def test_a_changed_snapshot_is_an_error(
    snapshot_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.jsonl", "val.jsonl", "manifest.json"):
        (tmp_path / name).write_bytes((snapshot_folder / name).read_bytes())
    with (tmp_path / "train.jsonl").open("a") as stream:
        stream.write("\n")
    assert main([str(tmp_path), str(tmp_path / "out"), "--student", "x"]) == 1
    assert "was changed after the snapshot was frozen" in capsys.readouterr().err


def wait_for(path: Path, text: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"the trainer ended with {process.returncode} before {path} held {text!r}")


def test_sigterm_saves_the_last_whole_step(
    snapshot_folder: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    config = settings(tmp_path, epochs=400, dtype="float32", threads=1, device="cpu", batch_rows=8, max_steps=1500)
    command: list[str | Path] = [sys.executable, "-m", "seedbed.trainer", snapshot_folder, out]
    command += ["--student", tiny_model_folder, "--config", config, "--cache", tmp_path / "cache"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=stream, stderr=stream)
        wait_for(out / "metrics.jsonl", '"step": 2,', process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0, log.read_text()
    state = json.loads((out / "state.json").read_text())
    assert state["state"] == "interrupted"
    assert 2 <= state["step"] < 1500
    assert "Traceback" not in log.read_text()

    checkpoint = json.loads(next((out / "checkpoint").glob("*/state.json")).read_text())
    assert checkpoint["step"] == state["step"]
    refusal = refused([*command[3:5], "--student", tiny_model_folder, "--cache", tmp_path / "cache"], capsys)
    assert "training.batch_rows" in refusal


def test_a_finished_run_is_not_run_again(
    snapshot_folder: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(tmp_path, epochs=1, dtype="float32", threads=1, device="cpu")
    command: list[str | Path] = [
        snapshot_folder,
        tmp_path / "out",
        "--student",
        tiny_model_folder,
        "--cache",
        tmp_path / "cache",
    ]
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert main([str(part) for part in [*command, "--config", config]]) == 0
        written = (tmp_path / "out/adapter/adapter_model.safetensors").stat().st_mtime_ns
        assert main([str(part) for part in [*command, "--config", config]]) == 0
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert (tmp_path / "out/adapter/adapter_model.safetensors").stat().st_mtime_ns == written
    assert "already holds" in capsys.readouterr().err
    other = settings(tmp_path, epochs=1, dtype="float32", threads=1, device="cpu", rank=8)
    assert "training.rank" in refused([*command, "--config", other], capsys)
    (tmp_path / "prompts" / "training").mkdir(parents=True)
    (tmp_path / "prompts" / "training" / "bare.j2").write_text("> {{ instruction }}{{ input }}")
    assert "prompts" in refused([*command, "--config", config, "--prompts", tmp_path / "prompts"], capsys)
