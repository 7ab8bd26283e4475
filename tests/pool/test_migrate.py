"""Schemas of other versions are met with a backup or a clear refusal."""

import contextlib
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import MetaData, UniqueConstraint, inspect
from sqlalchemy.exc import DBAPIError

from seedbed.core.config import PoolConfig
from seedbed.core.errors import MissingFileError, PoolError, PoolVersionError
from seedbed.pool.check import check
from seedbed.pool.database import FILE_NAME, reading_engine
from seedbed.pool.migrate import latest_version, migrate, migrate_server, server_version, version_of
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, SpentFor, Use
from seedbed.pool.schema import metadata
from seedbed.pool.server import Server, is_server
from seedbed.pool.transfer import copy_out
from tests.postgres import PostgresServer, database_of

Decide = Callable[..., Decided]
FLOATS, COLLATION = re.compile("REAL|DOUBLE PRECISION"), re.compile(r' COLLATE "C"$')


def test_the_migrations_make_the_tables_that_the_code_knows(tmp_path: Path, pool_url: str) -> None:
    config = PoolConfig(url=pool_url)
    Pool.open(tmp_path, config).close()
    engine = Server.of(config).reading_engine() if is_server(config) else reading_engine(tmp_path / FILE_NAME)
    made = MetaData()
    made.reflect(engine)
    assert set(made.tables) == set(metadata.tables)
    for name, table in metadata.tables.items():
        there = made.tables[name]
        assert [column.name for column in there.columns] == [column.name for column in table.columns], name
        for column in table.columns:
            found = there.columns[column.name]
            kind = FLOATS.sub("FLOAT", COLLATION.sub("", str(found.type)))
            assert kind == column.type.compile(engine.dialect), f"{name}.{column.name}"
            assert found.primary_key == column.primary_key
            assert {key.target_fullname for key in found.foreign_keys} == {
                key.target_fullname for key in column.foreign_keys
            }
            if not column.primary_key:
                assert found.nullable == column.nullable, f"{name}.{column.name}"
        unique = {tuple(one["column_names"]) for one in inspect(engine).get_unique_constraints(name)}
        assert unique == {
            tuple(column.name for column in constraint.columns)
            for constraint in table.constraints
            if isinstance(constraint, UniqueConstraint)
        }
    engine.dispose()


def test_both_databases_have_one_newest_version() -> None:
    folder = files("seedbed.pool") / "migrations"
    names = [{file.name for file in place.iterdir()} for place in (folder, folder / "postgresql")]
    assert [max(name for name in found if name.endswith(".sql")) for found in names] == [
        f"{latest_version():03d}.sql"
    ] * 2


@pytest.mark.real
def test_a_newer_pool_on_a_server_is_refused(tmp_path: Path, postgres_server: PostgresServer) -> None:
    config = PoolConfig(url=postgres_server.new_database())
    with pytest.raises(MissingFileError, match="there is no pool at"):
        Pool.open(tmp_path, config, read_only=True)
    Pool.open(tmp_path, config).close()
    postgres_server.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'", database_of(config.url))
    for read_only in (False, True):
        with pytest.raises(PoolVersionError, match="schema version 99"):
            Pool.open(tmp_path, config, read_only=read_only)


@pytest.mark.real
def test_an_older_pool_on_a_server_is_copied_and_then_upgraded(
    tmp_path: Path, postgres_server: PostgresServer, decide: Decide
) -> None:
    config = PoolConfig(url=postgres_server.new_database())
    with Pool.open(tmp_path, config) as pool:
        pool.commit([decide("one")])
    server, copy = Server.of(config), tmp_path / "copy.sqlite3"
    for script, fails in (("SELECT 1/0", True), ("", False)):
        later = _later("ALTER TABLE shares ADD COLUMN note TEXT; " + script)
        with server.plain_engine().connect() as connection, contextlib.suppress(DBAPIError), connection.begin():
            migrate_server(connection, server.where, lambda _: copy_out(server, copy), later)
        with server.plain_engine().connect() as connection:
            assert server_version(connection) == latest_version() + (not fails)
            has_note = "note" in [column["name"] for column in inspect(connection).get_columns("shares")]
            assert has_note is not fails
        assert version_of(copy) == latest_version()
        copy.unlink()


def test_a_newer_pool_is_refused(tmp_path: Path) -> None:
    Pool.open(tmp_path, PoolConfig()).close()
    _set_version(tmp_path / FILE_NAME, 99)
    for read_only in (False, True):
        with pytest.raises(PoolVersionError, match="schema version 99"):
            Pool.open(tmp_path, PoolConfig(), read_only=read_only)


def test_a_refused_pool_is_not_left_locked(tmp_path: Path) -> None:
    Pool.open(tmp_path, PoolConfig()).close()
    _set_version(tmp_path / FILE_NAME, 99)
    with pytest.raises(PoolVersionError):
        Pool.open(tmp_path, PoolConfig())
    _set_version(tmp_path / FILE_NAME, latest_version())
    Pool.open(tmp_path, PoolConfig()).close()


def test_an_older_pool_to_be_read_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    with pytest.raises(PoolVersionError, match="schema version 0"):
        Pool.open(tmp_path, PoolConfig(), read_only=True)


def test_a_pool_opens_again_without_a_copy(tmp_path: Path, decide: Decide) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        pool.commit([decide("one")])
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert pool.accepted_count() == 1
    assert version_of(tmp_path / FILE_NAME) == latest_version()
    assert not (tmp_path / "backups").exists()


def test_an_older_pool_is_copied_and_then_upgraded(tmp_path: Path, decide: Decide) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        pool.commit([decide("one")])
    migrate(tmp_path / FILE_NAME, tmp_path / "backups", "now", _later("ALTER TABLE shares ADD COLUMN note TEXT;"))
    assert version_of(tmp_path / FILE_NAME) == latest_version() + 1
    copy = tmp_path / "backups" / f"pool-version{latest_version()}-now.sqlite3"
    assert version_of(copy) == latest_version()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM candidates").fetchone() == (1,)


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    Pool.open(tmp_path, PoolConfig()).close()
    scripts = _later("ALTER TABLE shares ADD COLUMN note TEXT;\nALTER TABLE nowhere ADD COLUMN note TEXT;")
    with pytest.raises(PoolError, match="nowhere"):
        migrate(tmp_path / FILE_NAME, tmp_path / "backups", "now", scripts)
    assert version_of(tmp_path / FILE_NAME) == latest_version()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(shares)")]
    Pool.open(tmp_path, PoolConfig()).close()


def _later(script: str) -> dict[int, str]:
    return {latest_version(): "", latest_version() + 1: script}


def _set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


def test_version_2_counts_what_the_tokens_of_a_version_1_pool_were_spent_on(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    scripts = files("seedbed.pool") / "migrations"
    migrate(path, tmp_path, "now", {1: (scripts / "001.sql").read_text()})
    asked = "INSERT INTO requests VALUES (?, ?, ?, ?, '', '[]', '[]', '{}', 'answered', 1)"
    answer = "INSERT INTO completions VALUES (?, ?, '', 'stop', ?, ?, 1, 'm', 'e', 1, 1)"
    rows = [("alpaca", "coding", 10, 1), ("alpaca", "coding", 20, 2), ("self_instruct.propose", "", 5, 4)]
    with closing(sqlite3.connect(path)) as connection:
        for number, (purpose, category, prompt, completion) in enumerate(rows, 1):
            connection.execute(asked, (number, f"r{number}", purpose, category))
            connection.execute(answer, (number, f"r{number}", prompt, completion))
        connection.commit()
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert pool.spent().purposes == {
            SpentFor("e", "alpaca", "coding"): Use(2, 30, 3),
            SpentFor("e", "self_instruct", ""): Use(1, 5, 4),
        }


def test_checks_of_an_older_pool_are_counted_when_it_is_upgraded(tmp_path: Path, decide: Decide) -> None:
    given = {"check.format": 0.0, "judge.output": 1.0}
    with Pool.open(tmp_path, PoolConfig()) as pool:
        one = decide("one")
        pool.commit([Decided(one.subject.model_copy(update={"grades": given}), one.decision)])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("DELETE FROM counters WHERE kind LIKE 'checked%'")
        for later in ("TABLE submissions", "TABLE nodes"):
            connection.execute(f"DROP {later}")
        connection.execute("ALTER TABLE requests DROP COLUMN node")
    _set_version(tmp_path / FILE_NAME, 2)
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert pool.counts().checked == pool.counts().checked_wrong == {"check.format": 1}
        assert check(pool) == []
