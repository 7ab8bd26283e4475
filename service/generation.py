"""The generation phase: indexes loaded, servers opened, the engine run until the pool has what was asked for."""

import asyncio

from seedbed.core.errors import EndpointError
from seedbed.core.records import Completion, Request
from seedbed.pool.pool import Pool, RequestFailure


class PoolLedger:
    """The pool as the engine sees it: every question stored before it is sent, every answer when it comes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def asked(self, request: Request) -> None:
        await asyncio.wrap_future(self._pool.submit_requests([request]))

    async def answered(self, completion: Completion) -> None:
        await asyncio.wrap_future(self._pool.submit_completions([completion]))

    async def failed(self, request: Request, error: EndpointError) -> None:
        failure = RequestFailure(request.id, type(error).__name__, str(error))
        await asyncio.wrap_future(self._pool.submit_failures([failure]))

    async def unreadable(self, request: Request, reason: str, text: str) -> None:
        await asyncio.wrap_future(self._pool.submit_unreadable(request.id, reason, text))
