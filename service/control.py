"""What the operator wants of a running service, stored so that a restart keeps it: run or pause, a target, limits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from seedbed.core.config import BudgetConfig
from seedbed.core.errors import InputError
from seedbed.core.events import Events
from seedbed.core.records import RunState, TrainingRun
from seedbed.pool.pool import Pool
from seedbed.pool.records import Intent, IntentState
from seedbed.service.stopping import Stop

T = TypeVar("T")


class Control:
    """Holds what is wanted. It lives in the event loop; what it stores is on disk before it takes effect.

    Running generates and trains. Paused does not generate, while a training that is due goes on. Draining begins
    nothing new at all; the service keeps answering.
    """

    def __init__(self, pool: Pool, events: Events, stop: Stop) -> None:
        self._pool, self._events, self._stop = pool, events, stop
        self.intent = pool.intent()
        self._actions: list[Callable[[], None]] = []
        self._training: Stop | None = None

    def read(self) -> None:
        """Read what is wanted again: another service may have stored it."""
        self.intent = self._pool.intent()

    async def set_state(self, state: IntentState) -> Intent:
        """Run, pause or drain; what is in flight may finish."""
        return await self._set(self.intent.model_copy(update={"state": state}))

    async def set_target(self, target: int | None) -> Intent:
        """Stop generating at so many accepted rows; None: go on for ever."""
        return await self._set(self.intent.model_copy(update={"target": target}))

    async def set_concurrency(self, concurrency: int | None) -> Intent:
        """Run so many recipes at once; None: as the config says. Generation starts again with it."""
        return await self._set(self.intent.model_copy(update={"concurrency": concurrency}))

    async def set_budget(self, max_tokens: int | None, max_cost: float | None) -> Intent:
        """Limit what is spent, 0 for no limit; None: as the config says. Generation starts again with it."""
        return await self._set(self.intent.model_copy(update={"max_tokens": max_tokens, "max_cost": max_cost}))

    async def set_shares(self, shares: dict[str, float], reason: str) -> None:
        """Store target shares; generation starts again with them."""
        await anyio.to_thread.run_sync(self._pool.set_shares, shares, reason)
        self._events.emit("control.shares", shares=shares, reason=reason)
        self._wake()

    def look_again(self) -> None:
        """Let generation drain and the rounds look again at what is wanted."""
        self._wake()

    def stop(self) -> None:
        """Drain and end the process. This is not stored: who starts the service again wants it to run."""
        self._events.emit("control.stopping")
        self._stop.request()

    async def start_training(self) -> TrainingRun:
        """Train on what is accepted now, before the next round's threshold is reached.

        Raises:
            InputError: There is nothing new to train on.
        """
        run = await anyio.to_thread.run_sync(self._pool.trigger_early)
        if run is None:
            raise InputError("there is no accepted row to train on, or a training is due already")
        self._events.emit("control.training", round=run.round, accepted=run.threshold)
        self._wake()
        return run

    async def cancel_training(self, round: int) -> TrainingRun:
        """End a round's training for good; its rows count for the next round.

        Raises:
            InputError: That round is not waiting or running.
        """
        run = await anyio.to_thread.run_sync(self._pool.run, round)
        if run is None or run.state not in {RunState.WAITING, RunState.RUNNING, RunState.FAILED}:
            raise InputError(f"round {round} has no training to cancel")
        cancelled = run.model_copy(update={"state": RunState.CANCELLED, "last_error": ""})
        await anyio.to_thread.run_sync(self._pool.update_run, cancelled)
        self._events.emit("control.cancelled", round=round)
        if self._training is not None:
            self._training.request()
        return cancelled

    def limit(self, threshold: int) -> int:
        """Return the accepted rows to generate to: the round's threshold, or the operator's target before it."""
        target = self.intent.target
        return threshold if target is None else min(threshold, target)

    @property
    def may_generate(self) -> bool:
        return self.intent.state is IntentState.RUNNING

    @property
    def may_train(self) -> bool:
        return self.intent.state is not IntentState.DRAINING

    @property
    def end(self) -> Stop:
        """Wanted when the process is to end."""
        return self._stop

    @property
    def is_stopping(self) -> bool:
        """The process is to end."""
        return self._stop.is_wanted

    @contextmanager
    def interrupting(self) -> Iterator[Stop]:
        """Yield a stop for generation: wanted when the process is to end, and at any change of what is wanted."""
        inner = Stop()
        take_back = self._stop.add(inner.request)
        self._actions.append(inner.request)
        try:
            yield inner
        finally:
            self._actions.remove(inner.request)
            take_back()

    @contextmanager
    def cancelling(self) -> Iterator[Stop]:
        """Yield a stop for training: wanted when the process is to end, and when the training is cancelled."""
        self._training = inner = Stop()
        take_back = self._stop.add(inner.request)
        try:
            yield inner
        finally:
            self._training = None
            take_back()

    async def change(self) -> None:
        """Wait for a change of what is wanted, or for a stop."""
        with self.interrupting() as stop:
            wanted = anyio.Event()
            stop.add(wanted.set)
            await wanted.wait()

    async def _set(self, intent: Intent) -> Intent:
        await anyio.to_thread.run_sync(self._pool.set_intent, intent)
        self.intent = intent
        wanted = intent.model_dump(mode="json", exclude_none=True)
        self._events.emit("control.changed", **wanted)
        self._wake()
        return intent

    def _wake(self) -> None:
        for action in tuple(self._actions):
            action()


def may_run(pool: Pool, rounds: int) -> None:
    """See to it that a run without a service, of which nothing can be wanted on the way, does not wait for ever.

    Raises:
        InputError: What is wanted does not let it come to the end of `rounds` rounds.
    """
    intent = pool.intent()
    if intent.state is not IntentState.RUNNING:
        raise InputError(f"this workspace is {intent.state}; `seedbed control start` lets it run")
    threshold = pool.threshold(rounds - 1)
    if intent.target is not None and intent.target < threshold and pool.run(rounds - 1) is None:
        raise InputError(
            f"generation is to stop at {intent.target} accepted rows, and round {rounds - 1} needs {threshold}: "
            "`seedbed control target none` lifts that"
        )


def budget_that_holds(intent: Intent, config: BudgetConfig) -> BudgetConfig:
    """Return the operator's budget where one was set, otherwise the config's."""
    wanted = {"max_tokens": intent.max_tokens, "max_cost": intent.max_cost}
    return config.model_copy(update={name: value for name, value in wanted.items() if value is not None})
