"""The whole job on a tiny real model and a scripted server, by the command line, in processes of its own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.snapshots import read_examples, read_snapshot
from seedbed.seeds.load import PACKAGED_CATEGORIES, load_categories

TARGET = 24


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        yield line.strip()
        server.kill()


@pytest.fixture(scope="module")
def slow_server_url() -> Iterator[str]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", "--port", "0", "--latency-s", "0.3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {
        **os.environ,
        "SEEDBED__POOL__FIRST_TARGET": str(TARGET),
        "SEEDBED__POOL__STEP": str(TARGET),
        "SEEDBED__TRAINING__EPOCHS": "1",
        "SEEDBED__TRAINING__DTYPE": "float32",
        "SEEDBED__EVALUATION__MAX_NEW_TOKENS": "4",
        "SEEDBED__EVALUATION__TRAINED_ROWS": "0",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }


def seedbed(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, server_url: str, environment: dict[str, str], tiny_model_folder: Path
) -> Path:
    folder = tmp_path_factory.mktemp("end-to-end") / "workspace"
    environment["SEEDBED__STUDENT"] = str(tiny_model_folder)
    made = seedbed("init", str(folder), "--base-url", f"{server_url}", "--model", "scripted", environment=environment)
    assert made.returncode == 0, made.stderr
    ran = seedbed("--workspace", str(folder), "run", "--rounds", "1", environment=environment)
    assert ran.returncode == 0, ran.stderr
    (folder / "screen.txt").write_text(ran.stdout)
    return folder


def query(workspace: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{workspace / 'pool.sqlite3'}?mode=ro", uri=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_pool_reached_its_target_and_the_snapshot_has_what_it_held(workspace: Path) -> None:
    ((accepted,),) = query(workspace, "select count(*) from candidates where is_accepted = 1")
    (folder,) = (workspace / "snapshots").iterdir()
    rows = [*read_examples(folder, "train"), *read_examples(folder, "val")]
    assert len(rows) == accepted >= TARGET
    assert read_snapshot(folder).train_rows + read_snapshot(folder).val_rows == accepted


def test_no_held_out_category_was_asked_for_shown_or_frozen(workspace: Path) -> None:
    held_out = {category.name for category in load_categories(PACKAGED_CATEGORIES).held_out}
    asked = {category for (category,) in query(workspace, "select distinct requested_category from requests")}
    shown = " ".join(str(ids) for (ids,) in query(workspace, "select demonstration_ids from requests"))
    (folder,) = (workspace / "snapshots").iterdir()
    assert held_out
    assert not held_out & asked
    assert not any(f'"{category}-' in shown for category in held_out)
    assert not held_out & set(read_snapshot(folder).categories)


def test_every_answer_belongs_to_a_question_that_was_stored(workspace: Path) -> None:
    assert query(workspace, "select count(*) from requests") != [(0,)]
    orphans = query(workspace, "select count(*) from completions where request_id not in (select id from requests)")
    assert orphans == [(0,)]


def test_the_adapter_is_a_plain_peft_adapter_that_learned_something(workspace: Path) -> None:
    from safetensors.numpy import load_file

    folder = workspace / "adapters" / "round-0000"
    manifest = json.loads((folder / "manifest.json").read_text())
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    assert len(manifest["base_sha256"]) == 64
    assert not list(folder.rglob("*.bin"))
    assert not list(folder.rglob("*.pt"))


def test_the_report_says_that_there_are_not_enough_rows_to_tell(workspace: Path) -> None:
    report = json.loads((workspace / "reports" / "round-0000" / "report.json").read_text())
    assert report["decision"] == "hold_not_enough_rows_to_tell"
    arms = {score["arm"] for score in report["scores"]}
    assert {"base", "adapter"} <= arms
    ((promotion,),) = query(workspace, "select json_extract(record, '$.promotion') from adapters")
    assert promotion == "held"


def test_the_last_screen_names_files_that_exist_and_shows_rows(workspace: Path) -> None:
    screen = (workspace / "screen.txt").read_text()
    assert "accepted" in screen
    assert "not enough rows to tell" in screen
    named = [word for line in screen.splitlines() for word in line.split() if word.startswith(str(workspace))]
    assert len(named) >= 5
    assert all(Path(word).exists() for word in named)


def test_running_again_asks_nothing_and_trains_nothing(workspace: Path, environment: dict[str, str]) -> None:
    before = query(workspace, "select (select count(*) from requests), (select count(*) from attempts)")
    again = seedbed("--workspace", str(workspace), "run", "--rounds", "1", environment=environment)
    assert again.returncode == 0, again.stderr
    assert query(workspace, "select (select count(*) from requests), (select count(*) from attempts)") == before


def test_why_shows_a_refused_row_beside_its_neighbour(workspace: Path, environment: dict[str, str]) -> None:
    ((identity,),) = query(workspace, "select id from candidates where is_accepted = 1 limit 1")
    shown = seedbed("--workspace", str(workspace), "why", str(identity)[:12], "--json", environment=environment)
    explained = json.loads(shown.stdout)
    assert explained["subject"]["id"] == identity
    assert explained["decisions"][0]["verdicts"][0]["filter"] == "wellformed"
    assert explained["requests"][0]["messages"][0]["content"]


def test_export_and_pool_check(workspace: Path, environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    exported = seedbed("-w", str(workspace), "export", str(out), "--format", "messages", environment=environment)
    assert exported.returncode == 0, exported.stderr
    ((accepted,),) = query(workspace, "select count(*) from candidates where is_accepted = 1")
    assert len(out.read_text().splitlines()) == accepted
    checked = seedbed("-w", str(workspace), "pool", "check", environment=environment)
    assert (checked.returncode, checked.stdout.strip()) == (0, "the pool is in order")


def test_a_killed_generation_loses_no_row_it_reported(
    tmp_path: Path, server_url: str, environment: dict[str, str]
) -> None:
    folder = tmp_path / "killed"
    seedbed("init", str(folder), "--base-url", server_url, "--model", "scripted", environment=environment)
    command = [sys.executable, "-m", "seedbed", "-w", str(folder), "generate", "--target", "100000"]
    reported = 0
    for _ in range(3):
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            reported = max(reported, wait_for_more(folder, reported, process))
            process.send_signal(signal.SIGKILL)
        ((stored,),) = query(folder, "select count(*) from candidates where is_accepted = 1")
        ((distinct,),) = query(folder, "select count(distinct id) from candidates where is_accepted = 1")
        assert stored == distinct >= reported
        reported = stored
    checked = seedbed("-w", str(folder), "pool", "check", environment=environment)
    assert checked.returncode == 0, checked.stdout


def test_ctrl_c_drains_and_the_answers_in_flight_are_kept(
    tmp_path: Path, environment: dict[str, str], slow_server_url: str
) -> None:
    folder = tmp_path / "drained"
    seedbed("init", str(folder), "--base-url", slow_server_url, "--model", "scripted", environment=environment)
    command = [sys.executable, "-m", "seedbed", "-w", str(folder), "generate", "--target", "100000", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        wait_for_more(folder, 0, child)
        child.send_signal(signal.SIGINT)
        said, errors = child.communicate()
    assert child.returncode == 130, errors
    result = json.loads(said)
    assert result["was_stopped"]
    assert result["unfinished_requests"] == 0
    ((waiting,),) = query(folder, "select count(*) from requests where id not in (select request_id from completions)")
    assert waiting == 0
    ((accepted,),) = query(folder, "select count(*) from candidates where is_accepted = 1")
    assert accepted == result["accepted"]


def test_serve_answers_while_it_works_and_goes_from_round_to_round(
    tmp_path: Path, environment: dict[str, str], slow_server_url: str
) -> None:
    folder = tmp_path / "served"
    seedbed("init", str(folder), "--base-url", slow_server_url, "--model", "scripted", environment=environment)
    command = [sys.executable, "-m", "seedbed", "-w", str(folder), "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        while not (folder / "service.json").exists():
            time.sleep(0.05)
            assert child.poll() is None
        wait_for_more(folder, 0, child)
        shown = seedbed("-w", str(folder), "status", "--json", environment=environment)
        assert json.loads(shown.stdout)["phase"] != "stopped"
        refused = seedbed("-w", str(folder), "generate", "--target", "9", environment=environment)
        assert refused.returncode == 2
        assert "serve" in refused.stderr
        child.send_signal(signal.SIGTERM)
        child.communicate()
    assert child.returncode == 0
    assert not (folder / "service.json").exists()
    stopped = seedbed("-w", str(folder), "status", "--json", environment=environment)
    assert json.loads(stopped.stdout)["phase"] == "stopped"


def wait_for_more(folder: Path, before: int, child: "subprocess.Popen[Any]") -> int:
    """Return the accepted rows once there are more than before, as any reader sees them."""
    while True:
        assert child.poll() is None, (folder / "logs" / "events.jsonl").read_text()
        time.sleep(0.05)
        try:
            ((now,),) = query(folder, "select count(*) from candidates where is_accepted = 1")
        except sqlite3.OperationalError:
            continue
        if now > before + 20:
            return int(now)
