"""Which of the services on one pool decides: the one that holds an advisory lock, known by a token in each write.

The lock belongs to a session of its own, so it goes when its process dies. A process that only stands still loses it
too: the server ends a session that says nothing for `SILENT_S`. What such a process writes when it wakes is refused,
since the pool then holds another's token.
"""

import logging
import threading
import time
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from seedbed.core.errors import NotLeadingError, WorkspaceHeldError
from seedbed.pool import schema
from seedbed.pool.server import TRY_LEADING, Server, lock_writing
from seedbed.pool.transaction import Transaction
from seedbed.pool.translate import is_away, translated

KEY = "leader"
BEAT_S = 1.0
SILENT_S = 5
PATIENCE_S = 20.0
"""Seconds that a server may be away before what waits for it fails, and an alarm is raised."""

logger = logging.getLogger("seedbed.pool")


@dataclass(frozen=True, slots=True)
class Leader:
    """The row that says who leads."""

    epoch: int
    """The fencing token: it grows with every change of the leader, and never falls."""
    token: str
    """Of one term of one process."""
    holder: str
    """The process, for people."""


def read_leader(connection: Connection) -> Leader | None:
    """Return who led last; None where nobody ever did."""
    value = connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == KEY)).scalar_one_or_none()
    if value is None:
        return None
    epoch, token, holder = value.split(" ", 2)
    return Leader(int(epoch), token, holder)


class Leadership:
    """A process's part in the election. Safe to use from any thread.

    Args:
        server: Where the pool is.
        holder: What others are told of this process.
    """

    def __init__(self, server: Server, holder: str) -> None:
        self._server, self._holder = server, holder
        self._engine = server.plain_engine()
        self._connection: Connection | None = None
        self._state = threading.Condition()
        self._token = ""
        self._epoch = 0
        self._is_regaining = False
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process leads, as far as it knows; each write asks the pool."""
        with self._state:
            return bool(self._token)

    @property
    def epoch(self) -> int:
        """The number of this process's last term; 0 before the first."""
        with self._state:
            return self._epoch

    def try_take(self) -> bool:
        """Become the leader, unless another is.

        Raises:
            PoolError: The server failed.
        """
        if self.is_held:
            return True
        if self._thread is not None:
            self._thread.join()  # the watch of a term that ended
        with translated(self._server.where):
            if not self._take(uuid.uuid4().hex, only_after=None):
                return False
        self._thread = threading.Thread(target=self._watch, name="seedbed-leadership", daemon=True)
        self._thread.start()
        return True

    def require(self, readers: Engine, advice: str) -> None:
        """Become the leader.

        Args:
            readers: Where to look who leads.
            advice: What to do where another does.

        Raises:
            WorkspaceHeldError: Another leads.
            PoolError: The server failed.
        """
        if self.try_take():
            return
        where = self._server.where
        with translated(where), readers.connect() as connection:
            found = read_leader(connection)
        raise WorkspaceHeldError(f"{refusal(where, found)}: {advice}")

    def check(self, connection: Connection) -> None:
        """Refuse a transaction of a process that does not lead.

        Raises:
            NotLeadingError: Another leads, or nobody.
        """
        leader = read_leader(connection)
        with self._state:
            token = self._token
        if leader is None or not token or leader.token != token:
            with self._state:
                self._token = ""
            raise NotLeadingError(refusal(self._server.where, leader))

    def settle(self) -> None:
        """Wait, outside of any transaction, while it is open whether this process still leads."""
        with self._state:
            self._state.wait_for(lambda: not self._is_regaining, timeout=PATIENCE_S)

    def close(self) -> None:
        """Let another lead."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()
        self._end_term()
        self._engine.dispose()

    def _take(self, token: str, only_after: str | None) -> bool:
        """Take the lock and write the token into the pool.

        Args:
            token: Of the term.
            only_after: The token that must stand there, so that nobody led in between; None: whatever stands there.
        """
        connection = self._engine.connect()
        is_taken = False
        try:
            is_taken = self._elect(connection, token, only_after)
        finally:
            if not is_taken:
                _end(connection)
        if is_taken:
            with self._state:
                self._connection, self._token, self._is_regaining = connection, token, False
                self._state.notify_all()
        return is_taken

    def _elect(self, connection: Connection, token: str, only_after: str | None) -> bool:
        with connection.begin():
            connection.exec_driver_sql(f"SET idle_session_timeout = '{SILENT_S}s'")
            if not connection.exec_driver_sql(TRY_LEADING).scalar_one():
                return False
            lock_writing(connection)
            former = read_leader(connection)
            if only_after is not None and (former is None or former.token != only_after):
                return False
            epoch = 1 if former is None else former.epoch + 1
            Transaction(connection).set_meta(KEY, f"{epoch} {token} {self._holder}")
        with self._state:
            self._epoch = epoch
        return True

    def _watch(self) -> None:
        """Say something now and then, until the term ends; a server that comes back in time is led on."""
        while not self._is_closed.wait(BEAT_S):
            if not self.is_held:
                self._end_term()
                return
            try:
                assert self._connection is not None
                with self._connection.begin():
                    self._connection.exec_driver_sql("SELECT 1")
            except SQLAlchemyError as error:
                logger.warning("the session that leads the pool broke: %s", error.__class__.__name__)
                if not self._regain():
                    return

    def _regain(self) -> bool:
        with self._state:
            token, self._is_regaining = self._token, True
        self._disconnect()
        deadline = time.monotonic() + PATIENCE_S
        is_led = False
        while not self._is_closed.is_set():
            try:
                is_led = self._take(token, only_after=token)
                break
            except SQLAlchemyError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
        if not is_led:
            self._end_term()
        return is_led

    def _end_term(self) -> None:
        self._disconnect()
        with self._state:
            self._token, self._is_regaining = "", False
            self._state.notify_all()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _end(connection)


def _end(connection: Connection) -> None:
    """End a session; the locks go with it."""
    connection.invalidate()
    connection.close()


def refusal(where: str, leader: Leader | None) -> str:
    """Say who leads the pool, for people."""
    who = f"{leader.holder} (epoch {leader.epoch})" if leader else "nobody yet"
    return f"this process does not lead the pool at {where}; the last that did: {who}"


class Claim:
    """What the writer puts into each transaction on a server: whether it may, and that it was there."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self._key, self._number = f"writer/{uuid.uuid4().hex}", 0

    def settle(self, *, is_led: bool) -> None:
        """Wait, before a transaction, until it is clear who leads."""
        if is_led:
            self._leadership.settle()

    def enter(self, connection: Connection, *, is_led: bool) -> None:
        """Number a transaction, whose end may be lost with the connection.

        Raises:
            NotLeadingError: It has what only the leader may write, and this process does not lead.
        """
        if is_led:
            self._leadership.check(connection)
        self._number += 1
        Transaction(connection).set_meta(self._key, str(self._number))

    def is_stored(self, connection: Connection) -> bool:
        """Say whether the last transaction was committed, though nobody was told."""
        query = select(schema.meta.c.value).where(schema.meta.c.key == self._key)
        return connection.execute(query).scalar_one_or_none() == str(self._number)

    def leave(self, connection: Connection) -> None:
        """Take the number out of the pool."""
        connection.execute(schema.meta.delete().where(schema.meta.c.key == self._key))
