"""Which services work on a pool on a server, what each does, and what is lost with one that is gone."""

from collections.abc import Callable

from sqlalchemy import Connection, delete, select, text, update

from seedbed.core.records import Node
from seedbed.pool import schema
from seedbed.pool.reader import Reader
from seedbed.pool.rows import storable
from seedbed.pool.transaction import Transaction
from seedbed.pool.writes import Submit, Write

LOST_AFTER_S = 30.0
"""A service that has said nothing for so long is given up."""
FORGOTTEN_AFTER_S = 3600.0

LOST = "NodeLostError"
"""The kind of a failed request whose service is gone."""

# The clock of the database: those of several hosts differ.
_NOW = {
    "sqlite": text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
    "postgresql": text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)"),
}
_nodes, _requests = schema.nodes, schema.requests


class Nodes:
    """The services on one pool. Safe to use from any thread.

    Args:
        reader: Asks the pool.
        submit: Queues a write.
        now: The clock, in seconds since 1970.
    """

    def __init__(self, reader: Reader, submit: Submit, now: Callable[[], float]) -> None:
        self._reader, self._submit, self._now = reader, submit, now

    def tell(self, node: Node) -> None:
        """Store what a service does now."""
        self._submit(told(node)).result()

    def leave(self, identity: str) -> None:
        """Take a service out, since it ends."""
        self._submit(left(identity)).result()

    def all(self) -> tuple[Node, ...]:
        """Return the services that told something within the hour, by name, each with how long ago that was."""
        return self._reader.ask(_all)

    def give_up(self, node: Node) -> int:
        """Note that the requests in flight at a service that is gone failed; returns how many.

        Where it comes back all the same, what it stores then counts.
        """
        return self._submit(given_up(node, self._now())).result()


def told(node: Node) -> Write[None]:
    """Store what a service does now, by the database's clock."""

    def run(transaction: Transaction) -> None:
        seen_at = transaction.execute(_NOW[transaction.dialect]).scalar_one()
        values = {"record": node.model_dump_json(), "seen_at": seen_at}
        transaction.put(_nodes, {"id": node.id, **values})

    return Write(run, is_led=False)


def left(identity: str) -> Write[None]:
    """Take a service out."""

    def run(transaction: Transaction) -> None:
        transaction.execute(delete(_nodes).where(_nodes.c.id == identity))

    return Write(run, is_led=False)


def given_up(node: Node, now: float) -> Write[int]:
    """Close the requests of a service that is gone, note that in its record, and drop those gone for an hour."""
    message = f"the service that asked ({node.name} on {node.host}) is gone"

    def run(transaction: Transaction) -> int:
        clock = transaction.execute(_NOW[transaction.dialect]).scalar_one()
        transaction.execute(delete(_nodes).where(_nodes.c.seen_at < clock - FORGOTTEN_AFTER_S))
        where = (_requests.c.node == node.id, _requests.c.state == "waiting")
        ids = list(transaction.execute(select(_requests.c.id).where(*where)).scalars())
        record = node.model_copy(update={"is_lost": True, "in_flight": len(ids)}).model_dump_json()
        transaction.execute(update(_nodes).where(_nodes.c.id == node.id).values(record=record))
        transaction.prefetch((), ids)
        for request_id in ids:
            values = {"kind": LOST, "message": storable(message), "failed_at": now}
            transaction.insert(schema.failures, {"request_id": request_id, **values})
            transaction.end_request(request_id, "failed")
        transaction.count("requests", "waiting", -len(ids))
        transaction.count("requests", "failed", len(ids))
        return len(ids)

    return Write(run)


def _all(connection: Connection) -> tuple[Node, ...]:
    now = connection.execute(_NOW[connection.dialect.name]).scalar_one()
    rows = connection.execute(select(_nodes).where(_nodes.c.seen_at > now - FORGOTTEN_AFTER_S))
    found = [
        Node.model_validate_json(row.record).model_copy(update={"last_seen_s": round(max(0.0, now - row.seen_at), 1)})
        for row in rows
    ]
    return tuple(sorted(found, key=lambda node: (node.name, node.host, node.id)))
