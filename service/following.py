"""A service that waits to lead generates meanwhile: it asks its own endpoints and hands what it finds to the leader."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from seedbed.core.errors import PoolError, PoolUnavailableError, SeedbedError
from seedbed.core.records import Phase
from seedbed.endpoints.fleet import beside
from seedbed.generator.counters import Ended, Outcome
from seedbed.pool.records import HandedOver
from seedbed.service.context import Context
from seedbed.service.fan_out import Goal, plan_of, run_engine
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.submitting import Submitter, submitting
from seedbed.service.teachers import opened_judge, opened_teacher
from seedbed.service.tracing import tracing
from seedbed.service.work import Work, work_of

LOOK_EVERY_S = 1.0
AFTER_DRAIN_S = 2.0
"""What the leader may take to decide the last rows, once nothing is in flight any more."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
ALARM = "following"


@asynccontextmanager
async def following(context: Context, stop: Stop, live: Live) -> AsyncIterator[None]:
    """Generate for the leader beside the block, whenever this service does not lead; drains when the block ends."""
    if not context.pool.is_shared:
        yield
        return
    follower = Follower(context, stop, live)
    async with beside() as tasks:
        tasks.start_soon(follower.run)
        try:
            yield
        finally:
            follower.end()
        await follower.ended.wait()


class Follower:
    """Generates while the leader wants it to. It stops when this service leads, and when the leader wants otherwise."""

    def __init__(self, context: Context, stop: Stop, live: Live) -> None:
        self._context, self._live, self._end = context, live, Stop()
        self._pool = context.pool
        self._take_back = stop.add(self._end.request)
        self._pause_s = FIRST_PAUSE_S
        self._left: list[HandedOver] = []
        """Rows that the pool was away for."""
        self.ended = anyio.Event()

    def end(self) -> None:
        """Let what is in flight come in, then return from `run`."""
        self._end.request()
        self._take_back()

    async def run(self) -> None:
        """Follow until the end is wanted; what goes wrong is an alarm, and tried again."""
        while not self._end.is_wanted:
            try:
                work = await self._work()
                if work is None:
                    await self._pause(LOOK_EVERY_S)
                    continue
                outcome = await self._generate(work)
                if outcome is not None and outcome.ended is not Ended.STOPPED:
                    await self._until_other_than(work)
            except SeedbedError as error:
                await self._after_failure(error)
            else:
                self._pause_s = FIRST_PAUSE_S
        self.ended.set()

    async def _generate(self, work: Work) -> Outcome | None:
        """Generate until the work is done, the leader wants another, or this service leads."""
        context, live = self._context, self._live
        async with live.teaching:
            if self._pool.is_led or self._end.is_wanted:
                return None
            live.phase = Phase.GENERATING
            try:
                async with (
                    tracing(context.workspace.config.telemetry) as traces,
                    submitting(self._pool.submissions, self._left) as submitter,
                    opened_teacher(context, live) as fleet,
                    opened_judge(context, fleet) as judge,
                    self._watched(work, submitter) as watch,
                ):
                    live.alarms.set(ALARM, "")
                    plan = await plan_of(context, fleet, self._shares(work), salt=self._pool.node)
                    return await run_engine(
                        context,
                        live,
                        fleet,
                        submitter,
                        plan,
                        Goal(work.target, watch),
                        watch.stop,
                        judge=judge,
                        traces=traces,
                        concurrency=work.intent.concurrency,
                    )
            finally:
                live.fleet, live.gauge = None, lambda: None
                live.phase = live.phase if self._pool.is_led else Phase.WAITING_FOR_LEADERSHIP

    def _shares(self, work: Work) -> dict[str, float]:
        """Return the leader's shares; what it does not train, as it holds it out, is not asked for here either."""
        return {one.name: work.shares.get(one.name, 0.0) for one in self._context.workspace.categories.trained}

    async def _work(self) -> Work | None:
        """Return what the leader wants; None where it wants nothing, and where this service leads."""
        if self._pool.is_led:
            return None
        work = await anyio.to_thread.run_sync(work_of, self._pool)
        return work if work is not None and work.is_open else None

    @asynccontextmanager
    async def _watched(self, work: Work, submitter: Submitter) -> AsyncIterator["_Watch"]:
        watch = _Watch(await anyio.to_thread.run_sync(self._pool.accepted_count))
        take_back = self._end.add(watch.stop.request)
        try:
            async with beside() as tasks:
                tasks.start_soon(self._look, work, watch, submitter)
                yield watch
        finally:
            take_back()

    async def _look(self, work: Work, watch: "_Watch", submitter: Submitter) -> None:
        """Note what the pool holds, and stop where the work is another; wait so long for what is not decided."""
        while not watch.stop.is_wanted:
            await anyio.sleep(LOOK_EVERY_S)
            with suppress(PoolError):
                watch.accepted = await anyio.to_thread.run_sync(self._pool.accepted_count)
                if await self._work() != work:
                    watch.stop.request()
        await anyio.sleep(self._context.workspace.config.generation.drain_grace_s + AFTER_DRAIN_S)
        submitter.give_up()

    async def _until_other_than(self, work: Work) -> None:
        while not self._end.is_wanted and await self._work() == work:
            await self._pause(LOOK_EVERY_S)

    async def _after_failure(self, error: SeedbedError) -> None:
        self._live.alarms.set(ALARM, f"this service generates nothing for the leader: {error}")
        if isinstance(error, PoolUnavailableError):
            await self._pause(LOOK_EVERY_S)  # the pool itself was waited for
            return
        self._context.events.emit("following.failed", reason=str(error), again_in_s=self._pause_s)
        await self._pause(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not through the end."""
        wanted = anyio.Event()
        take_back = self._end.add(wanted.set)
        with anyio.move_on_after(seconds):
            await wanted.wait()
        take_back()


@dataclass(slots=True)
class _Watch:
    """How many rows stand accepted, as the pool said lately, and whether to stop."""

    accepted: int
    stop: Stop = field(default_factory=Stop)

    def accepted_count(self) -> int:
        return self.accepted
