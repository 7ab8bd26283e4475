"""Generation and doctor against the embedded server with the real 0.5B weights."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ENVIRONMENT = {**os.environ, "SEEDBED__GENERATION__MAX_TOKENS": "512", "OMP_WAIT_POLICY": "passive"}


def seedbed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "workspace"
    assert seedbed("init", str(folder), "--preset", "first-run").returncode == 0
    return folder


def test_doctor_finds_by_trying_what_the_embedded_server_can_do(workspace: Path) -> None:
    ran = seedbed("--workspace", str(workspace), "doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["endpoints"]["local"]
    assert found["answers"]
    assert found["chat"]
    assert found["json_schema"]
    assert found["usage"]


def test_the_real_model_writes_rows_that_are_accepted_and_all_is_kept(workspace: Path) -> None:
    ran = seedbed("--workspace", str(workspace), "generate", "--target", "5", "--json")
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["accepted"] >= 5
    with sqlite3.connect(f"file:{workspace / 'pool.sqlite3'}?mode=ro", uri=True) as connection:
        ((asked, answered),) = connection.execute(
            "select (select count(*) from requests), (select count(*) from completions where text != '')"
        ).fetchall()
        ((tokens,),) = connection.execute("select sum(completion_tokens) from completions").fetchall()
    assert asked >= answered > 0
    assert tokens == result["completion_tokens"]


def test_no_server_is_left_running(workspace: Path) -> None:
    listed = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if "seedbed.endpoints.llamacpp" in line and str(workspace) in line]
