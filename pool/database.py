"""Connections to the SQLite file: one that writes and owns the checkpoints, and read-only ones."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

FILE_NAME = "pool.sqlite3"
LOCK_NAME = "seedbed.lock"

# No mmap: SQLite 3.7.0 to 3.51.2 can corrupt a WAL that several processes map and write.
# FULL: a commit is on disk when it returns, also after power loss; group commit makes it cheap.
_BOTH = ("PRAGMA foreign_keys = ON", "PRAGMA mmap_size = 0")
# A long reader makes the WAL grow; the size limit gives that space back at the next checkpoint. A checkpoint each
# 64 MB and not each 4: keys are hashes, so the same index pages are written again and again.
_WRITING = (
    *_BOTH,
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -65536",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 16384",
)
_READING = (*_BOTH, "PRAGMA query_only = ON")


def writing_engine(path: Path, busy_timeout_s: float = 10.0) -> Engine:
    """Return the engine of the one connection that writes, each transaction with the write lock from its start."""

    def connect() -> sqlite3.Connection:
        return _connected(f"file:{quote(str(path))}", busy_timeout_s, _WRITING)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(path: Path, busy_timeout_s: float = 10.0) -> Engine:
    """Return an engine of read-only connections; each transaction sees one state of the pool."""

    def connect() -> sqlite3.Connection:
        return _connected(f"file:{quote(str(path))}?mode=ro", busy_timeout_s, _READING)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=8, max_overflow=56)
    event.listen(engine, "begin", _begin)
    return engine


def _connected(uri: str, busy_timeout_s: float, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    # isolation_level None: the driver starts no transactions of its own; SQLAlchemy's begin event does.
    connection = sqlite3.connect(
        uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        for pragma in pragmas:
            connection.execute(pragma).close()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
