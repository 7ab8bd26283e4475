"""Opening a pool on a server: its schema made or upgraded, its engines, and this process's part in the election."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from seedbed.core.config import PoolConfig
from seedbed.core.errors import MissingFileError, PoolVersionError
from seedbed.pool.leadership import Claim, Leadership
from seedbed.pool.migrate import latest_version, migrate_server, require_not_newer, server_version
from seedbed.pool.server import Server, lock_writing
from seedbed.pool.transfer import copy_out
from seedbed.pool.translate import translated
from seedbed.pool.writer import Writer


@dataclass(frozen=True, slots=True)
class Joined:
    """What a writing process holds of a pool on a server."""

    where: str
    writer: Writer
    readers: Engine
    leadership: Leadership


def join(config: PoolConfig, backups: Path, stamp: str, holder: str, *, stands_by: bool) -> Joined:
    """Open the pool on a server for writing.

    Args:
        config: Names the server.
        backups: The folder that the copy of an older pool goes to.
        stamp: Names the copy.
        holder: What others are told of this process.
        stands_by: Wait to lead, where another does; otherwise that is an error.

    Raises:
        WorkspaceHeldError: Another process leads the pool.
        PoolVersionError: The pool is newer than this program.
        PoolError: The server cannot be used.
    """
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


def readable(config: PoolConfig) -> tuple[str, Engine]:
    """Return the name and the readers of a server's pool.

    Raises:
        MissingFileError: The database has no pool.
        PoolVersionError: The pool is newer than this program, or older.
    """
    server = Server.of(config)
    engine = server.reading_engine()
    try:
        with translated(server.where), engine.connect() as connection:
            version = server_version(connection)
        _require_version(server.where, version)
    except BaseException:
        engine.dispose()
        raise
    return server.where, engine


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
