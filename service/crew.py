"""The services on one pool: each tells what it does, and the leader gives up those that say nothing any more."""

import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.to_thread

from seedbed.core.errors import PoolError
from seedbed.core.records import Node, NodeRole
from seedbed.endpoints.fleet import beside
from seedbed.pool.nodes import LOST_AFTER_S
from seedbed.pool.pool import Pool
from seedbed.service.console import Rate
from seedbed.service.context import Context
from seedbed.service.cost import cost_of
from seedbed.service.live import Live

TELL_EVERY_S = 2.0
LOOK_EVERY_S = 5.0
LEAVE_S = 2.0
"""How long the end waits for a server that is away."""


@asynccontextmanager
async def told_of(context: Context, live: Live, now: Callable[[], float] = time.time) -> AsyncIterator[None]:
    """Tell the other services on a pool of this one, as long as the block runs."""
    if not context.pool.is_shared:
        yield
        return
    try:
        async with beside() as tasks:
            tasks.start_soon(_tell, context, live, now())
            yield
    finally:
        with anyio.move_on_after(LEAVE_S, shield=True), suppress(PoolError):
            await anyio.to_thread.run_sync(context.pool.nodes.leave, context.pool.node, abandon_on_cancel=True)


async def _tell(context: Context, live: Live, started_at: float) -> None:
    tokens, accepted = Rate(), Rate()
    while True:
        node = _node(context, live, started_at, tokens, accepted)
        with suppress(PoolError):  # what works tells of it
            await anyio.to_thread.run_sync(context.pool.nodes.tell, node, abandon_on_cancel=True)
        await anyio.sleep(TELL_EVERY_S)


def _node(context: Context, live: Live, started_at: float, tokens: Rate, accepted: Rate) -> Node:
    counters = live.counters
    return Node(
        id=context.pool.node,
        name=context.workspace.folder.resolve().name,
        host=socket.gethostname(),
        process=os.getpid(),
        role=NodeRole.LEADER if context.pool.is_led else NodeRole.GENERATOR,
        phase=live.phase,
        in_flight=counters.in_flight,
        requests=counters.requests,
        candidates=counters.candidates,
        accepted=counters.accepted,
        tokens_per_s=round(max(0.0, tokens.per_second(counters.completion_tokens)), 1),
        accepted_per_min=round(max(0.0, 60 * accepted.per_second(counters.accepted)), 1),
        started_at=started_at,
    )


def nodes_of(pool: Pool) -> tuple[Node, ...]:
    """Return the services on a pool, each with the candidates of it that wait for a decision."""
    if not pool.is_shared:
        return ()
    undecided = pool.submissions.undecided()
    return tuple(node.model_copy(update={"undecided": undecided.get(node.id, 0)}) for node in pool.nodes.all())


async def watch_crew(context: Context, live: Live) -> None:
    """Look, as the leader, who comes and who is gone, until cancelled."""
    crew = Crew(context, live)
    while True:
        with suppress(PoolError):
            await anyio.to_thread.run_sync(crew.look)
        await anyio.sleep(LOOK_EVERY_S)


class Crew:
    """What the leader knows of the others."""

    def __init__(self, context: Context, live: Live) -> None:
        self._context, self._pool, self._alarms = context, context.pool, live.alarms
        self._known: dict[str, Node] = {}

    def look(self) -> None:
        """Look once: close the requests of who is lost, and drop the answers that nobody fetched."""
        found = {node.id: node for node in self._pool.nodes.all() if node.id != self._pool.node}
        for node in found.values():
            if node.last_seen_s < LOST_AFTER_S:
                self._is_there(node)
            elif not node.is_lost:
                self._is_lost(node)
        for identity in self._known.keys() - found.keys():
            node = self._known.pop(identity)
            self._alarms.set(f"node/{identity}", "")
            self._context.events.emit("node.left", node=node.name, host=node.host)
        self._pool.submissions.drop_old().result()

    def _is_there(self, node: Node) -> None:
        if node.id not in self._known:
            self._context.events.emit("node.joined", node=node.name, host=node.host, process=node.process)
        self._known[node.id] = node
        self._alarms.set(f"node/{node.id}", "")

    def _is_lost(self, node: Node) -> None:
        requests = self._pool.nodes.give_up(node)
        self._known[node.id] = node
        spent = self._pool.spent()
        share = requests / spent.requests if spent.requests else 0.0
        tokens = round(share * (spent.prompt_tokens + spent.completion_tokens))
        cost = share * cost_of(self._context.workspace.config, spent)
        self._context.events.emit(
            "node.lost", node=node.name, host=node.host, requests=requests, about_tokens=tokens, about_cost=cost
        )
        self._alarms.set(
            f"node/{node.id}",
            f"service {node.name} on {node.host} is gone; lost with it: {requests} requests in flight, about {tokens} "
            f"tokens and {cost:.4f} in money by the mean of those answered",
        )
