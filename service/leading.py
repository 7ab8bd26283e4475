"""Of the services on one pool one leads: it decides, freezes, trains and promotes; the others generate for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from seedbed.core.errors import NotLeadingError, PoolError
from seedbed.core.records import Phase
from seedbed.endpoints.fleet import beside
from seedbed.pool.pool import Pool
from seedbed.service.context import Context
from seedbed.service.live import Live
from seedbed.service.stopping import Stop

LOOK_EVERY_S = 1.0
ALARM = "pool"


async def until_leading(context: Context, stop: Stop, live: Live) -> bool:
    """Wait until this service leads its pool, at once where no other may write it; False where a stop came first.

    A server that is away meanwhile is waited for too.
    """
    if context.pool.is_led:
        return True
    leader, may_lead = "", context.workspace.config.pool.may_lead
    live.phase, live.gauge = Phase.WAITING_FOR_LEADERSHIP, lambda: None
    while not stop.is_wanted:
        try:
            if may_lead and await anyio.to_thread.run_sync(context.pool.try_lead):
                live.alarms.set(ALARM, "")
                context.events.emit("leadership.taken", after=leader)
                return True
            found = await anyio.to_thread.run_sync(context.pool.leader)
        except PoolError as error:
            live.alarms.set(ALARM, f"the pool cannot be reached: {error}")
        else:
            live.alarms.set(ALARM, "")
            if found != leader:
                leader = found
                context.events.emit("leadership.awaited", leader=leader)
        await anyio.sleep(LOOK_EVERY_S)
    return False


@asynccontextmanager
async def watched_leadership(pool: Pool) -> AsyncIterator[None]:
    """Run the block while this service leads, and cancel it where another takes over.

    Raises:
        NotLeadingError: One did: what this service does is worth nothing from then on.
    """
    scope = anyio.CancelScope()
    async with beside() as tasks:
        tasks.start_soon(_cancel_when_lost, pool, scope)
        with scope:
            yield
    if scope.cancelled_caught:
        raise NotLeadingError(f"this process does not lead the pool at {pool.path} any more")


async def _cancel_when_lost(pool: Pool, scope: anyio.CancelScope) -> None:
    while True:
        await anyio.sleep(LOOK_EVERY_S)
        if not pool.is_led:
            scope.cancel()
            return
