"""What many ask for and what takes some work: made anew at most so often, and at once after a change over HTTP."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedbed.service.guarding import SAFE_METHODS

T = TypeVar("T")

EVERY_S = 0.5


class Recent(Generic[T]):
    """A value that is at most `every_s` old; safe to ask from any thread."""

    def __init__(
        self, make: Callable[[], T], every_s: float = EVERY_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._make, self._every_s, self._now = make, every_s, now
        self._lock = threading.Lock()
        self._changes = 0
        self._kept: tuple[T, int, float] | None = None

    def __call__(self) -> T:
        """Return it; where several ask for one that is too old, one of them makes it."""
        with self._lock:
            if (kept := self.fresh()) is not None:
                return kept
            changes, at = self._changes, self._now()
            value = self._make()
            self._kept = (value, changes, at)
            return value

    def fresh(self) -> T | None:
        """Return it where none need be made, at once."""
        kept = self._kept
        is_fresh = kept is not None and kept[1] == self._changes and self._now() - kept[2] < self._every_s
        return kept[0] if kept is not None and is_fresh else None

    def forget(self) -> None:
        """Let the next who asks get one that is made after this call."""
        self._changes += 1


async def without_waiting(make: Callable[[], T]) -> T:
    """Ask for a value: at once where it is recent, else in a thread, for making it takes a while."""
    if isinstance(make, Recent) and (kept := make.fresh()) is not None:
        return cast("T", kept)
    return await anyio.to_thread.run_sync(make)


class ForgetAfterChanges:
    """ASGI middleware: who changed something and asks afterwards sees the change."""

    def __init__(self, app: ASGIApp, forget: Callable[[], None]) -> None:
        self._app, self._forget = app, forget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return

        async def forgetting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._forget()
            await send(message)

        await self._app(scope, receive, forgetting)
