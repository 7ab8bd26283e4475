"""A backup is made while the pool is written, and put back whole."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import InputError, MissingFileError, PoolError, WorkspaceHeldError
from seedbed.pool.backup import backup, restore
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided

Decide = Callable[..., Decided]


@pytest.fixture
def pool_url() -> str:
    """Copies of a pool on a server: tests/pool/test_transfer.py."""
    return "sqlite"


def test_a_backup_of_a_live_pool_is_sound(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide("before")])
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            pool.commit([decide(str(number))])
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    backup(tmp_path, tmp_path / "copy" / "pool.sqlite3")
    stop.set()
    thread.join()
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["pool.sqlite3"]
    with Pool.open(tmp_path / "copy", PoolConfig()) as copied:
        assert check(copied) == []
        assert copied.knows(decide("before").subject.id)


def test_a_restored_pool_is_the_one_of_the_backup(tmp_path: Path, decide: Decide) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        pool.commit([decide("one")])
        backup(tmp_path, tmp_path / "copy.sqlite3")
        pool.commit([decide("two")])
    former = restore(tmp_path / "copy.sqlite3", tmp_path)
    with Pool.open(tmp_path, PoolConfig()) as pool:
        assert pool.accepted_count() == 1
        assert check(pool) == []
    assert former is not None
    (tmp_path / "former").mkdir()
    former.rename(tmp_path / "former" / "pool.sqlite3")
    with Pool.open(tmp_path / "former", PoolConfig()) as pool:
        assert pool.accepted_count() == 2


def test_a_pool_in_use_is_not_replaced(pool: Pool, tmp_path: Path) -> None:
    backup(tmp_path, tmp_path / "copy.sqlite3")
    with pytest.raises(WorkspaceHeldError, match="is in use"):
        restore(tmp_path / "copy.sqlite3", tmp_path)


def test_a_damaged_backup_is_not_put_back(pool: Pool, tmp_path: Path, decide: Decide) -> None:
    pool.commit([decide(str(number)) for number in range(200)])
    backup(tmp_path, tmp_path / "copy.sqlite3")
    pool.close()
    damaged = bytearray((tmp_path / "copy.sqlite3").read_bytes())
    damaged[8192:40960] = bytes(32768)
    (tmp_path / "copy.sqlite3").write_bytes(damaged)
    with pytest.raises(PoolError, match="damaged"):
        restore(tmp_path / "copy.sqlite3", tmp_path)
    with Pool.open(tmp_path, PoolConfig()) as again:
        assert again.accepted_count() == 200


def test_what_is_no_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        restore(tmp_path / "nothing", tmp_path)
    with pytest.raises(MissingFileError):
        backup(tmp_path, tmp_path / "copy.sqlite3")
    (tmp_path / "text").write_text("no database, but long enough to be looked at")
    with pytest.raises(PoolError):
        restore(tmp_path / "text", tmp_path)


def test_a_backup_does_not_overwrite(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "copy.sqlite3").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        backup(tmp_path, tmp_path / "copy.sqlite3")
