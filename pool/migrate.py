"""Bringing a pool's schema up to this program's, one numbered SQL file at a time, with a backup first.

SQLite's files are `migrations/NNN.sql`, a server's `migrations/postgresql/NNN.sql`; the newest of both has one number.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, inspect, select

from seedbed.core.errors import MissingFileError, PoolError, PoolVersionError
from seedbed.pool import schema
from seedbed.pool.backup import copy_database
from seedbed.pool.server import OLDEST
from seedbed.pool.transaction import Transaction
from seedbed.pool.translate import translated

VERSION_KEY = "schema_version"
_ABOUT_SERVER = "SELECT current_setting('server_version_num')::int, pg_encoding_to_char(encoding) FROM pg_database "
_ABOUT_SERVER += "WHERE datname = current_database()"


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


def require_not_newer(path: Path | str, version: int, latest: int) -> None:
    """Refuse a pool that a newer Seedbed wrote."""
    if version > latest:
        raise PoolVersionError(
            f"{path} has schema version {version}, this Seedbed knows {latest}: "
            "upgrade Seedbed, or restore an older backup"
        )


def require_readable(path: Path) -> None:
    """Refuse a file that is not there, or of another version.

    Raises:
        MissingFileError, PoolVersionError: It is.
    """
    if not path.exists():
        raise MissingFileError(f"there is no pool in {path.parent}: {path.name} is missing")
    version = version_of(path)
    require_not_newer(path, version, latest_version())
    if version < latest_version():
        raise PoolVersionError(
            f"{path} has schema version {version}, this Seedbed reads {latest_version()}: "
            "open the workspace once for writing (seedbed pool check) and it is upgraded, with a backup"
        )


def server_version(connection: Connection) -> int:
    """Return the schema version of a server's pool; 0 where the database has none.

    Raises:
        PoolError: The server is too old, or the database's encoding cannot hold every text.
    """
    number, encoding = connection.exec_driver_sql(_ABOUT_SERVER).one()
    if number < OLDEST:
        raise PoolError(f"the server is PostgreSQL {number // 10_000}, the pool needs {OLDEST // 10_000} or newer")
    if encoding != "UTF8":
        raise PoolError(f"the database's encoding is {encoding}, the pool needs one made with ENCODING 'UTF8'")
    if not inspect(connection).has_table("meta"):
        return 0
    query = select(schema.meta.c.value).where(schema.meta.c.key == VERSION_KEY)
    return int(connection.execute(query).scalar_one_or_none() or 0)


def migrate_server(
    connection: Connection, where: str, copy: Callable[[int], None], scripts: Mapping[int, str] | None = None
) -> None:
    """Make or upgrade a server's schema, in the transaction of `connection`.

    Args:
        connection: In a transaction that no other writer shares.
        where: The server, for messages.
        copy: Copies the pool, which has the version it is told, before anything changes.
        scripts: Version to the SQL that leads to it; None: those of this program.

    Raises:
        PoolVersionError: The pool is newer than this program.
    """
    version, scripts = server_version(connection), scripts or _packaged("postgresql")
    require_not_newer(where, version, max(scripts))
    if version == max(scripts):
        return
    if version:
        copy(version)
    bare = connection.execution_options(no_parameters=True)
    for number, script in sorted(scripts.items()):
        if number > version:
            bare.exec_driver_sql(script)
    Transaction(connection).set_meta(VERSION_KEY, str(max(scripts)))


def scripts_until(version: int) -> dict[int, str]:
    """Return the scripts that lead to an older SQLite schema."""
    return {number: script for number, script in _packaged().items() if number <= version}


def _packaged(*dialect: str) -> dict[int, str]:
    folder = files("seedbed.pool").joinpath("migrations", *dialect)
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
