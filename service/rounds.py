"""The lifecycle: generate, freeze, train, evaluate, promote or hold, next round.

No phase is remembered: what to do next follows from what is stored, so a process that dies anywhere goes on where
it was. No run row means generate; a run without a snapshot, freeze; with a snapshot but no adapter, train; with an
adapter but no report, evaluate; with a report but an undecided adapter, promote or hold.
"""

import random
import time
from collections.abc import Callable

import anyio
import anyio.to_thread

from seedbed.core.errors import (
    EndpointUnreachableError,
    EvaluationError,
    GpuLeaseError,
    LeakError,
    NotLeadingError,
    PoolUnavailableError,
    SeedbedError,
    TrainingError,
)
from seedbed.core.files import is_of_the_disk
from seedbed.core.load import fingerprint
from seedbed.core.records import Adapter, Phase, RunState, Snapshot, TrainingRun
from seedbed.core.reports import EvalReport
from seedbed.endpoints.fleet import beside
from seedbed.generator.counters import Ended, Outcome
from seedbed.pool.snapshot import freeze
from seedbed.service.comparing import compare_answers
from seedbed.service.context import Context
from seedbed.service.control import Control
from seedbed.service.crew import watch_crew
from seedbed.service.evaluating import evaluate, report_folder
from seedbed.service.evaluations import asked_for, evaluate_asked_for
from seedbed.service.following import following
from seedbed.service.generation import generate
from seedbed.service.keeper import Keeper
from seedbed.service.leading import until_leading, watched_leadership
from seedbed.service.leaks import LeakCheck
from seedbed.service.lease import check_lease
from seedbed.service.live import Live, evaluation_gauge, training_gauge
from seedbed.service.promotion import apply_decision
from seedbed.service.prune import prune_daily
from seedbed.service.shares import follow_scores
from seedbed.service.stopping import Stop
from seedbed.service.training import adapter_folder, train
from seedbed.service.work import close_work

GIVEN_UP = "round"
"""The cause of the alarm."""
POOL_PAUSE_S, LONGEST_POOL_PAUSE_S = 1.0, 30.0
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 600.0
AGAIN_S = 30.0


class Rounds:
    """Runs rounds one after the other; `live` tells what it is at."""

    def __init__(self, context: Context, stop: Stop, live: Live, *, now: Callable[[], float] = time.time) -> None:
        self._context, self._stop, self._live, self._now = context, stop, live, now
        self._has_generated = False
        self._keeper = Keeper(context, live)
        self._control = live.control or Control(context.pool, context.events, stop)

    async def run(self, rounds: int | None = None) -> int:
        """Run until `rounds` rounds are decided, those of earlier runs counted, or stopped; returns how many are.

        Without a number it goes on when a round's training or evaluation is given up: the alarm stands until a
        later round is decided, and the rows count for the next round.

        Raises:
            SeedbedError: A phase failed for good, and `rounds` were asked for.
        """
        async with following(self._context, self._stop, self._live):
            while await until_leading(self._context, self._stop, self._live):
                self._control.read()
                try:
                    return await self._leading(rounds)
                except NotLeadingError as error:
                    self._context.events.emit("leadership.lost", reason=str(error))
        self._live.phase, self._live.gauge = Phase.STOPPED, lambda: None
        return 0

    async def _leading(self, rounds: int | None) -> int:
        await check_lease(self._context)
        async with self._keeper.alone:
            await self._keeper.look()  # first of all, who was left asleep is woken
        async with watched_leadership(self._context.pool), beside() as tasks:
            tasks.start_soon(self._keeper.watch)
            if self._context.pool.is_shared:
                tasks.start_soon(watch_crew, self._context, self._live)
            return await self._run(rounds)

    async def _run(self, rounds: int | None) -> int:
        number = 0
        while rounds is None or number < rounds:
            try:
                if not await self._round(number):
                    break
            except PoolUnavailableError as error:
                if self._stop.is_wanted:
                    raise
                await self._until_writable(error)
                continue
            except OSError as error:
                if self._stop.is_wanted or not is_of_the_disk(error):
                    raise
                await self._until_writable(error)
                continue
            except (TrainingError, EvaluationError, LeakError) as error:
                if rounds is not None or self._stop.is_wanted:
                    raise
                self._context.events.emit("round.given_up", round=number, error=str(error))
                self._live.alarms.set(GIVEN_UP, f"round {number} is given up: {error}")
            else:
                self._live.alarms.set(GIVEN_UP, "")
            number += 1
        self._live.phase, self._live.gauge = Phase.STOPPED, lambda: None
        return number

    async def _until_writable(self, error: OSError) -> None:
        """Wait until the pool takes a write again, or a stop comes; what it holds can be read meanwhile.

        A file beside it that could not be written for the disk's sake is waited for as the pool is.
        """
        self._live.phase, self._live.gauge, pause_s = Phase.PAUSED, lambda: None, POOL_PAUSE_S
        while not self._stop.is_wanted:
            self._live.alarms.set("pool", f"work waits until the pool can be written: {error}")
            await self._pause(pause_s)
            try:
                await anyio.to_thread.run_sync(self._context.pool.note, "writable", f"{self._now():.0f}")
            except PoolUnavailableError as still:
                error, pause_s = still, min(2 * pause_s, LONGEST_POOL_PAUSE_S)
            else:
                break
        self._live.alarms.set("pool", "")

    async def _round(self, number: int) -> bool:
        """Do what is left of one round; False where a stop came first."""
        run = await self._triggered(number)
        if run is None or self._stop.is_wanted:
            return False
        await close_work(self._context.pool)
        if run.state is RunState.CANCELLED:
            return True
        while not self._control.may_train and not self._stop.is_wanted:
            self._live.phase = Phase.PAUSED
            await self._control.change()
        run = await self._frozen(run)
        made = await self._made_with_gpu(run)
        if made is None:
            return not self._stop.is_wanted  # cancelled: the rows count for the next round
        adapter, report = made
        report = await compare_answers(self._context, adapter, report, self._stop, self._live)
        if self._stop.is_wanted:
            return False
        self._live.phase, self._live.gauge = Phase.PROMOTING, lambda: None
        follow_scores(self._context, report)
        apply_decision(self._context, adapter, report)
        async with self._context.snapshots_lock:
            await anyio.to_thread.run_sync(prune_daily, self._context, self._stop, self._now)
        async with self._keeper.alone:
            await self._keeper.look()
        return True

    async def _made_with_gpu(self, run: TrainingRun) -> tuple[Adapter, EvalReport] | None:
        """Train and evaluate while the servers that share the GPU sleep, asking again where one would not.

        Raises:
            GpuLeaseError: One would not, `training.max_attempts` times.
        """
        pause_s = FIRST_PAUSE_S
        for _ in range(self._context.workspace.config.training.max_attempts - 1):
            try:
                async with self._keeper.gpu():
                    return await self._made(run)
            except GpuLeaseError as error:
                if self._stop.is_wanted:
                    raise
                self._context.events.emit("gpu.awaited", round=run.round, reason=str(error), again_in_s=pause_s)
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        async with self._keeper.gpu():
            return await self._made(run)

    async def _made(self, run: TrainingRun) -> tuple[Adapter, EvalReport] | None:
        with self._control.cancelling() as stop:
            adapter = await self._trained(run, stop)
        if adapter is None or self._stop.is_wanted:
            return None
        report = await self._evaluated(adapter)
        return None if report is None else (adapter, report)

    async def _triggered(self, number: int) -> TrainingRun | None:
        """Return the round's run, generating until its threshold is reached; None where a stop came first.

        Raises:
            SeedbedError: Generation ended before, though nobody stopped it: the budget is spent.
        """
        pool = self._context.pool
        run = pool.run(number)
        if run is not None:
            return run
        outcome = await self._generated(number)
        run = pool.run(number)
        if run is None and outcome is not None and not self._stop.is_wanted:
            raise SeedbedError(f"generation ended before round {number} was reached: {outcome.message}")
        return run

    async def _generated(self, number: int) -> Outcome | None:
        """Generate until the round is triggered, a stop comes, or generation ends by itself.

        What the operator wants may change meanwhile: then it drains and looks again.
        """
        pool, control = self._context.pool, self._control
        while True:
            if control.may_train and asked_for(pool):
                await close_work(pool)
                await evaluate_asked_for(self._context, self._keeper, self._live, self._stop)
            target = control.limit(pool.threshold(number))
            if self._wants_rows(number):
                with control.interrupting() as stop:
                    outcome = await self._generated_to(target, stop, number)
                    await self._wait_for_budget(outcome)
                if not stop.is_wanted and target == pool.threshold(number):
                    return outcome
            else:
                pool.fire_due()
            if self._stop.is_wanted or pool.run(number) is not None:
                return None
            if not self._wants_rows(number):
                await close_work(pool)
                self._live.phase, self._live.gauge = Phase.PAUSED, lambda: None
                await control.change()

    def _wants_rows(self, number: int) -> bool:
        """Whether rows of a round are wanted, by the operator and by what is in the pool."""
        limit = self._control.limit(self._context.pool.threshold(number))
        return self._control.may_generate and self._context.pool.accepted_count() < limit

    def _goes_on(self, number: int) -> bool:
        """Whether generation that is stopped begins again: here, or in a service that takes over when this one ends."""
        pool = self._context.pool
        return self._wants_rows(number) and pool.run(number) is None and not asked_for(pool)

    async def _wait_for_budget(self, outcome: Outcome | None) -> None:
        """Wait for a change of what is wanted where the budget is spent and somebody can raise it."""
        if outcome is None or outcome.ended is not Ended.BUDGET or self._live.control is None:
            return
        self._live.phase, self._live.gauge = Phase.PAUSED, lambda: None
        self._live.alarms.set("budget", outcome.message)
        await self._control.change()
        self._live.alarms.set("budget", "")

    async def _generated_to(self, target: int, stop: Stop, number: int) -> Outcome | None:
        """Generate; a server that answered before and does not now is waited for, since nobody watches.

        Raises:
            EndpointError: It did not answer at the very start, when somebody does.
        """
        while True:
            try:
                outcome = await generate(
                    self._context,
                    target=target,
                    stop=stop,
                    live=self._live,
                    goes_on=lambda: self._goes_on(number),
                )
            except EndpointUnreachableError as error:
                if not self._has_generated or stop.is_wanted:
                    raise
                self._context.events.emit("endpoint.awaited", reason=str(error), again_in_s=AGAIN_S)
                await self._pause(AGAIN_S)
            else:
                self._has_generated = True
                return outcome

    async def _pause(self, seconds: float) -> None:
        """Wait, but not through a stop."""
        wanted = anyio.Event()
        take_back = self._stop.add(wanted.set)
        with anyio.move_on_after(seconds):
            await wanted.wait()
        take_back()

    async def _frozen(self, run: TrainingRun) -> TrainingRun:
        if run.snapshot_id and (run.adapter_id or (self._context.workspace.snapshots / run.snapshot_id).exists()):
            return run  # one that another service froze, elsewhere, is frozen here anew
        self._live.phase = Phase.FREEZING
        async with self._context.snapshots_lock:
            snapshot = await anyio.to_thread.run_sync(freeze_snapshot, self._context, run.round, self._now)
            frozen = run.model_copy(update={"snapshot_id": snapshot.id})
            self._context.pool.update_run(frozen)
        return frozen

    async def _trained(self, run: TrainingRun, stop: Stop) -> Adapter | None:
        """Train, trying again with growing pauses; failed attempts are limited over all restarts."""
        known = {adapter.id: adapter for adapter in self._context.pool.adapters()}
        if run.adapter_id in known:
            return known[run.adapter_id]
        self._live.phase = Phase.TRAINING
        self._live.gauge = training_gauge(adapter_folder(self._context, run))
        limit, pause_s = self._context.workspace.config.training.max_attempts, FIRST_PAUSE_S
        while True:
            try:
                return await train(self._context, self._context.pool.run(run.round) or run, stop, self._now)
            except TrainingError:
                attempts = self._context.pool.attempts(run.round)
                if sum(attempt.state == RunState.FAILED for attempt in attempts) >= limit or stop.is_wanted:
                    raise
            await self._pause(pause_s * random.uniform(0.8, 1.2))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _evaluated(self, adapter: Adapter) -> EvalReport | None:
        """Evaluate, trying again as training does; a process that starts anew begins to count anew."""
        for report in self._context.pool.reports():
            if report.adapter_id == adapter.id:
                return report
        self._live.phase = Phase.EVALUATING
        self._live.gauge = evaluation_gauge(report_folder(self._context, adapter))
        pause_s = FIRST_PAUSE_S
        for _ in range(self._context.workspace.config.training.max_attempts - 1):
            try:
                return await evaluate(self._context, adapter, self._stop)
            except EvaluationError:
                if self._stop.is_wanted:
                    raise
            await self._pause(pause_s * random.uniform(0.8, 1.2))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return await evaluate(self._context, adapter, self._stop)


def freeze_snapshot(context: Context, round: int, now: Callable[[], float] = time.time) -> Snapshot:
    """Freeze what the pool has accepted.

    Raises:
        LeakError: A row overlaps with a held-out task.
    """
    config = context.workspace.config
    snapshot = freeze(
        context.pool,
        context.workspace.snapshots,
        round=round,
        held_out=context.workspace.held_out,
        validation_share=config.pool.validation_share,
        seed=config.training.seed,
        config_fingerprint=fingerprint(config),
        check=LeakCheck(context.workspace),
        now=now,
    )
    context.events.emit("snapshot.frozen", round=round, snapshot=snapshot.id, rows=snapshot.train_rows)
    return snapshot
