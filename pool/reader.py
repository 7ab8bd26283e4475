"""Reads of the pool: each asks a connection that sees one state, and waits for a server that is away."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, Table

from seedbed.core.errors import PoolError
from seedbed.pool import reads
from seedbed.pool.translate import is_away, translated
from seedbed.pool.writer import AGAIN_S

T = TypeVar("T")


class Reader:
    """Asks the database; safe to use from any thread.

    Args:
        engine: Of read-only connections.
        where: The pool, for messages.
        patience_s: How long a server that is away is waited for.
    """

    def __init__(self, engine: Engine, where: Path | str, patience_s: float = 0.0) -> None:
        self._engine, self._where, self._patience_s = engine, where, patience_s

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the pool; keep it briefly, for the WAL grows meanwhile."""
        with translated(self._where), self._engine.connect() as connection:
            yield connection

    def ask(self, query: Callable[..., T], *arguments: object) -> T:
        """Run a query.

        Raises:
            PoolError: The database failed, or the server was away for too long.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                with self.connection() as connection:
                    return query(connection, *arguments)
            except PoolError as error:
                if not is_away(error.__cause__) or time.monotonic() >= deadline:
                    raise
            time.sleep(AGAIN_S)

    def pages(self, table: Table, *conditions: Any) -> Iterator[Row[Any]]:
        """Yield rows in pages of a transaction each, so that a slow consumer holds no old state."""
        after, until = 0, self.ask(reads.last_number, table)
        while rows := self.ask(reads.page, table, after, until, *conditions):
            yield from rows
            after = rows[-1].number
