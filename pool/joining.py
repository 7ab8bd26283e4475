"""Opening a pool: its schema made or upgraded, its engines, and on a server this process's part in the election."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from seedbed.core.config import PoolConfig
from seedbed.core.errors import MissingFileError, PoolVersionError
from seedbed.core.files import sync_folder
from seedbed.pool.database import FILE_NAME, reading_engine, writing_engine
from seedbed.pool.leadership import Claim, Leadership
from seedbed.pool.migrate import (
    latest_version,
    migrate,
    migrate_server,
    require_not_newer,
    require_readable,
    server_version,
)
from seedbed.pool.server import Server, is_server, lock_writing
from seedbed.pool.transfer import copy_out
from seedbed.pool.translate import translated
from seedbed.pool.writer import Writer


@dataclass(frozen=True, slots=True)
class Joined:
    """What a writing process holds of a pool."""

    where: Path | str
    writer: Writer
    readers: Engine
    leadership: Leadership | None = None
    """None where one process writes, by the lock of its workspace."""


def join(folder: Path, config: PoolConfig, at: float, holder: str, *, stands_by: bool) -> Joined:
    """Open a pool for writing.

    Args:
        folder: Of the workspace; the copy of an older pool goes to `backups` in it.
        config: Says where the pool is.
        at: The time, in seconds since 1970.
        holder: What others are told of this process.
        stands_by: On a server: wait to lead, where another does; otherwise that is an error.

    Raises:
        WorkspaceHeldError: Another process leads the pool.
        PoolVersionError: The pool is newer than this program.
        PoolError: The database cannot be used.
    """
    backups, stamp = folder / "backups", datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S")
    if is_server(config):
        return _join_server(config, backups, stamp, holder, stands_by=stands_by)
    path = folder / FILE_NAME
    migrate(path, backups, stamp)
    sync_folder(folder)
    return Joined(path, Writer(writing_engine(path), path), reading_engine(path))


@dataclass(frozen=True, slots=True)
class Readable:
    """What a process that only reads holds of a pool."""

    where: Path | str
    readers: Engine


def readable(folder: Path, config: PoolConfig) -> Readable:
    """Open a pool for reading.

    Raises:
        MissingFileError: There is no pool.
        PoolVersionError: The pool is newer than this program, or older.
    """
    if not is_server(config):
        require_readable(folder / FILE_NAME)
        return Readable(folder / FILE_NAME, reading_engine(folder / FILE_NAME))
    server = Server.of(config)
    engine = server.reading_engine()
    try:
        with translated(server.where), engine.connect() as connection:
            version = server_version(connection)
        _require_version(server.where, version)
    except BaseException:
        engine.dispose()
        raise
    return Readable(server.where, engine)


def _join_server(config: PoolConfig, backups: Path, stamp: str, holder: str, *, stands_by: bool) -> Joined:
    server = Server.of(config)
    with translated(server.where):
        _upgrade(server, lambda version: copy_out(server, backups / f"pool-version{version}-{stamp}.sqlite3"))
    leadership = Leadership(server, f"{holder} on {socket.gethostname()}, pid {os.getpid()}")
    readers = server.reading_engine()
    try:
        if not stands_by:
            leadership.require(readers, "stop that one, or wait for its end")
        return Joined(
            server.where, Writer(server.writing_engine(), server.where, Claim(leadership)), readers, leadership
        )
    except BaseException:
        leadership.close()
        readers.dispose()
        raise


def _require_version(where: str, version: int) -> None:
    if not version:
        raise MissingFileError(f"there is no pool at {where}: nothing has run with it yet")
    require_not_newer(where, version, latest_version())
    if version < latest_version():
        raise PoolVersionError(
            f"{where} has schema version {version}, this Seedbed reads {latest_version()}: "
            "start a service of this version once and it is upgraded, with a backup"
        )


def _upgrade(server: Server, copy: Callable[[int], None]) -> None:
    engine = server.plain_engine(is_patient=True)
    try:
        with engine.begin() as connection:
            if server_version(connection) != latest_version():
                lock_writing(connection)
                migrate_server(connection, server.where, copy)
    finally:
        engine.dispose()
