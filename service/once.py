"""Idempotency keys: a request that changes something and comes again under its key gets its first answer."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Header, HTTPException, Request
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from seedbed.core.errors import InputError
from seedbed.pool.pool import Pool

Key = Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[A-Za-z0-9_-]{1,64}$")]
PREFIX = "once/"
KEPT_S = 24 * 3600.0
MAX_KEPT = 10_000
SWEEP_EVERY_S = 600.0
CUT_OFF = "the first request of this Idempotency-Key was cut off and may have acted; look, and take a new key"


class Once:
    """Remembers answers by key in the pool for a day, so a restart keeps them; one request of a key runs at a time.

    That a request has begun is noted before it acts. A process that dies on the way leaves that note, and then nobody
    knows whether it had acted: where acting twice does harm, the same request is not acted on again.
    """

    def __init__(self, pool: Pool, now: Callable[[], float] = time.time) -> None:
        self._pool, self._now = pool, now
        self._running: set[str] = set()
        self._swept_at = float("-inf")

    async def answer(
        self,
        request: Request,
        key: str | None,
        act: Callable[[], Awaitable[BaseModel]],
        *,
        body_sha256: str = "",
        is_repeatable: bool = False,
    ) -> Any:
        """Act, or answer as the first request of this key was answered.

        Args:
            request: What is asked.
            key: Its key; None: it is acted on in any case.
            act: Does it.
            body_sha256: Of a body that was read already.
            is_repeatable: Acting twice comes to the same as acting once.

        Raises:
            HTTPException: The key was used for another request (422), that one is still being answered, or it was cut
                off and may have acted (409).
        """
        if key is None:
            return to_jsonable_python(await act())
        body = body_sha256.encode() or await request.body()
        asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
        fingerprint = hashlib.sha256(asked + body).hexdigest()
        name = PREFIX + hashlib.sha256(key.encode()).hexdigest()
        async with self._alone(name):
            await self._sweep()
            first = await self._first(name, fingerprint)
            if first is not None and "answer" in first:
                return first["answer"]
            if first is not None and not is_repeatable:
                raise HTTPException(409, CUT_OFF)
            await self._note(name, {"request": fingerprint})
            try:
                answer = to_jsonable_python(await act())
            except (HTTPException, InputError):
                await anyio.to_thread.run_sync(self._pool.forget, [name])  # refused, so that it may be asked again
                raise
            await self._note(name, {"request": fingerprint, "answer": answer})
            return answer

    async def _first(self, name: str, fingerprint: str) -> dict[str, Any] | None:
        """Return what is noted of the first request of a key.

        Raises:
            HTTPException: That was another one.
        """
        stored = await anyio.to_thread.run_sync(self._pool.noted, name)
        first: dict[str, Any] | None = json.loads(stored) if stored else None
        if first is None or self._is_old(first):
            return None
        if first["request"] != fingerprint:
            raise HTTPException(422, "this Idempotency-Key was used for another request; take a new one")
        return first

    async def _note(self, name: str, record: dict[str, Any]) -> None:
        await anyio.to_thread.run_sync(self._pool.note, name, json.dumps({"at": self._now(), **record}))

    async def _sweep(self) -> None:
        """Now and then, drop what is too old, and the oldest of too many."""
        if self._now() - self._swept_at < SWEEP_EVERY_S:
            return
        self._swept_at = self._now()
        notes = await anyio.to_thread.run_sync(self._pool.notes, PREFIX)
        kept = {name: record for name, text in notes.items() if not self._is_old(record := json.loads(text))}
        newest = sorted(kept, key=lambda name: -kept[name]["at"])[:MAX_KEPT]
        dropped = set(notes) - set(newest)
        if dropped:
            await anyio.to_thread.run_sync(self._pool.forget, sorted(dropped))

    def _is_old(self, record: dict[str, Any]) -> bool:
        return bool(self._now() - record.get("at", 0.0) > KEPT_S)

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        if name in self._running:
            raise HTTPException(409, "a request with this Idempotency-Key is being answered; ask again")
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)
