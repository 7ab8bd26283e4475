"""SQLAlchemy's, SQLite's and the file system's errors, as ours."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

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


@contextmanager
def translated(where: Path) -> Iterator[None]:
    """Raise what the database or the disk at `where` raises as `PoolError`, or `PoolFullError` where it is full."""
    try:
        yield
    except SeedbedError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise as_pool_error(error, where) from error


def as_pool_error(error: Exception, where: Path) -> PoolError:
    """Return our error for one of the database's or the file system's."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
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
    if isinstance(error, DBAPIError):
        code = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF
        return isinstance(error, IntegrityError) or code not in {*_ADVICE, sqlite3.SQLITE_FULL}
    return not isinstance(error, (SQLAlchemyError, sqlite3.Error, OSError)) or isinstance(error, PoolError)
