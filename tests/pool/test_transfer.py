"""A pool moves between a server and a file, whole, and the copy is a pool by itself."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import ConfigError, InputError, MissingFileError, PoolError, WorkspaceHeldError
from seedbed.core.records import Completion, Request
from seedbed.pool.backup import backup
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.pool.server import Server
from seedbed.pool.transfer import copy_in, copy_out
from tests.postgres import PostgresServer

pytestmark = pytest.mark.real
Decide = Callable[..., Decided]
NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def config(postgres_server: PostgresServer) -> PoolConfig:
    return PoolConfig(url=postgres_server.new_database(), first_target=3, step=2)


def test_a_copy_of_a_live_pool_is_a_sound_pool_in_a_file(tmp_path: Path, config: PoolConfig, decide: Decide) -> None:
    stop = threading.Event()
    with Pool.open(tmp_path, config) as pool:
        pool.commit([decide("before")])

        def write() -> None:
            number = 0
            while not stop.is_set():
                pool.commit([decide(str(number))])
                number += 1

        thread = threading.Thread(target=write)
        thread.start()
        copy_out(Server.of(config), tmp_path / "copy" / "pool.sqlite3")
        stop.set()
        thread.join()
        identity = pool.pool_id()
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["pool.sqlite3"]
    with Pool.open(tmp_path / "copy", PoolConfig()) as copied:
        assert check(copied) == []
        assert copied.knows(decide("before").subject.id)
        assert copied.pool_id() == identity


def test_a_pool_in_a_file_moves_to_a_server_and_goes_on(
    tmp_path: Path,
    config: PoolConfig,
    decide: Decide,
    ask: Callable[[str], Request],
    answer: Callable[..., Completion],
) -> None:
    with Pool.open(tmp_path / "file", config.model_copy(update={"url": "sqlite"})) as pool:
        pool.add_requests([ask("a"), ask("b")])
        pool.add_completions([answer("a")])
        pool.commit([decide(str(number), accepted=number != 2) for number in range(5)])
        backup(tmp_path / "file", tmp_path / "copy.sqlite3")
        accepted, runs, identity = list(pool.accepted()), pool.runs(), pool.pool_id()
    assert copy_in(tmp_path / "copy.sqlite3", Server.of(config), tmp_path / "backups", NOW) is None
    with Pool.open(tmp_path / "service", config) as pool:
        assert (list(pool.accepted()), pool.runs(), pool.pool_id()) == (accepted, runs, identity)
        assert pool.unanswered() == 1
        pool.commit([decide("another")])  # its number follows the copied ones
        assert [candidate.instruction for candidate in pool.accepted()] == ["0", "1", "3", "4", "another"]
        assert check(pool) == []


def test_what_was_there_before_a_restore_is_kept(tmp_path: Path, config: PoolConfig, decide: Decide) -> None:
    with Pool.open(tmp_path, config) as pool:
        pool.commit([decide("one")])
        copy_out(Server.of(config), tmp_path / "copy.sqlite3")
        pool.commit([decide("two")])
        with pytest.raises(WorkspaceHeldError, match="stop every service on it first"):
            copy_in(tmp_path / "copy.sqlite3", Server.of(config), tmp_path / "backups", NOW)
    former = copy_in(tmp_path / "copy.sqlite3", Server.of(config), tmp_path / "kept", NOW)
    with Pool.open(tmp_path, config) as pool:
        assert pool.accepted_count() == 1
        assert check(pool) == []
    assert former == tmp_path / "kept" / "pool-before-restore-20261127T000000.sqlite3"
    (tmp_path / "kept" / former.name).rename(tmp_path / "kept" / "pool.sqlite3")
    with Pool.open(tmp_path / "kept", PoolConfig()) as pool:
        assert pool.accepted_count() == 2


def test_what_is_no_backup_or_would_be_overwritten_is_named(tmp_path: Path, config: PoolConfig) -> None:
    server = Server.of(config)
    with pytest.raises(MissingFileError, match="no pool at"):
        copy_out(server, tmp_path / "copy.sqlite3")
    with pytest.raises(MissingFileError, match="no backup"):
        copy_in(tmp_path / "nothing", server, tmp_path, NOW)
    (tmp_path / "text").write_text("no database, but long enough to be looked at")
    with pytest.raises(PoolError, match="no SQLite database"):
        copy_in(tmp_path / "text", server, tmp_path, NOW)
    with pytest.raises(InputError, match="exists"):
        copy_out(server, tmp_path / "text")


def test_a_server_that_cannot_be_used_is_named_without_the_password(
    tmp_path: Path, config: PoolConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOL_PASSWORD", "hunter2-is-secret")
    away = config.model_copy(update={"url": "postgresql+psycopg://me@127.0.0.1:1/x", "password_env": "POOL_PASSWORD"})
    with pytest.raises(PoolError, match=r"postgresql\+psycopg://me@127.0.0.1:1/x: .*is it running") as told:
        Pool.open(tmp_path, away, read_only=True)
    assert "hunter2" not in str(told.value)
    missing = config.model_copy(update={"url": config.url.replace("/pool", "/nothing-", 1)})
    with pytest.raises(PoolError, match=r"nothing-.* does not exist"):
        Pool.open(tmp_path, missing, read_only=True)
    monkeypatch.delenv("POOL_PASSWORD")
    with pytest.raises(ConfigError, match="POOL_PASSWORD, which is not set"):
        Server.of(away)
