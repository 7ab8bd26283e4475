"""A server's pool as one SQLite file, which is a whole pool by itself, and such a file as a server's pool."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, MetaData, Table, select

from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.files import sync_folder
from seedbed.pool.backup import copy_database, require_sound, synced
from seedbed.pool.leadership import KEY, Leadership
from seedbed.pool.migrate import (
    VERSION_KEY,
    latest_version,
    migrate,
    migrate_server,
    require_not_newer,
    scripts_until,
    server_version,
    version_of,
)
from seedbed.pool.rows import storable
from seedbed.pool.schema import metadata, nodes
from seedbed.pool.server import Server, lock_writing
from seedbed.pool.translate import translated

PAGE_ROWS = 2000
_OWN_KEYS = (KEY, VERSION_KEY, "writer/")
"""Keys of `meta` that belong to one database and its processes."""


def copy_out(server: Server, destination: Path) -> None:
    """Copy one state of a server's pool into the SQLite file `destination`, which is whole or not there.

    Raises:
        InputError: The destination exists.
        MissingFileError: The server has no pool.
    """
    if destination.exists():
        raise InputError(f"{destination} exists: name another file, or remove it")
    engine = server.reading_engine()
    part = destination.with_name(destination.name + ".part")
    try:
        with translated(server.where), engine.connect() as connection:
            version = server_version(connection)
            if not version:
                raise MissingFileError(f"there is no pool at {server.where}")
            destination.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            migrate(part, destination.parent, "", scripts_until(version))
            with closing(sqlite3.connect(part, isolation_level=None)) as writer:
                writer.execute("PRAGMA journal_mode = DELETE")
                writer.execute("BEGIN")
                _copy_tables(connection, writer)
                writer.execute("COMMIT")
        synced(part)
        part.replace(destination)
        sync_folder(destination.parent)
    finally:
        engine.dispose()
        part.unlink(missing_ok=True)


def copy_in(source: Path, server: Server, backups: Path, now: datetime) -> Path | None:
    """Make the SQLite file `source` the pool on a server, all of it or nothing, after checking it.

    Returns:
        Where a copy of the pool that was there lies; None where there was none.

    Raises:
        WorkspaceHeldError: A service leads the pool.
        PoolError: `source` is damaged or no pool.
    """
    if not source.exists():
        raise MissingFileError(f"there is no backup {source}")
    require_sound(source)
    require_not_newer(source, version_of(source), latest_version())
    engine = server.plain_engine(is_patient=True)
    with translated(server.where), engine.begin() as connection:
        is_new = not server_version(connection)
    former = None if is_new else backups / f"pool-before-restore-{now:%Y%m%dT%H%M%S}.sqlite3"
    if former is not None:
        copy_out(server, former)
    with TemporaryDirectory() as folder, translated(server.where):
        upgraded = Path(folder) / "pool.sqlite3"
        copy_database(source, upgraded)
        migrate(upgraded, Path(folder), "older")
        with engine.begin() as connection:
            lock_writing(connection)
            migrate_server(connection, server.where, lambda _: None)
        leadership = Leadership(server, "restoring a backup")
        try:
            leadership.require(engine, "stop every service on it first")
            with closing(sqlite3.connect(upgraded)) as reader, engine.begin() as connection:
                lock_writing(connection)
                leadership.check(connection)
                _fill(connection, reader)
        finally:
            leadership.close()
    engine.dispose()
    return former


def _copy_tables(connection: Connection, writer: sqlite3.Connection) -> None:
    there = MetaData()
    there.reflect(connection)
    for table in there.sorted_tables:
        columns = [row[1] for row in writer.execute(f"PRAGMA table_info({table.name})")]
        if not columns or table.name == nodes.name:
            continue  # who works on one server means nothing elsewhere
        marks = ", ".join("?" for _ in columns)
        statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
        query = select(*(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
        for page in connection.execution_options(yield_per=PAGE_ROWS).execute(query).partitions():
            writer.executemany(statement, [tuple(row) for row in page if not _is_own(table.name, row[0])])


def _fill(connection: Connection, reader: sqlite3.Connection) -> None:
    own = [row for row in connection.execute(select(metadata.tables["meta"])) if _is_own("meta", row.key)]
    tables = metadata.sorted_tables
    connection.exec_driver_sql(f"TRUNCATE {', '.join(table.name for table in tables)}")
    connection.execute(metadata.tables["meta"].insert(), [row._asdict() for row in own])
    cursor = connection.connection.cursor()
    for table in tables:
        names = ", ".join(column.name for column in table.columns)
        with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in _rows(reader, table, names):
                copy.write_row(row)
        if "number" in table.c and len(table.primary_key.columns) == 1:
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'number'), "  # noqa: S608 - our own names
                f"coalesce(max(number), 0) + 1, false) FROM {table.name}"
            )
    connection.exec_driver_sql("ANALYZE")


def _rows(reader: sqlite3.Connection, table: Table, names: str) -> Iterator[tuple[Any, ...]]:
    for row in reader.execute(f"SELECT {names} FROM {table.name}"):  # noqa: S608 - our own names
        if not _is_own(table.name, row[0]):
            yield tuple(storable(value) if isinstance(value, str) else value for value in row)


def _is_own(table: str, key: object) -> bool:
    return table == "meta" and str(key).startswith(_OWN_KEYS)
