"""The pool as the engine sees it: every question stored before it is sent, every answer when it comes."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from seedbed.core.errors import PoolError, PoolFullError, SeedbedError
from seedbed.core.records import Completion, Request
from seedbed.pool.pool import Pool
from seedbed.pool.records import RequestFailure, Unreadable

T = TypeVar("T")

GATHER_S, BUSY_BATCH = 0.04, 4
"""Where so many callers came at once, the next batch gathers so long: nothing beside the seconds that an answer takes,
and a commit of 25 rows costs each a third of what one of 5 does."""


class PoolLedger:
    """Writes for thousands of callers at once; each call returns when what it wrote is on disk."""

    def __init__(self, pool: Pool) -> None:
        self._asked = Gathering(pool.submit_requests)
        self._answered = Gathering(pool.submit_completions)
        self._failed = Gathering(pool.submit_failures)
        self._unreadable = Gathering(pool.submit_unreadable)

    async def asked(self, request: Request) -> None:
        await self._asked.put(request)

    async def answered(self, completion: Completion) -> None:
        await self._answered.put(completion)

    async def failed(self, request: Request, error: SeedbedError) -> None:
        await self._failed.put(RequestFailure(request.id, type(error).__name__, str(error)))

    async def unreadable(self, request: Request, reason: str, text: str) -> None:
        await self._unreadable.put(Unreadable(request.id, reason, text))


class Gathering(Generic[T]):
    """Submits what callers bring in batches: while one is being committed the next gathers.

    One future and one wake-up from the writer's thread serve a whole batch; one for each row cost more than the rows.
    Belongs to one event loop.
    """

    def __init__(self, submit: Callable[[Sequence[T]], "Future[None]"]) -> None:
        self._submit = submit
        self._next: dict[asyncio.Future[None], T] = {}
        self._is_busy = False

    async def put(self, item: T) -> None:
        """Store an item; a caller that is cancelled before its batch was submitted has stored nothing.

        Raises:
            PoolError: It could not be stored.
        """
        # anyio has no bridge from a thread's future; the transport ties us to asyncio anyway.
        loop = asyncio.get_running_loop()
        stored = loop.create_future()
        self._next[stored] = item
        if not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._send, loop)
        try:
            await stored
        except asyncio.CancelledError:
            self._next.pop(stored, None)
            raise

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._next = self._next, {}
        if not batch:
            self._is_busy = False
            return
        self._submit_batch(loop, batch, self._send)

    def _submit_batch(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: dict["asyncio.Future[None]", T],
        then: Callable[[asyncio.AbstractEventLoop], None],
    ) -> None:
        def settle(written: "Future[None]") -> None:
            self._settle(loop, batch, written.exception())
            if len(batch) >= BUSY_BATCH:
                loop.call_later(GATHER_S, then, loop)
            else:
                then(loop)

        try:
            written = self._submit(list(batch.values()))
        except PoolError as error:
            self._settle(loop, batch, error)
            loop.call_soon(then, loop)
        else:
            written.add_done_callback(lambda done: loop.call_soon_threadsafe(settle, done))

    def _settle(
        self, loop: asyncio.AbstractEventLoop, batch: dict["asyncio.Future[None]", T], error: BaseException | None
    ) -> None:
        if error is not None and len(batch) > 1 and not isinstance(error, PoolFullError):
            for stored, item in batch.items():  # one of them is at fault, and the others are not to suffer for it
                self._submit_batch(loop, {stored: item}, lambda _: None)
            return
        for stored in batch:
            if stored.done():
                continue
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)
