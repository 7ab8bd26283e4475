"""A workspace that any earlier version wrote opens in this one, with a backup first and nothing changed."""

import json
import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolVersionError
from seedbed.pool.backup import restore
from seedbed.pool.check import check
from seedbed.pool.database import FILE_NAME
from seedbed.pool.migrate import latest_version, migrate, scripts_until, version_of
from seedbed.pool.pool import Pool
from seedbed.service.cli import Here, app
from seedbed.service.commands import add_commands
from seedbed.service.workspace import open_workspace
from tests.faults.fixtures.write_workspace import held

FIXTURES = Path(__file__).parent / "fixtures"
ARCHIVES = {int(path.name.removesuffix(".tar.gz").rsplit("-", 1)[1]): path for path in FIXTURES.glob("*.tar.gz")}


@pytest.fixture(autouse=True)
def _restored_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Here, "workspace", Here.workspace)


def unpacked(version: int, folder: Path) -> dict[str, Any]:
    """Unpack the workspace of a schema version; returns what its pool held, as its own time read it."""
    with tarfile.open(ARCHIVES[version]) as archive:
        archive.extractall(folder, filter="data")
    found: dict[str, Any] = json.loads((folder / "held.json").read_text(encoding="utf-8"))
    assert found["schema"] == version_of(folder / FILE_NAME) == version
    return found


def contains(now: Any, then: Any, where: str = "") -> None:
    """Require that all that was there is there, unchanged; records may have got new fields."""
    if isinstance(then, Mapping):
        for key, value in then.items():
            contains(now[key], value, f"{where}.{key}")
    elif isinstance(then, list) and then and isinstance(then[0], Mapping):
        assert len(now) == len(then), where
        for number, value in enumerate(then):
            contains(now[number], value, f"{where}[{number}]")
    else:
        assert now == then, where


def test_every_older_schema_has_its_workspace() -> None:
    assert set(ARCHIVES) >= set(range(1, latest_version())), "tests/faults/fixtures/README.md says how to add one"


@pytest.mark.parametrize("version", sorted(ARCHIVES))
def test_a_workspace_of_an_earlier_version_holds_the_same_after_its_upgrade(tmp_path: Path, version: int) -> None:
    then = unpacked(version, tmp_path)
    assert len(then["candidates"]) == 14
    assert len(then["accepted"]) == then["accepted_count"] == 9  # ten by the cascade, of which a person took one out
    opened = open_workspace(tmp_path)
    with Pool.open(tmp_path, opened.config.pool) as pool:
        contains(held(pool), {key: value for key, value in then.items() if key != "schema"})
        assert check(pool, opened.snapshots) == []
        counts, spent = pool.counts(), pool.spent()
    assert version_of(tmp_path / FILE_NAME) == latest_version()
    # By hand, from `write_workspace.py`: rows 1, 5, 9 and 13 carry a check, all found right; five answers of 120 to 124
    # and 40 to 44 tokens, of which numbers 0, 3 and 4 are the recipe alpaca's.
    assert (counts.checked, counts.checked_wrong) == ({"check.arithmetic": 4}, {})
    assert (spent.requests, spent.prompt_tokens, spent.completion_tokens) == (5, 610, 210)
    assert sum(use.prompt_tokens for what, use in spent.purposes.items() if what.recipe == "alpaca") == 367
    copies = list((tmp_path / "backups").glob("*")) if version < latest_version() else []
    assert [version_of(copy) for copy in copies] == [version] * (version < latest_version())


@pytest.mark.parametrize("version", [one for one in sorted(ARCHIVES) if one < latest_version()])
def test_the_backup_of_an_upgrade_is_the_pool_of_before_and_can_be_put_back(tmp_path: Path, version: int) -> None:
    then = unpacked(version, tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as before:
        rows = list(before.iterdump())
    Pool.open(tmp_path, PoolConfig()).close()
    (copy,) = (tmp_path / "backups").iterdir()
    with closing(sqlite3.connect(copy)) as found:
        assert list(found.iterdump()) == rows
    restore(copy, tmp_path)
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert [candidate.id for candidate in pool.accepted()] == then["accepted"]


@pytest.mark.parametrize("version", [one for one in sorted(ARCHIVES) if one < latest_version()])
def test_looking_at_an_older_workspace_names_the_command_that_upgrades_it(tmp_path: Path, version: int) -> None:
    unpacked(version, tmp_path)
    with pytest.raises(PoolVersionError, match=r"seedbed pool check"):
        Pool.open(tmp_path, PoolConfig(), read_only=True)
    add_commands(app)
    done = CliRunner().invoke(app, ["-w", str(tmp_path), "pool", "check", "--json"], catch_exceptions=False)
    assert json.loads(done.stdout) == {"problems": [], "upgraded_from": version}
    again = CliRunner().invoke(app, ["-w", str(tmp_path), "pool", "check"], catch_exceptions=False)
    assert again.stdout == "the pool is in order\n"
    assert len(list((tmp_path / "backups").iterdir())) == 1


def test_an_upgrade_goes_on_after_a_death_between_two_versions(tmp_path: Path) -> None:
    """Each version is a transaction of its own, so a death leaves a whole pool of one of them."""
    then = unpacked(1, tmp_path)
    for reached in range(2, latest_version()):
        migrate(tmp_path / FILE_NAME, tmp_path / "backups", "of-a-process-that-died", scripts_until(reached))
        assert version_of(tmp_path / FILE_NAME) == reached
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert [candidate.id for candidate in pool.accepted()] == then["accepted"]
        assert check(pool) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_workspace_of_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path, read_only: bool) -> None:
    unpacked(max(ARCHIVES), tmp_path)
    later = latest_version() + 1
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {later}")
        connection.commit()
    before = (tmp_path / FILE_NAME).read_bytes()
    refusal = f"has schema version {later}, this Seedbed knows {latest_version()}: upgrade Seedbed, or restore"
    with pytest.raises(PoolVersionError, match=refusal):
        Pool.open(tmp_path, PoolConfig(), read_only=read_only)
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert not (tmp_path / "backups").exists()
