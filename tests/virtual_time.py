"""An asyncio event loop whose clock jumps to the next timer whenever nothing else is left to do.

Hours of waiting pass in milliseconds, and two runs with the same seed do the same. Use it for code that waits on
timers and on itself; threads and real sockets know nothing of it.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

ResultT = TypeVar("ResultT")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop with a clock of its own, starting at 1000 s."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class StuckError(AssertionError):
    """Everything waits for something that no timer will bring."""


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock on instead of sleeping."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise StuckError("nothing is left to do and no timer is set")
        self._loop.jump(timeout)
        return events


def run_virtually(main: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run an async function on virtual time."""
    return anyio.run(main, backend_options={"loop_factory": VirtualTimeLoop})
