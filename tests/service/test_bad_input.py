"""Bad input gets one line and exit code 2 before work begins, never a traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.pool.pool import Pool

GENERATE = ("generate", "--target", "5")


def seedbed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seedbed", *arguments]
    settings = {**os.environ, **environment}
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


@contextmanager
def a_server(*options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def a_workspace(folder: Path, base_url: str = "http://127.0.0.1:9/v1", *options: str) -> Path:
    made = seedbed("init", str(folder), "--base-url", base_url, "--model", "scripted", *options)
    assert made.returncode == 0, made.stderr
    return folder


def refused_with(ran: subprocess.CompletedProcess[str], *said: str) -> None:
    """Check that a command was refused in one line that says all of `said`."""
    assert ran.returncode == 2, (ran.returncode, ran.stderr)
    lines = [line for line in ran.stderr.splitlines() if line.startswith("seedbed: ")]
    assert len(lines) == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    for text in said:
        assert text in lines[0]


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w")
    path = folder / "seedbed.toml"
    path.write_text(path.read_text().replace("[pool]", "[pool]\nfirst_targt = 5"))
    refused_with(seedbed("-w", str(folder), *GENERATE), "pool.first_targt", "did you mean first_target?")


def test_a_missing_seed_file_is_named(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w")
    (folder / "seeds" / "seed_tasks.jsonl").unlink()
    refused_with(seedbed("-w", str(folder), *GENERATE), "seeds/seed_tasks.jsonl")


def test_a_seed_without_an_instruction_is_named_by_file_and_line(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w")
    path = folder / "seeds" / "seed_tasks.jsonl"
    lines = path.read_text().splitlines()
    lines[6] = '{"id": "x-1", "category": "coding", "output": "y"}'
    path.write_text("\n".join(lines))
    refused_with(seedbed("-w", str(folder), *GENERATE), "seed_tasks.jsonl line 7", "instruction")


def test_a_server_that_does_not_answer_is_named_with_its_address(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w")
    refused_with(seedbed("-w", str(folder), *GENERATE), 'endpoint "local"', "127.0.0.1:9")


def test_a_model_that_is_not_served_is_told_with_those_that_are(tmp_path: Path) -> None:
    with a_server("--model", "another") as base_url:
        folder = a_workspace(tmp_path / "w", base_url)
        refused_with(seedbed("-w", str(folder), *GENERATE), "scripted", "another")


def test_a_wrong_key_is_told_without_the_key(tmp_path: Path) -> None:
    with a_server("--key", "right") as base_url:
        folder = a_workspace(tmp_path / "w", base_url, "--api-key-env", "TEST_KEY")
        ran = seedbed("-w", str(folder), *GENERATE, TEST_KEY="sk-canary-wrong")
        refused_with(ran, "401", "key")
        written = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
        assert "sk-canary-wrong" not in ran.stderr + ran.stdout + written
        again = seedbed("-w", str(folder), *GENERATE, TEST_KEY="right")
        assert again.returncode == 0, again.stderr


def test_a_key_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w", "http://127.0.0.1:9/v1", "--api-key-env", "SEEDBED_TEST_UNSET_KEY")
    refused_with(seedbed("-w", str(folder), *GENERATE), "SEEDBED_TEST_UNSET_KEY")


@pytest.mark.parametrize("target", ["0", "-3"])
def test_a_target_below_one_is_refused(tmp_path: Path, target: str) -> None:
    folder = a_workspace(tmp_path / "w")
    refused_with(seedbed("-w", str(folder), "generate", "--target", target), "at least 1", target)


def test_a_held_workspace_names_its_holder(tmp_path: Path) -> None:
    folder = a_workspace(tmp_path / "w")
    with Pool.open(folder, PoolConfig(), command="the other one"):
        refused_with(seedbed("-w", str(folder), *GENERATE), "the other one", str(os.getpid()))


def test_no_workspace_and_no_such_command_are_told(tmp_path: Path) -> None:
    refused_with(seedbed("-w", str(tmp_path), "status"), "seedbed.toml")
    refused_with(seedbed("frobnicate"), "frobnicate")


def test_a_disk_that_fills_on_the_way_is_exit_1_and_the_run_goes_on_later(tmp_path: Path) -> None:
    with a_server() as base_url:
        folder = a_workspace(tmp_path / "w", base_url)
        limited = f"ulimit -f 12000; exec {sys.executable} -m seedbed -w {folder} generate --target 100000 --json"
        ran = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
        assert ran.returncode == 1, ran.stderr
        assert "Traceback" not in ran.stderr
        with Pool.open(folder, PoolConfig(), read_only=True) as pool:
            kept = pool.accepted_count()
        assert kept > 0
        again = seedbed("-w", str(folder), "generate", "--target", str(kept + 5))
        assert again.returncode == 0, again.stderr
        assert seedbed("-w", str(folder), "pool", "check").returncode == 0
