"""Keeps the serving endpoint at what is in service, beside the rounds: looks now and then, and at once when told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from seedbed.core.errors import SeedbedError
from seedbed.core.records import Serving, ServingState
from seedbed.service.context import Context
from seedbed.service.in_service import sentence_of
from seedbed.service.lease import leased_gpu, sharing, wake_sleepers
from seedbed.service.live import Live
from seedbed.service.serving import bring_into_service

LOOK_EVERY_S = 30.0
AFTER_REFUSAL_S = 600.0
"""A refusal needs a person, and each look at it loads and tries the adapter."""


class Keeper:
    """One at a time: what wants the server for itself holds `alone`."""

    def __init__(self, context: Context, live: Live) -> None:
        self._context, self._live = context, live
        self.alone = anyio.Lock()

    async def watch(self) -> None:
        """Look until cancelled: a server that was started anew has forgotten its adapters."""
        while True:
            async with self.alone:
                serving = await self.look()
            is_refused = serving is not None and serving.state is ServingState.REFUSED
            await anyio.sleep(AFTER_REFUSAL_S if is_refused else LOOK_EVERY_S)

    @asynccontextmanager
    async def gpu(self) -> AsyncIterator[None]:
        """Hold the GPU for the block, where servers share it; afterwards their adapter is loaded and tried again.

        Raises:
            GpuLeaseError: A server would not sleep.
        """
        if not sharing(self._context):
            yield
            return
        async with self.alone:
            try:
                async with leased_gpu(self._context):
                    yield
            finally:
                await self.look(again=True)

    async def look(self, *, again: bool = False) -> Serving | None:
        """Look once, while holding `alone`; None where it failed, which is told and stops nothing.

        Args:
            again: Load and try the adapter again, since the server's memory was given away meanwhile.
        """
        name = self._context.workspace.config.serving
        asleep = await wake_sleepers(self._context)
        said = "; ".join(f"endpoint {one} was put to sleep and may sleep still: {why}" for one, why in asleep.items())
        self._live.alarms.set("gpu", said)
        if name in asleep:
            return None
        url = "" if self._live.fleet is None else self._live.fleet.base_urls.get(name, "")
        try:
            serving = await bring_into_service(self._context, url, again=again)
        except SeedbedError as error:
            self._live.alarms.set("serving", f"the adapter in service could not be looked after: {error}")
            return None
        is_managed = bool(name) and bool(self._context.workspace.config.endpoint(name).managed)
        is_wrong = serving.state is ServingState.REFUSED or (serving.state is ServingState.WAITING and not is_managed)
        self._live.alarms.set("serving", sentence_of(serving) if is_wrong else "")
        return serving
