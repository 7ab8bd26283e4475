"""Many writers share transactions; a fault hurts no one else."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolError, PoolFullError
from seedbed.core.records import Completion, Request
from seedbed.pool.check import check
from seedbed.pool.database import FILE_NAME, reading_engine, writing_engine
from seedbed.pool.migrate import migrate
from seedbed.pool.pool import Pool
from seedbed.pool.records import Committed, Decided
from seedbed.pool.writer import Writer

Decide = Callable[..., Decided]


def test_threads_that_write_at_once_all_get_what_they_stored(pool: Pool, decide: Decide) -> None:
    failures: list[str] = []

    def write(thread: int) -> None:
        for number in range(25):
            item = decide(f"{thread} {number}")
            pool.commit([item])
            if not pool.knows(item.subject.id):
                failures.append(item.subject.id)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pool.accepted_count() == 16 * 25
    # 3, 5, 7 … 399: each threshold up to 400 once.
    assert [run.threshold for run in pool.runs()] == list(range(3, 401, 2))
    assert check(pool) == []


def test_rows_submitted_together_share_transactions(tmp_path: Path, decide: Decide) -> None:
    writer, commits = _writer(tmp_path)
    with pool_of(tmp_path, writer) as pool:
        futures = [pool.submit_decided([decide(str(number))]) for number in range(1000)]
        totals = [future.result().accepted for future in futures]
    assert totals == list(range(1, 1001))
    assert len(commits) < 500


def test_a_write_at_fault_fails_alone(pool: Pool, decide: Decide, answer: Callable[..., Completion]) -> None:
    good: list[Future[Committed]] = []
    bad: list[Future[None]] = []
    for number in range(50):
        good.append(pool.submit_decided([decide(str(number))]))
        bad.append(pool.submit_completions([answer(f"unknown {number}")]))
    assert all(future.result() for future in good)
    for future in bad:
        with pytest.raises(PoolError, match="does not hold"):
            future.result()
    assert pool.accepted_count() == 50
    assert check(pool) == []


def test_a_commit_with_one_bad_row_stores_none_of_its_rows(pool: Pool, decide: Decide) -> None:
    with pytest.raises(PoolError):
        pool.commit([decide("one"), decide("two", sequence=5)])
    assert pool.accepted_count() == 0
    assert not pool.knows(decide("one").subject.id)
    assert check(pool) == []


def test_a_write_that_was_cancelled_in_time_is_not_stored(pool: Pool, decide: Decide) -> None:
    kept = [pool.submit_decided([decide(f"kept {number}")]) for number in range(20)]
    dropped = [pool.submit_decided([decide(f"dropped {number}")]) for number in range(300)]
    cancelled = [number for number, future in enumerate(dropped) if future.cancel()]
    assert [future.result().accepted > 0 for future in kept] == [True] * 20
    for number, future in enumerate(dropped):
        if number not in cancelled:
            future.result()
    assert [pool.knows(decide(f"dropped {number}").subject.id) for number in cancelled] == [False] * len(cancelled)
    assert pool.accepted_count() == 320 - len(cancelled)


def test_closing_stores_what_was_submitted(tmp_path: Path, decide: Decide) -> None:
    with Pool.open(tmp_path, PoolConfig()) as pool:
        futures = [pool.submit_decided([decide(str(number))]) for number in range(300)]
    assert all(future.done() for future in futures)
    with Pool.open(tmp_path, PoolConfig(), read_only=True) as reader:
        assert reader.accepted_count() == 300


def test_a_full_disk_loses_nothing_and_writing_goes_on_after_it(tmp_path: Path, decide: Decide) -> None:
    limit = [0]
    writer, _ = _writer(tmp_path, limit)
    with pool_of(tmp_path, writer) as pool:
        pool.commit([decide("before")])
        limit[0] = 60
        stored, failed = _fill(pool, decide)
        assert failed
        assert pool.accepted_count() == 1 + len(stored)
        assert not pool.knows(failed)
        limit[0] = 1_000_000
        assert pool.commit([decide("after")]).accepted == 2 + len(stored)
        assert check(pool) == []


def test_every_write_of_a_group_learns_of_a_full_disk(tmp_path: Path, decide: Decide) -> None:
    limit = [60]
    writer, _ = _writer(tmp_path, limit)
    with pool_of(tmp_path, writer) as pool:
        futures = [pool.submit_decided([decide(f"{number} " + "x" * 2000)]) for number in range(400)]
        ends = [future.exception() for future in futures]
        assert {type(end) for end in ends if end is not None} == {PoolFullError}
        known = [pool.knows(decide(f"{number} " + "x" * 2000).subject.id) for number in range(400)]
        assert known == [end is None for end in ends]
        assert check(pool) == []


def test_a_write_of_any_size_is_one_transaction(pool: Pool, ask: Callable[[str], Request]) -> None:
    pool.add_requests([ask(str(number)) for number in range(3000)])
    assert pool.unanswered() == 3000


def _fill(pool: Pool, decide: Decide) -> tuple[list[str], str]:
    """Commit large rows until the disk is full; the ids that were acknowledged, and the one that was not."""
    stored: list[str] = []
    for number in range(1000):
        item = decide(f"{number} " + "x" * 5000)
        try:
            pool.commit([item])
        except PoolFullError:
            return stored, item.subject.id
        stored.append(item.subject.id)
    return stored, ""


def pool_of(folder: Path, writer: Writer) -> Pool:
    path = folder / FILE_NAME
    return Pool(path, PoolConfig(), reading_engine(path), lambda: 0.0, writer)


def _writer(folder: Path, limit_pages: list[int] | None = None) -> tuple[Writer, list[int]]:
    """A writer that notes its commits, on a database that may grow to so many pages."""
    path = folder / FILE_NAME
    migrate(path, folder, "now")
    engine: Engine = writing_engine(path)
    commits: list[int] = []
    event.listen(engine, "commit", lambda _: commits.append(1))

    def set_limit(connection: object) -> None:
        if limit_pages is not None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {limit_pages[0] or 1_000_000}")  # type: ignore[attr-defined]

    event.listen(engine, "begin", set_limit)
    return Writer(engine, path), commits
