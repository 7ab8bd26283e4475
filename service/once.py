"""Idempotency keys: a request that changes something and comes again under its key gets its first answer."""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Header, HTTPException, Request
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from seedbed.pool.pool import Pool

Key = Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Once:
    """Remembers answers by key in the pool, so a restart keeps them; one request of a key runs at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._running: set[str] = set()

    async def answer(self, request: Request, key: str | None, act: Callable[[], Awaitable[BaseModel]]) -> Any:
        """Act, or answer as the first request of this key was answered.

        Raises:
            HTTPException: The key was used for another request (422), or that one is still being answered (409).
        """
        if key is None:
            return to_jsonable_python(await act())
        body = await request.body()
        fingerprint = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()
        name = "once/" + hashlib.sha256(key.encode()).hexdigest()
        async with self._alone(name):
            stored = await anyio.to_thread.run_sync(self._pool.noted, name)
            if stored is not None:
                first = json.loads(stored)
                if first["request"] != fingerprint:
                    raise HTTPException(422, "this Idempotency-Key was used for another request; take a new one")
                return first["answer"]
            answer = to_jsonable_python(await act())
            text = json.dumps({"request": fingerprint, "answer": answer})
            await anyio.to_thread.run_sync(self._pool.note, name, text)
            return answer

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        if name in self._running:
            raise HTTPException(409, "a request with this Idempotency-Key is being answered; ask again")
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)
