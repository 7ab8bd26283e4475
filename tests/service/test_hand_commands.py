"""A person's decisions from the command line: through the service that holds the workspace, else on the workspace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seedbed.core.config import PoolConfig
from seedbed.core.errors import (
    ConfigError,
    InputError,
    MissingFileError,
    SeedbedError,
    ServiceError,
    WorkspaceHeldError,
)
from seedbed.core.records import Decider
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Intent, IntentState
from seedbed.service.cli import Here, app, first_of
from seedbed.service.commands import add_commands
from seedbed.service.context import writing
from seedbed.service.evaluations import asked_for
from seedbed.service.init import create_workspace
from seedbed.service.remote import ACCESS_FILE
from seedbed.service.workspace import open_workspace
from tests.service.running_service import ROWS, TOKEN, Running, row, running_service, store

add_commands(app)
FIRST, SECOND = list(ROWS)[:2]
LAST = list(ROWS)[-1]


@pytest.fixture(autouse=True)
def at_home() -> Iterator[None]:
    yield
    Here.workspace, Here.url = Path(), ""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with running_service(tmp_path / "w") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace that nobody holds, with two accepted rows and a refused one."""
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="none")
    with writing(open_workspace(tmp_path / "w")) as context:
        store(context, row(FIRST, "seed-1"), row(SECOND, row(FIRST).id, model="other"))
        store(context, row(LAST), accepted=False)
    return tmp_path / "w"


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def told(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json").splitlines()[-1])
    return found


def refusal(*arguments: str | Path) -> str:
    """Run a command that is refused before work begins; return what it says."""
    try:
        run(*arguments)
    except SeedbedError as error:
        found: BaseException = error
    except BaseExceptionGroup as group:
        found = first_of(group)
    assert isinstance(found, SeedbedError)
    assert found.exit_code == 2
    return str(found)


def accepted(folder: Path) -> set[str]:
    with Pool.open(folder, PoolConfig(), read_only=True) as pool:
        assert check(pool) == []
        return {one.instruction for one in pool.accepted()}


def test_rows_are_decided_on_a_workspace_that_nobody_holds(folder: Path) -> None:
    found = told("-w", folder, "rows", "accept", row(LAST).id[:10], "--note", "it is fine")
    assert [(one["accepted"], one["by"], one["note"]) for one in found["decisions"]] == [(True, "person", "it is fine")]
    output = run("-w", folder, "rows", "refuse", row(FIRST).id, row(SECOND).id)
    assert output.splitlines()[-2:] == [f"{row(FIRST).id} is refused", f"{row(SECOND).id} is refused"]
    assert accepted(folder) == {LAST}


def test_a_quarantine_is_counted_before_it_is_done(folder: Path) -> None:
    dry = told("-w", folder, "rows", "quarantine", "seed", "seed-1", "--dry-run")
    assert (dry["rows"], set(dry["ids"]), dry["was_dry"]) == (2, {row(FIRST).id, row(SECOND).id}, True)
    assert accepted(folder) == {FIRST, SECOND}
    assert "1 accepted rows refused" in run("-w", folder, "rows", "quarantine", "model", "other")
    assert accepted(folder) == {FIRST}
    with pytest.raises(ConfigError, match='ancestor "recipe": Input should be'):
        run("-w", folder, "rows", "quarantine", "recipe", "alpaca")


def test_a_row_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no row or proposal has an id that starts with "zzz"'):
        run("-w", folder, "rows", "accept", "zzz")
    create_workspace(tmp_path / "new", base_url="http://127.0.0.1:9/v1", model="none")
    with pytest.raises(MissingFileError):
        run("-w", tmp_path / "new", "rows", "refuse", "zzz")


def test_rows_are_decided_by_the_service_and_its_indexes_follow(service: Running) -> None:
    folder, decider = service.context.workspace.folder, service.live.decider
    assert decider is not None
    run("-w", folder, "rows", "refuse", row(FIRST).id[:12], "--note", "dull")
    last = service.context.pool.decisions(row(FIRST).id)[-1]
    assert (last.accepted, last.by, last.note) == (False, Decider.PERSON, "dull")
    assert told("-w", folder, "rows", "accept", row(LAST).id)["decisions"][0]["accepted"]
    assert told("-w", folder, "rows", "quarantine", "model", "small", "--note", "bad")["rows"] == 4
    assert list(service.context.pool.accepted()) == []


def test_a_service_elsewhere_is_told_by_whole_ids(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_TOKEN", TOKEN)
    run("--url", service.url, "rows", "refuse", row(FIRST).id)
    assert not service.context.pool.decisions(row(FIRST).id)[-1].accepted
    with pytest.raises(ServiceError, match="there is no row") as refused:
        run("--url", service.url, "rows", "refuse", row(FIRST).id[:8])
    assert refused.value.status == 409


def test_what_is_wanted_is_told_to_the_service(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, control = service.context.workspace.folder, service.desk.control
    assert "wanted: paused; the service is told" in run("-w", folder, "control", "pause")
    assert control.intent.state is IntentState.PAUSED
    assert told("-w", folder, "control", "target", "50")["target"] == 50
    assert told("-w", folder, "control", "concurrency", "3")["concurrency"] == 3
    told("-w", folder, "control", "budget", "--max-tokens", "1000")
    told("-w", folder, "control", "budget", "--max-cost", "2.5")
    wanted = Intent(state=IntentState.PAUSED, target=50, concurrency=3, max_tokens=1000, max_cost=2.5)
    assert control.intent == wanted
    assert Intent.model_validate(told("-w", folder, "control", "show")) == wanted
    told("-w", folder, "control", "drain")
    assert control.intent == wanted.model_copy(update={"state": IntentState.DRAINING})
    monkeypatch.setenv("SEEDBED_TOKEN", TOKEN)
    assert told("--url", service.url, "control", "start")["state"] == "running"
    assert told("--url", service.url, "control", "target", "none")["target"] is None
    assert not service.stop.is_wanted
    run("-w", folder, "control", "stop")
    assert service.stop.is_wanted


def test_what_is_wanted_is_stored_where_no_service_runs(folder: Path) -> None:
    assert "wanted: paused; no service runs here" in run("-w", folder, "control", "pause")
    run("-w", folder, "control", "target", "7")
    run("-w", folder, "control", "budget", "--max-tokens", "0")
    assert run("-w", folder, "control", "show").splitlines()[-1] == (
        "wanted: paused, stop at 7 accepted rows, budget without limit in tokens"
    )
    run("-w", folder, "control", "budget", "--max-tokens", "none")
    with Pool.open(folder, PoolConfig(), read_only=True) as pool:
        assert pool.intent() == Intent(state=IntentState.PAUSED, target=7)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("target", "0"), 'target "0": Input should be greater than or equal to 1'),
        (("target", "many"), 'a number or "none" is wanted, got "many"'),
        (("concurrency", "--", "-1"), 'concurrency "-1"'),
        (("budget",), "name --max-tokens, --max-cost or both"),
        (("budget", "--max-cost", "nan"), "max_cost"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_held(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refusal("-w", folder, "control", *arguments)


def test_there_is_no_service_to_stop(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no service answers in .*there is none to stop"):
        run("-w", folder, "control", "stop")


def test_who_holds_the_workspace_without_a_service_is_named(folder: Path) -> None:
    with writing(open_workspace(folder)), pytest.raises(WorkspaceHeldError, match="stop that one, or wait"):
        run("-w", folder, "control", "pause")


def test_a_run_does_not_wait_for_what_nobody_can_tell_it(folder: Path) -> None:
    run("-w", folder, "control", "pause")
    assert refusal("-w", folder, "run") == "this workspace is paused; `seedbed control start` lets it run"
    run("-w", folder, "control", "start")
    run("-w", folder, "control", "target", "7")
    assert "to stop at 7 accepted rows, and round 0 needs 1000" in refusal("-w", folder, "run")


def test_stages_go_through_the_service_that_holds_the_workspace(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = service.context.workspace.folder
    frozen = told("-w", folder, "snapshot")
    assert Path(frozen["folder"]) == folder / "snapshots" / frozen["id"]
    assert (Path(frozen["folder"]) / "train.jsonl").is_file()
    assert "the service evaluates round-0001 when what runs has drained" in run("-w", folder, "evaluate")
    assert told("-w", folder, "evaluate", "round-0000")["state"] == "waiting"
    assert asked_for(service.context.pool) == ["round-0001", "round-0000"]
    assert "2 would be removed" in run("-w", folder, "pool", "prune", "--dry-run")
    assert told("-w", folder, "pool", "prune")["kinds"]["refused_rows"]["items"] == 2
    monkeypatch.setenv("SEEDBED_TOKEN", TOKEN)
    assert told("--url", service.url, "snapshot")["folder"] == f"snapshots/{frozen['id']}"
    assert told("--url", service.url, "pool", "prune", "--dry-run")["bytes"] == 0
    for name, *arguments in (("pool check",), ("pool backup", "x"), ("why", "x")):
        with pytest.raises(ConfigError, match=f"; {name} needs the workspace"):
            run("--url", service.url, *name.split(), *arguments)


def test_a_file_of_a_killed_service_does_not_keep_commands_from_the_workspace(folder: Path) -> None:
    (folder / ACCESS_FILE).write_text('{"url": "http://127.0.0.1:9", "token": "x"}')
    run("-w", folder, "control", "pause")
    with Pool.open(folder, PoolConfig(), read_only=True) as pool:
        assert pool.intent().state is IntentState.PAUSED
