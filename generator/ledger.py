"""Writing down what is asked and answered, many at a time: one commit for all that wait, in another thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from seedbed.core.errors import SeedbedError
from seedbed.core.records import Completion, Request

ItemT = TypeVar("ItemT")


class Ledger(Protocol):
    """The pool as the engine sees it. Each call returns when what it wrote is durable."""

    async def asked(self, request: Request) -> None: ...

    async def answered(self, completion: Completion) -> None: ...

    async def failed(self, request: Request, error: SeedbedError) -> None: ...


@dataclass(slots=True, eq=False)
class _Ticket(Generic[ItemT]):
    item: ItemT
    is_taken: bool = False
    is_written: bool = False
    error: Exception | None = None


class Grouped(Generic[ItemT]):
    """Lets any number of coroutines write single items through a function that writes many.

    Whoever comes first writes for all that wait; while it does, the next group gathers. No task of its own.
    """

    def __init__(self, write: Callable[[Sequence[ItemT]], None], most: int = 1024) -> None:
        self._write, self._most = write, most
        self._waiting: list[_Ticket[ItemT]] = []
        self._lock = anyio.Lock()

    async def add(self, item: ItemT) -> None:
        """Write `item` and return when it is written; what the writing function raises is raised here."""
        ticket = _Ticket(item)
        self._waiting.append(ticket)
        try:
            async with self._lock:
                while not ticket.is_written and ticket.error is None:
                    await self._write_group()
        finally:
            if not ticket.is_taken:
                self._waiting.remove(ticket)
        if ticket.error is not None:
            raise ticket.error

    async def _write_group(self) -> None:
        group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        for ticket in group:
            ticket.is_taken = True
        try:
            await anyio.to_thread.run_sync(self._write, [ticket.item for ticket in group])
        except Exception as error:  # noqa: BLE001 - it is raised again, in every coroutine of the group
            for ticket in group:
                ticket.error = error
        else:
            for ticket in group:
                ticket.is_written = True


class GroupedLedger:
    """A ledger over three functions that write many at once, such as those of the pool."""

    def __init__(
        self,
        *,
        add_requests: Callable[[Sequence[Request]], None],
        add_completions: Callable[[Sequence[Completion]], None],
        add_failures: Callable[[Sequence[tuple[Request, SeedbedError]]], None],
    ) -> None:
        self._requests = Grouped(add_requests)
        self._completions = Grouped(add_completions)
        self._failures = Grouped(add_failures)

    async def asked(self, request: Request) -> None:
        await self._requests.add(request)

    async def answered(self, completion: Completion) -> None:
        await self._completions.add(completion)

    async def failed(self, request: Request, error: SeedbedError) -> None:
        await self._failures.add((request, error))
