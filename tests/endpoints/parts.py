"""What the tests of the endpoints share: requests, and fleets of endpoints that behave as a test says."""

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from seedbed.core.config import BudgetConfig, EndpointConfig
from seedbed.core.events import Event, Events
from seedbed.core.records import Completion, FinishReason, Message, Request, Sampling, Spent
from seedbed.endpoints.budget import Budget
from seedbed.endpoints.fleet import Fleet, running
from seedbed.endpoints.lane import Lane
from seedbed.endpoints.protocol import Capabilities, Endpoint

_NUMBERS = itertools.count()


def make_request(text: str = "Name a colour.", **sampling: Any) -> Request:
    messages = (Message(role="user", content=text),)
    return Request(id=f"r{next(_NUMBERS)}", purpose="test", messages=messages, sampling=Sampling(**sampling))


def make_config(name: str = "local", base_url: str = "http://127.0.0.1:1/v1", **settings: Any) -> EndpointConfig:
    return EndpointConfig(**{"name": name, "base_url": base_url, "model": "scripted", **settings})


def make_completion(request: Request, text: str = "blue", **fields: Any) -> Completion:
    known = {"prompt_tokens": 10, "completion_tokens": 5, "model": "scripted", "endpoint": "local", "latency_s": 1.0}
    return Completion(request_id=request.id, text=text, finish_reason=FinishReason.STOP, **{**known, **fields})


class Behaving:
    """An endpoint that does what a function does, and counts how many are inside."""

    def __init__(self, behave: Callable[[Request], Awaitable[Completion]], name: str = "local") -> None:
        self.name, self.model = name, "scripted"
        self.inside = self.most_inside = self.calls = 0
        self.answered = 0
        self._behave = behave

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        try:
            completion = await self._behave(request)
        finally:
            self.inside -= 1
        self.answered += 1
        return completion

    async def aclose(self) -> None:
        pass


def answering(after_s: float = 1.0, name: str = "local", text: str = "blue") -> Behaving:
    async def behave(request: Request) -> Completion:
        await anyio.sleep(after_s)
        return make_completion(request, text, endpoint=name)

    return Behaving(behave, name)


def failing_first(errors: Sequence[Exception], after_s: float = 1.0, name: str = "local") -> Behaving:
    """An endpoint that raises these errors, one a call, and then answers."""
    left = list(errors)

    async def behave(request: Request) -> Completion:
        if left:
            raise left.pop(0)
        await anyio.sleep(after_s)
        return make_completion(request, endpoint=name)

    return Behaving(behave, name)


@asynccontextmanager
async def fleet_of(
    *endpoints: Endpoint,
    budget: BudgetConfig | None = None,
    spent: Spent | None = None,
    max_attempts: int = 6,
    seed: int = 0,
    told: list[Event] | None = None,
    **settings: Any,
) -> AsyncIterator[Fleet]:
    """Run a fleet of these endpoints, all with the same settings."""
    rng = random.Random(seed)
    now = anyio.current_time()
    lanes = [Lane(each, make_config(each.name, **settings), now=now, rng=rng) for each in endpoints]
    events = Events()
    if told is not None:
        events.add(told.append)

    async def capabilities() -> Capabilities:
        return Capabilities(answers=True)

    fleet = Fleet(
        lanes,
        budget=Budget(budget or BudgetConfig(), spent or Spent()),
        max_attempts=max_attempts,
        events=events,
        probe=capabilities,
        rng=rng,
    )
    async with running(fleet):
        yield fleet


async def ask_all(fleet: Fleet, requests: Sequence[Request], concurrency: int = 1000) -> dict[str, object]:
    """Ask all at once; return for each request its completion or the error it ended with."""
    ended: dict[str, object] = {}
    room = anyio.Semaphore(concurrency)

    async def one(request: Request) -> None:
        async with room:
            try:
                ended[request.id] = await fleet.ask(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is how the request ended
                ended[request.id] = error

    async with anyio.create_task_group() as tasks:
        for request in requests:
            tasks.start_soon(one, request)
    return ended
