"""What the leader wants generated, stored in the pool: other services generate while it stands there as open."""

from collections.abc import Mapping

import anyio.to_thread

from seedbed.core.records import Record
from seedbed.pool.pool import Pool
from seedbed.pool.records import Intent

KEY = "work"


class Work(Record):
    """What all services on a pool generate now."""

    target: int
    """Accepted rows in the pool to stop at."""
    shares: Mapping[str, float]
    """The target share of each category that the leader trains; no other is asked for."""
    intent: Intent = Intent()
    """What the operator wants: concurrency and budget hold for each service."""
    is_open: bool = True
    """Whether the leader decides what is handed over."""


async def announce(pool: Pool, work: Work) -> None:
    """Tell the other services on the pool what to generate."""
    if pool.is_shared:
        await anyio.to_thread.run_sync(pool.note, KEY, work.model_dump_json())


async def close_work(pool: Pool) -> None:
    """Tell them to stop, where they were told to generate."""
    work = await anyio.to_thread.run_sync(work_of, pool) if pool.is_shared else None
    if work is not None and work.is_open:
        await announce(pool, work.model_copy(update={"is_open": False}))


def work_of(pool: Pool) -> Work | None:
    """Return what was told last; None where nothing ever was."""
    told = pool.noted(KEY)
    return Work.model_validate_json(told) if told else None
