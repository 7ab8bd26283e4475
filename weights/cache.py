"""The cache folder: where fetched weights lie, one fetch at a time, and each large file hashed only once."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.files import locked, read_json, sha256_of, write_json
from seedbed.core.text import content_id


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return `$SEEDBED_CACHE`, else `$XDG_CACHE_HOME/seedbed`, else `~/.cache/seedbed`."""
    if chosen := environment.get("SEEDBED_CACHE"):
        return Path(chosen).expanduser()
    if shared := environment.get("XDG_CACHE_HOME"):
        return Path(shared) / "seedbed"
    return Path(environment.get("HOME") or Path.home()) / ".cache" / "seedbed"


def remembered_sha256(path: Path, cache: Path) -> str:
    """Return a file's SHA-256, read from the cache while the file's size and time of change stay the same.

    Weights are gigabytes, and every start of a server or a training asks for their hash.
    """
    path = path.resolve()
    status = path.stat()
    identity = {"path": str(path), "size_bytes": status.st_size, "changed_ns": status.st_mtime_ns}
    memory = cache / "hashes" / f"{content_id([str(path)])}.json"
    remembered = _read_memory(memory)
    if all(remembered.get(key) == value for key, value in identity.items()) and "sha256" in remembered:
        return str(remembered["sha256"])
    return remember_sha256(path, sha256_of(path), cache)


def remember_sha256(path: Path, sha256: str, cache: Path) -> str:
    """Store the hash of a file that was just computed, and return it."""
    path = path.resolve()
    status = path.stat()
    record = {"path": str(path), "size_bytes": status.st_size, "changed_ns": status.st_mtime_ns, "sha256": sha256}
    write_json(cache / "hashes" / f"{content_id([str(path)])}.json", record)
    return sha256


def _read_memory(path: Path) -> dict[str, object]:
    try:
        value = read_json(path)
    except (MissingFileError, InputError):
        return {}
    return value if isinstance(value, dict) else {}


@contextmanager
def alone(lock: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Hold `lock`, waiting while another process does, so that two never fetch or convert the same weights."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(lock, f"pid {os.getpid()}"))
                break
            except BlockingIOError:
                sleep(0.5)
        yield
