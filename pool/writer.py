"""The one thread that writes: it gathers what callers submit and commits it together."""

import contextlib
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from seedbed.core.errors import PoolError
from seedbed.pool.leadership import PATIENCE_S, Claim
from seedbed.pool.records import Committed
from seedbed.pool.transaction import Transaction
from seedbed.pool.translate import as_pool_error, is_away, is_fault_of_one_write
from seedbed.pool.writes import Write

T = TypeVar("T")

# Measured: 276 rows/s at one row a commit, 7,600 at 64, 15,600 at 256; past that little is gained.
LARGEST_GROUP = 512

# Callers that wait for each other gain nothing by waiting longer; where several came at once, more are on their way.
GATHER_S, BUSY_GROUP = 0.01, 2
AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class _Submitted:
    write: Write[Any]
    future: "Future[Any]"


class Writer:
    """Commits submitted writes in the order they came, as many to a transaction as have gathered.

    A future is done when its write is on disk. A group in which one write is at fault is rolled back whole, and
    each of its writes is tried in a transaction of its own; a fault of the disk or the database fails the group, and
    the next group starts on a new connection.
    """

    def __init__(self, engine: Engine, path: Path | str, claim: Claim | None = None) -> None:
        self._engine, self._path, self._claim = engine, path, claim
        self._queue: SimpleQueue[_Submitted | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._is_closed = False
        self._last_group = 0
        self.accepted: int | None = None
        """Candidates that stand accepted after the last commit of decisions; None before the first."""
        self._connection: Connection | None = None
        self._uncertain: list[Any] | None = None
        """What the last transaction came to, where its connection broke before its end was told."""
        self._thread = threading.Thread(target=self._run, name="seedbed-pool-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write[T]) -> "Future[T]":
        """Queue a write; the future fails with a `PoolError` where it could not be stored."""
        future: Future[T] = Future()
        with self._gate:
            if self._is_closed:
                raise PoolError(f"the pool {self._path} is closed: open it again to write")
            self._queue.put(_Submitted(write, future))
        return future

    def close(self) -> None:
        """Commit what is queued, then stop."""
        with self._gate:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _leave(self) -> None:
        if self._claim is not None:
            with contextlib.suppress(SQLAlchemyError), self._engine.begin() as connection:
                self._claim.leave(connection)

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._take_group()
            self._last_group = len(group)
            if running := [item for item in group if item.future.set_running_or_notify_cancel()]:
                self._write_group(running)
        self._disconnect()
        self._leave()

    def _take_group(self) -> tuple[list[_Submitted], bool]:
        group: list[_Submitted] = []
        item = self._queue.get()
        if self._last_group >= BUSY_GROUP and item is not None:
            time.sleep(GATHER_S)
        while item is not None:
            group.append(item)
            if len(group) == LARGEST_GROUP:
                return group, True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _write_group(self, group: list[_Submitted]) -> None:
        try:
            results = self._commit([item.write for item in group])
        except Exception as error:  # noqa: BLE001 - the thread's outermost frame: every future learns of its end
            self._fail(group, error)
        else:
            for result in results:  # before anyone learns of his own, so that nobody reads an older count after it
                if isinstance(result, Committed):
                    self.accepted = result.accepted
            for item, result in zip(group, results, strict=True):
                item.future.set_result(result)

    def _fail(self, group: list[_Submitted], error: Exception) -> None:
        self._uncertain = None
        if len(group) > 1 and is_fault_of_one_write(error):
            for item in group:
                self._write_group([item])
            return
        self._disconnect()
        for item in group:
            item.future.set_exception(self._told(error))

    def _told(self, error: Exception) -> Exception:
        if isinstance(error, PoolError):
            return error
        told = as_pool_error(error, self._path)
        told.__cause__ = error
        return told

    def _commit(self, writes: list[Write[Any]]) -> list[Any]:
        """Commit a group; a server that is away is waited for, for nobody was told of anything yet."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._commit_once(writes)
            except SQLAlchemyError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
            self._disconnect()
            time.sleep(AGAIN_S)

    def _commit_once(self, writes: list[Write[Any]]) -> list[Any]:
        is_led = any(write.is_led for write in writes)
        if self._claim is not None:
            self._claim.settle(is_led=is_led)
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            if self._uncertain is None or not self._was_stored(self._connection):
                self._uncertain = None
                if self._claim is not None:
                    self._claim.enter(self._connection, is_led=is_led)
                self._uncertain = self._run_all(self._connection, writes)
        results, self._uncertain = self._uncertain, None
        return results

    def _was_stored(self, connection: Connection) -> bool:
        return self._claim is not None and self._claim.is_stored(connection)

    @staticmethod
    def _run_all(connection: Connection, writes: list[Write[Any]]) -> list[Any]:
        transaction = Transaction(connection)
        transaction.prefetch(
            [subject for write in writes for subject in write.subjects],
            [request_id for write in writes for request_id in write.request_ids],
        )
        results = [write.run(transaction) for write in writes]
        transaction.flush()
        return results

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
