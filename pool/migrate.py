"""Bringing a pool's schema up to this program's, one numbered SQL file at a time, with a backup first."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from seedbed.core.errors import PoolVersionError
from seedbed.pool.backup import copy_database
from seedbed.pool.translate import translated


def latest_version() -> int:
    """Return the schema version that this program writes."""
    return max(_packaged())


def version_of(path: Path) -> int:
    """Return the schema version of a pool's file; 0 for one without tables, or for none at all."""
    if not path.exists():
        return 0
    with translated(path), closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(path: Path, backups: Path, stamp: str, scripts: Mapping[int, str] | None = None) -> None:
    """Make or upgrade the schema in `path`, a transaction a version; an older pool is first copied into `backups`.

    Args:
        path: The pool's file; made where it is not there.
        backups: The folder that the copy of an older pool goes to.
        stamp: Names the copy, such as `20261123T190000`.
        scripts: Version to the SQL that leads to it; None: those of this program.

    Raises:
        PoolVersionError: The pool is newer than this program.
    """
    version = version_of(path)
    scripts = scripts or _packaged()
    require_not_newer(path, version, max(scripts))
    if version == max(scripts):
        return
    if version:
        copy_database(path, backups / f"pool-version{version}-{stamp}.sqlite3")
    with translated(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        for number, script in sorted(scripts.items()):
            if number > version:
                _apply(connection, number, script)


def require_not_newer(path: Path, version: int, latest: int) -> None:
    """Refuse a pool that a newer Seedbed wrote."""
    if version > latest:
        raise PoolVersionError(
            f"{path} has schema version {version}, this Seedbed knows {latest}: "
            "upgrade Seedbed, or restore an older backup"
        )


def _packaged() -> dict[int, str]:
    folder = files("seedbed.pool") / "migrations"
    return {int(file.name[:3]): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(script):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements; `executescript` would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
