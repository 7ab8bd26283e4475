"""Files that are either whole or not there: atomic writes, locks, hashes, JSON lines."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from seedbed.core.errors import InputError, MissingFileError, SeedbedError

PATIENCE_S, LOOK_AGAIN_S = 90.0, 0.2
"""How long another writer is waited for, which is longer than one whose service was killed may take to end."""
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


def is_of_the_disk(error: BaseException) -> bool:
    """Tell an error that a person's look after the disk mends: it is full, broken or read-only."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def write_atomic(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace `path` with `content`, durably: a crash leaves the old file or the new one, never a part."""
    with replacing(path, mode) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Yield a binary stream whose content replaces `path` when the block ends without an exception."""
    with replacing_path(path, mode) as scratch, scratch.open("wb") as stream:
        yield stream


@contextmanager
def replacing_path(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield the path of an empty file, for a library to write, that replaces `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    scratch = Path(name)
    try:
        yield scratch
        with scratch.open("rb+") as stream:
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends without an exception, and is removed otherwise.

    Raises:
        InputError: `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists; name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield scratch
        scratch.chmod(0o755)
        sync_folder(scratch)
        scratch.rename(path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write `value` atomically as indented JSON, keys in the order given."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", mode)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a JSON-lines file that could be read as an object."""

    number: int
    """From 1."""
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line that could not."""

    number: int
    text: str
    problem: str


def read_json_lines(path: Path) -> Iterator[Line | BadLine]:
    """Yield every non-blank line of a JSON-lines file, readable or not.

    Raises:
        MissingFileError: There is no such file.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}") from error
    with stream:
        for number, raw in enumerate(stream, 1):
            if raw.strip():
                yield parse_line(number, raw)


def parse_line(number: int, raw: bytes) -> Line | BadLine:
    """Read one JSON-lines line."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return BadLine(number, raw.decode("utf-8", "replace").rstrip("\n"), f"not JSON: {error}")
    if not isinstance(value, dict):
        return BadLine(number, raw.decode("utf-8", "replace").rstrip("\n"), f"not an object but {type(value).__name__}")
    return Line(number, value)


@contextmanager
def locked(path: Path, holder: str) -> Iterator[None]:
    """Hold an advisory lock on `path`, writing `holder` into it; released when the process ends, however it ends.

    Raises:
        BlockingIOError: Another process holds it; `args[0]` is what that one wrote.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(os.pread(descriptor, 4096, 0).decode("utf-8", "replace").strip()) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def written_alone(folder: Path, lock: str, who: str, error: type[SeedbedError]) -> Iterator[None]:
    """Keep other processes like this one out of a folder, which is made where it is missing.

    One that is there is waited for: where its service was killed it saves its work and ends (`core/leashed.py`).

    Args:
        folder: Where this one writes.
        lock: The name of the lock's file in it.
        who: What to call the other, such as "trainer".
        error: Raised where that one does not end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + PATIENCE_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder / lock, f"pid {os.getpid()}"))
                break
            except BlockingIOError as held:
                if time.monotonic() >= deadline:
                    raise error(
                        f"{folder} is written by another {who} ({held.args[0]}), which did not end in "
                        f"{PATIENCE_S:g} s: end it, or name another folder"
                    ) from held
            time.sleep(LOOK_AGAIN_S)
        yield
