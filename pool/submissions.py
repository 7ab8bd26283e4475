"""What services that do not lead hand to the one that does, and what it answers: a table, so nothing of it is lost."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sqlalchemy import Connection, delete, func, select, text, update

from seedbed.core.batches import batched
from seedbed.pool import schema
from seedbed.pool.reader import Reader
from seedbed.pool.records import Answer, HandedOver, Kind, Submission
from seedbed.pool.rows import storable
from seedbed.pool.transaction import Transaction
from seedbed.pool.writes import Submit, Write

LEASED_ROWS = 256
"""Most that the leader takes at once; the cascade decides as many in one batch."""
ANSWERS_AT_ONCE = 2000
ANSWERS_KEPT_S = 600.0
"""Answers that nobody fetched are dropped after this."""

_table = schema.submissions
_WAITING = _table.c.is_accepted.is_(None)
_HAND_OVER = text(
    "INSERT INTO submissions (id, node, kind, record, leased_by, filter, reason, handed_at) "
    "SELECT given.id, :node, given.kind, given.record, 0, '', '', :now "
    "FROM unnest(CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:records AS text[])) "
    "WITH ORDINALITY AS given (id, kind, record, place) ORDER BY given.place"
)
"""A statement of three arrays, whatever the number of rows."""


class Submissions:
    """The hand-over between the services on one pool. Safe to use from any thread.

    Args:
        reader: Asks the pool.
        submit: Queues a write.
        node: This process.
        now: The clock, in seconds since 1970.
    """

    def __init__(
        self,
        reader: Reader,
        submit: Submit,
        node: str,
        now: Callable[[], float],
    ) -> None:
        self._reader, self._submit, self._node, self._now = reader, submit, node, now

    # Of who hands over

    def hand_over(self, items: Sequence[HandedOver], fetched: Sequence[int] = ()) -> "Future[None]":
        """Queue rows for the leader, and drop the answers that were fetched; done when it is on disk."""
        return self._submit(handed_over(items, fetched, self._node, self._now()))

    def answers(self) -> list[Answer]:
        """Return what the leader answered to this process and what was not dropped yet."""
        return self._reader.ask(_answers, self._node)

    # Of the leader

    def has_waiting(self, epoch: int) -> bool:
        """Say whether something waits that this term has not taken."""
        return self._reader.ask(_has_waiting, epoch)

    def lease(self, epoch: int, count: int = LEASED_ROWS) -> "Future[list[Submission]]":
        """Take the oldest that wait, those too that a former leader took and did not answer.

        Args:
            epoch: The number of this leader's term: a lease ends with the term.
            count: The most that are taken.
        """
        return self._submit(leased(epoch, count))

    def answer(self, answers: Sequence[Answer]) -> "Future[None]":
        """Answer what no decision is stored of. What is decided is answered with the decision, in one transaction."""
        return self._submit(answered(answers, self._now()))

    def drop_old(self) -> "Future[int]":
        """Drop answers that nobody fetched, since who asked is gone."""
        return self._submit(dropped(self._now() - ANSWERS_KEPT_S))

    # Of anybody

    def undecided(self) -> dict[str, int]:
        """Return how many candidates wait for a decision, by who handed them over."""
        return self._reader.ask(_undecided)


def handed_over(items: Sequence[HandedOver], fetched: Sequence[int], node: str, now: float) -> Write[None]:
    """Store what a service hands over, and drop answers that it has fetched."""

    def run(transaction: Transaction) -> None:
        for part in batched(fetched, schema.PARAMETERS):
            transaction.execute(delete(_table).where(_table.c.number.in_(part), _table.c.node == node))
        if not items:
            return
        records = [storable(item.record) for item in items]
        if transaction.dialect == "postgresql":
            columns = {"ids": [item.id for item in items], "kinds": [item.kind.value for item in items]}
            transaction.execute(_HAND_OVER.bindparams(node=node, now=now, records=records, **columns))
            return
        for item, record in zip(items, records, strict=True):
            row = {"id": item.id, "node": node, "kind": item.kind.value, "record": record, "leased_by": 0}
            transaction.execute(_table.insert().values(**row, filter="", reason="", handed_at=now))

    return Write(run, is_led=False)


def leased(epoch: int, count: int) -> Write[list[Submission]]:
    """Take the oldest that wait, for one term of one leader."""
    waiting = select(_table.c.number).where(_WAITING, _table.c.leased_by < epoch)
    chosen = waiting.order_by(_table.c.number).limit(count).with_for_update(skip_locked=True).cte("chosen")
    names = (_table.c.number, _table.c.node, _table.c.kind, _table.c.record)
    taken = update(_table).where(_table.c.number.in_(select(chosen.c.number))).values(leased_by=epoch).returning(*names)

    def run(transaction: Transaction) -> list[Submission]:
        rows = transaction.execute(taken).all()
        return sorted(
            (Submission(row.number, row.node, Kind(row.kind), row.record) for row in rows), key=lambda one: one.number
        )

    return Write(run)


def answered(answers: Sequence[Answer], now: float) -> Write[None]:
    """Store answers without a decision."""

    def run(transaction: Transaction) -> None:
        for answer in answers:
            transaction.answer(answer, now)

    return Write(run)


def dropped(before: float) -> Write[int]:
    """Drop answers older than `before`; what waits for one stays."""

    def run(transaction: Transaction) -> int:
        return transaction.execute(delete(_table).where(~_WAITING, _table.c.answered_at < before)).rowcount

    return Write(run)


def _answers(connection: Connection, node: str) -> list[Answer]:
    names = ("number", "is_accepted", "filter", "reason", "id")
    query = select(*(_table.c[name] for name in names)).where(_table.c.node == node, ~_WAITING)
    rows = connection.execute(query.order_by(_table.c.number).limit(ANSWERS_AT_ONCE))
    return [Answer(row.number, bool(row.is_accepted), row.filter, row.reason, row.id) for row in rows]


def _has_waiting(connection: Connection, epoch: int) -> bool:
    query = select(_table.c.number).where(_WAITING, _table.c.leased_by < epoch).limit(1)
    return connection.execute(query).first() is not None


def _undecided(connection: Connection) -> dict[str, int]:
    is_meant = (_WAITING, _table.c.kind == Kind.CANDIDATE.value)
    query = select(_table.c.node, func.count()).where(*is_meant).group_by(_table.c.node)
    return {node: number for node, number in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy
