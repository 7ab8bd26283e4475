"""Copies of the pool's database, made while a service writes it, and putting one back."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from seedbed.core.errors import InputError, MissingFileError, PoolError, WorkspaceHeldError
from seedbed.core.files import locked, sync_folder
from seedbed.pool.database import FILE_NAME, LOCK_NAME
from seedbed.pool.translate import translated


def backup(folder: Path, destination: Path) -> None:
    """Copy the pool of the workspace `folder` into the file `destination`; others may write the pool meanwhile."""
    if not (folder / FILE_NAME).exists():
        raise MissingFileError(f"there is no pool in {folder}: {FILE_NAME} is missing")
    if destination.exists():
        raise InputError(f"{destination} exists: name another file, or remove it")
    copy_database(folder / FILE_NAME, destination)


def restore(source: Path, folder: Path) -> Path | None:
    """Make the backup `source` the pool of the workspace `folder`, after checking it.

    Returns:
        Where the pool that was there lies now; None where there was none.

    Raises:
        WorkspaceHeldError: A process has the workspace open.
        PoolError: `source` is damaged or no pool.
    """
    if not source.exists():
        raise MissingFileError(f"there is no backup {source}")
    require_sound(source)
    try:
        with locked(folder / LOCK_NAME, f"pid {os.getpid()}, restoring a backup"), translated(folder / FILE_NAME):
            return _exchange(source, folder / FILE_NAME)
    except BlockingIOError as error:
        raise WorkspaceHeldError(f"{folder} is in use ({error.args[0]}): stop that first") from error


def copy_database(source: Path, destination: Path) -> None:
    """Copy a database through SQLite's backup interface; the destination is whole or not there."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(destination.name + ".part")
    with translated(destination):
        part.unlink(missing_ok=True)
        try:
            _copy(source, part)
            synced(part)
        except BaseException:
            part.unlink(missing_ok=True)  # a disk that it filled is not left full
            raise
        part.replace(destination)
        sync_folder(destination.parent)


def _copy(source: Path, part: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as reader,
        closing(sqlite3.connect(part)) as writer,
    ):
        reader.backup(writer)
        # A copy is one file: WAL mode would leave two more beside it.
        writer.execute("PRAGMA journal_mode = DELETE").close()


def synced(path: Path) -> None:
    """Wait until a file is on disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def require_sound(source: Path) -> None:
    """Refuse a file that is damaged, or no pool.

    Raises:
        PoolError: It is.
    """
    with translated(source), closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as connection:
        answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if answer != "ok":
        raise PoolError(f"{source} is damaged: {answer}")
    if not {"meta", "candidates", "decisions"} <= tables:
        raise PoolError(f"{source} is no backup of a pool: it lacks the tables of one")


def _exchange(source: Path, path: Path) -> Path | None:
    new = path.with_name(path.name + ".new")
    shutil.copyfile(source, new)
    synced(new)
    former = path.with_name(path.name + ".before-restore") if path.exists() else None
    for suffix in ("-wal", "-shm", ""):
        # A hard link first, so that the former pool is whole under its new name before anything goes.
        _keep_as(path.with_name(path.name + suffix), path.with_name(path.name + ".before-restore" + suffix))
    for suffix in ("-wal", "-shm"):
        # A WAL of the former pool would be replayed into the new one.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    new.replace(path)
    sync_folder(path.parent)
    return former


def _keep_as(path: Path, name: Path) -> None:
    name.unlink(missing_ok=True)
    if path.exists():
        name.hardlink_to(path)
