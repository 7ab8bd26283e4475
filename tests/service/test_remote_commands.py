"""The command line beside a running service: what changes the workspace goes through it, here or elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seedbed.core.errors import ConfigError, ServiceError
from seedbed.core.records import Decider
from seedbed.service.cli import Here, app
from seedbed.service.commands import add_commands
from seedbed.service.remote import ACCESS_FILE, service_of
from tests.service.running_service import ROWS, TOKEN, Running, row, running_service

add_commands(app)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with running_service(tmp_path / "w") as running:
        yield running
    Here.workspace, Here.url = Path(), ""


def told(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_commands_go_through_the_service_that_holds_the_workspace(service: Running, tmp_path: Path) -> None:
    folder, pool = str(service.context.workspace.folder), service.context.pool
    exam, rows = tmp_path / "My Exam.jsonl", tmp_path / "rows.jsonl"
    assert told("-w", folder, "promote", "round-0001")["adapter"] == "round-0001"
    assert told("-w", folder, "rollback", "--note", "too soon")["adapter"] == ""
    assert pool.adapters()[1].reason == "too soon"
    assert told("-w", folder, "train")["round"] == 1
    rows.write_text('{"instruction": "Why is the sky blue", "output": "Air scatters blue light most."}\n{\n')
    imported = told("-w", folder, "import", str(rows), "--by-hand", "--note", "ours")
    assert (imported["accepted"], [one["line"] for one in imported["malformed"]]) == (1, [2])
    exam.write_text(json.dumps({"question": next(iter(ROWS))}) + "\n")
    added = told("-w", folder, "references", "add", str(exam))
    assert (added["references"][0]["name"], added["quarantined"]) == ("my-exam", 1)
    assert pool.decisions(row(next(iter(ROWS))).id)[-1].by is Decider.RESCAN
    assert told("-w", folder, "references", "rescan")["quarantined"] == 0
    assert told("-w", folder, "status")["phase"] == "generating"


def test_what_a_rescan_by_the_service_found_is_shown_as_one_done_here(service: Running, tmp_path: Path) -> None:
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps({"question": next(iter(ROWS))}) + "\n")
    folder = str(service.context.workspace.folder)
    result = CliRunner().invoke(app, ["-w", folder, "references", "add", str(exam)], catch_exceptions=False)
    assert "4 accepted rows scanned, 1 quarantined" in result.output
    assert "equal_item" in result.output
    assert "exam/1" in result.output


def test_a_service_elsewhere_is_asked_with_the_token_of_the_environment(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="SEEDBED_TOKEN"):
        told("--url", service.url, "status")
    monkeypatch.setenv("SEEDBED_TOKEN", TOKEN)
    assert told("--url", service.url, "status")["accepted"] == 4
    assert told("--url", service.url, "promote", "round-0000")["adapter"] == "round-0000"
    monkeypatch.setenv("SEEDBED_TOKEN", "wrong")
    with pytest.raises(ServiceError, match="token") as refused:
        told("--url", service.url, "rollback")
    assert refused.value.status == 401
    with pytest.raises(ConfigError, match="refilter needs the workspace"):
        told("--url", service.url, "refilter")


def test_a_file_that_a_killed_service_left_is_passed_over(tmp_path: Path) -> None:
    assert service_of(tmp_path) is None
    (tmp_path / ACCESS_FILE).write_text('{"url": "http://127.0.0.1:9", "token": "x"}')
    assert service_of(tmp_path) is None
