"""SQLAlchemy's, SQLite's and the file system's errors, as ours."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from seedbed.core.errors import PoolError, PoolFullError, PoolUnavailableError, SeedbedError

_FULL = "the disk under the pool is full ({where}); nothing acknowledged is lost: free some space and go on"
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}
"""What a person, or the end of another process, puts right without touching the file."""
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process keeps the database locked; end it and try again",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written; check owner and mode",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that its folder exists and may be written",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore a backup (seedbed pool restore)",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; restore a backup (seedbed pool restore)",
    sqlite3.SQLITE_IOERR: "reading or writing failed; check the disk (dmesg) and its free space",
}
# SQLSTATE codes and their classes (PostgreSQL's manual, appendix A); a server that cannot be reached gives none.
_SERVER_FULL = "53100"
_SERVER_ADVICE = {
    "28": "the server refuses the user: check pool.url, pool.password_env and the server's pg_hba.conf",
    "3D": "create the database, owned by the user of pool.url (docs/postgres.md)",
    "42501": "the user of pool.url must own the database, or have CREATE on its schema (docs/postgres.md)",
    "53300": "the server has no connection left; raise its max_connections",
    "25006": "the server is a standby or read-only; name the primary in pool.url",
    "XX": "the server says its data are damaged; restore a backup (seedbed pool restore)",
}
_AWAY = "the server does not answer; is it running, and is pool.url right?"
_OF_ONE_WRITE = {"22", "23", "42"}
# Administrator's and crash shutdown, starting up, and a session that stood still for too long.
_AWAY_STATES = {"57P01", "57P02", "57P03", "57P05", "25P03"}


@contextmanager
def translated(where: Path | str) -> Iterator[None]:
    """Raise what the database or the disk at `where` raises as `PoolError`, or `PoolFullError` where it is full."""
    try:
        yield
    except SeedbedError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise as_pool_error(error, where) from error


def as_pool_error(error: Exception, where: Path | str) -> PoolError:
    """Return our error for one of the database's or the file system's."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(error, DBAPIError) and hasattr(original, "sqlstate"):
        return _as_server_error(error, original, where)
    # Extended codes carry the primary one in the low byte (sqlite.org/rescode.html).
    code = (getattr(original, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (
        isinstance(original, OSError) and original.errno in {errno.ENOSPC, errno.EDQUOT}
    ):
        return PoolFullError(_FULL.format(where=where))
    advice = f": {_ADVICE[code]}" if code in _ADVICE else ""
    is_passing = code in _PASSING or (isinstance(original, OSError) and original.errno in {errno.EIO, errno.EROFS})
    return (PoolUnavailableError if is_passing else PoolError)(f"{where}: {original}{advice}")


def is_fault_of_one_write(error: Exception) -> bool:
    """Tell an error that a write's own content caused from one that the database or the disk did."""
    if isinstance(error, DBAPIError) and hasattr(error.orig, "sqlstate"):
        return (_state_of(error) or "")[:2] in _OF_ONE_WRITE
    if isinstance(error, DBAPIError):
        code = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF
        return isinstance(error, IntegrityError) or code not in {*_ADVICE, sqlite3.SQLITE_FULL}
    return not isinstance(error, (SQLAlchemyError, sqlite3.Error, OSError)) or isinstance(error, PoolError)


def is_away(error: BaseException | None) -> bool:
    """Say whether a server cannot be reached, or ended the session: what was not committed may be tried again."""
    if not isinstance(error, DBAPIError) or not hasattr(error.orig, "sqlstate"):
        return False
    state = _state_of(error)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state[:2] == "08" or state in _AWAY_STATES


def _state_of(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _as_server_error(error: DBAPIError, original: Any, where: Path | str) -> PoolError:
    state, said = original.sqlstate or "", " ".join(str(original).split())
    if state == _SERVER_FULL:
        return PoolFullError(_FULL.format(where=where))
    advice = next((text for code, text in _SERVER_ADVICE.items() if state.startswith(code)), "")
    if is_away(error):
        return PoolUnavailableError(f"{where}: {said}: {advice or _AWAY}")
    return PoolError(f"{where}: {said}{f': {advice}' if advice else ''}")
