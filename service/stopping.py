"""Ctrl-C and SIGTERM: the first drains, the second stops at once."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from seedbed.core.errors import SeedbedError


class StoppedAtOnceError(SeedbedError):
    """A second signal came while draining."""

    exit_code = 130


class Stop:
    """Whether the operator wants an end, and what to do the moment he does."""

    def __init__(self) -> None:
        self.is_wanted = False
        self._actions: list[Callable[[], None]] = []

    def add(self, action: Callable[[], None]) -> Callable[[], None]:
        """Call `action` when a stop is wanted (at once if it already is); returns what takes it back."""
        self._actions.append(action)
        if self.is_wanted:
            action()
        return lambda: self._actions.remove(action)

    def request(self) -> None:
        """Ask for a stop; asking again changes nothing."""
        if not self.is_wanted:
            self.is_wanted = True
            for action in tuple(self._actions):
                action()


@asynccontextmanager
async def stopping_on_signals(say: Callable[[str], None]) -> AsyncIterator[Stop]:
    """Yield a `Stop` that the first SIGINT or SIGTERM requests; a second cancels the block.

    Raises:
        StoppedAtOnceError: A second signal came.
    """
    stop = Stop()
    at_once = False

    async def watch(scope: anyio.CancelScope) -> None:
        nonlocal at_once
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if stop.is_wanted:
                    at_once = True
                    scope.cancel()
                    return
                say("stopping: what is in flight may finish; a second Ctrl-C stops at once")
                stop.request()

    async with anyio.create_task_group() as group:
        group.start_soon(watch, group.cancel_scope)
        yield stop
        group.cancel_scope.cancel()
    if at_once:
        raise StoppedAtOnceError("stopped at once; everything reported accepted is stored")
