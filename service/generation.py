"""The generation phase: indexes loaded, servers opened, the engine run until the pool has what was asked for."""

from collections.abc import Callable

import anyio.to_thread

from seedbed.core.records import Phase
from seedbed.filters.cascade import Cascade, build_cascade
from seedbed.generator.counters import Outcome
from seedbed.pool.pool import Pool
from seedbed.service.checking import held_out_category
from seedbed.service.context import Context
from seedbed.service.decider import DecisionThread
from seedbed.service.fan_out import Goal, plan_of, run_engine
from seedbed.service.leaks import held_out_references
from seedbed.service.live import Live
from seedbed.service.shares import note_base, target_shares
from seedbed.service.stopping import Stop
from seedbed.service.taking import taking
from seedbed.service.teachers import opened_judge, opened_teacher
from seedbed.service.tracing import Tracing, tracing
from seedbed.service.work import Work
from seedbed.service.workspace import Workspace


async def generate(
    context: Context, *, target: int, stop: Stop, live: Live, goes_on: Callable[[], bool] = lambda: False
) -> Outcome | None:
    """Generate until `target` rows are accepted in the pool, or a stop is wanted; None where they already are.

    Args:
        context: The workspace.
        target: Accepted rows in the pool, whichever service wrote them.
        stop: Ends it before.
        live: Told of what is done.
        goes_on: After a stop: whether generation begins again at once, here or in another service, so that those
            that generate for this one need not stop.

    Raises:
        EndpointError: The teacher's server cannot be used at all.
        GenerationError: Nothing is accepted any more.
        FilterError, PoolError: A filter or the database broke.
    """
    pool = context.pool
    pool.fire_due()
    if pool.accepted_count() >= target or stop.is_wanted:
        return None
    async with tracing(context.workspace.config.telemetry) as traces:
        return await _generate(context, target, stop, live, traces, goes_on)


async def _generate(
    context: Context, target: int, stop: Stop, live: Live, traces: Tracing | None, goes_on: Callable[[], bool]
) -> Outcome:
    pool, workspace = context.pool, context.workspace
    live.phase = Phase.LOADING_FILTERS
    context.events.emit("filters.loading", accepted=pool.accepted_count())
    async with live.index_lock:
        cascade = await anyio.to_thread.run_sync(loaded_cascade, workspace, pool)
        live.decider = decider = DecisionThread(cascade, traces.store(pool) if traces else pool)
    note_base(workspace, pool)
    shares = target_shares(workspace, pool)
    intent = live.control.intent if live.control else pool.intent()
    try:
        async with taking(context, decider, Work(target=target, shares=shares, intent=intent)) as taker:
            async with live.teaching:
                live.phase = Phase.GENERATING
                async with opened_teacher(context, live) as fleet, opened_judge(context, fleet) as judge:
                    plan, goal = await plan_of(context, fleet, shares), Goal(target, pool)
                    wanted = intent.concurrency if live.control else None
                    outcome = await run_engine(
                        context, live, fleet, decider, plan, goal, stop, judge=judge, traces=traces, concurrency=wanted
                    )
            if not (stop.is_wanted and goes_on()):
                live.phase = Phase.DRAINING if pool.is_shared else live.phase
                await taker.finish(workspace.config.generation.drain_grace_s)
            return outcome
    finally:
        live.fleet, live.gauge, live.decider = None, lambda: None, None
        await anyio.to_thread.run_sync(decider.close)


def loaded_cascade(workspace: Workspace, pool: Pool) -> Cascade:
    """Build the cascade of a workspace, its memories filled with the seeds and all accepted rows."""
    cascade = seeded_cascade(workspace)
    cascade.load((), pool.accepted())
    return cascade


def seeded_cascade(workspace: Workspace) -> Cascade:
    """Build the cascade of a workspace, its memories filled with the seeds alone."""
    cascade = build_cascade(
        workspace.config.filters,
        held_out=workspace.held_out,
        category_of=held_out_category(workspace),
        references=workspace.references(),
        loaded=held_out_references(workspace),
    )
    cascade.load(workspace.seeds, ())
    cascade.warm()
    return cascade
