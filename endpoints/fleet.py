"""The endpoints of one role as one: asks, asks again, gives up, and remembers what was asked before."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from seedbed.core.errors import EndpointError, EndpointRejectedError, EndpointThrottledError
from seedbed.core.events import Events
from seedbed.core.records import Completion, Request
from seedbed.endpoints.budget import NOTHING, Budget
from seedbed.endpoints.cache import AnswerCache, MemoryCache, cache_key, is_deterministic, recalled
from seedbed.endpoints.dispatcher import Dispatcher
from seedbed.endpoints.lane import REJECTS_ALL, Lane, Try
from seedbed.endpoints.protocol import Capabilities, EndpointState, State
from seedbed.endpoints.retries import THROTTLES_PER_ATTEMPT, back_off_s


class Fleet:
    """Retries, limits, breakers, deadlines and the budget over one or more endpoints. Made by `running`."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        budget: Budget,
        max_attempts: int,
        events: Events,
        probe: Callable[[], Awaitable[Capabilities]],
        cache: AnswerCache | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = anyio.current_time,
        base_urls: Mapping[str, str] | None = None,
    ) -> None:
        self.base_urls = dict(base_urls or {})
        """Where each endpoint answers, by its name; only here is it known of a managed one."""
        self.lanes, self._events = tuple(lanes), events
        self._max_attempts = max_attempts
        self._cache = cache or MemoryCache()
        self._models = tuple({lane.config.model for lane in lanes})
        self._rng, self._clock = rng or random.Random(), clock
        self.budget = budget
        self._queue = Dispatcher(lanes, budget=budget, rng=self._rng, clock=clock)
        self._probe, self._probe_lock = probe, anyio.Lock()
        self._capabilities: Capabilities | None = None

    async def ask(self, request: Request) -> Completion:
        """Get an answer, from whichever endpoint, after as many tries as it takes.

        Raises:
            BudgetExhaustedError: There is no token or money left for it.
            EndpointRejectedError: It will never be answered.
            EndpointError: It failed `max_attempts` times; the kind is that of the last failure.
        """
        if not is_deterministic(request):
            return await self._ask(request)
        key = cache_key(request, self._models)
        if (known := await self._cache.get(key)) is not None:
            return recalled(known, request)
        completion = await self._ask(request)
        await self._cache.put(key, completion)
        return completion

    async def capabilities(self) -> Capabilities:
        """Return what all endpoints of the fleet can do; tried at the first call."""
        async with self._probe_lock:
            if self._capabilities is None:
                self._capabilities = await self._probe()
            return self._capabilities

    def snapshot(self) -> dict[str, EndpointState]:
        """Return each endpoint's state by its name."""
        now = self._clock()
        return {lane.name: lane.state(now, self._queue.waiting) for lane in self.lanes}

    def changed(self) -> None:
        """Look again who may go, since a limit changed from outside."""
        self._queue.dispatch()

    def server_changed(self, lane: Lane, is_up: bool) -> None:
        """Note that the managed server of a lane came up or went."""
        lane.is_starting = not is_up
        if is_up:
            lane.breaker.succeeded()
        self._queue.dispatch()

    async def pace(self) -> None:
        """Let waiting requests go when their time comes; `running` runs it as long as the fleet."""
        await self._queue.pace()

    async def _ask(self, request: Request) -> Completion:
        failures = throttles = 0
        last: Lane | None = None
        while True:
            sent = await self._queue.place(request, last)
            try:
                completion = await self._try(sent, request)
            except EndpointError as error:
                last = sent.lane
                is_throttled = isinstance(error, EndpointThrottledError)
                throttles, failures = throttles + is_throttled, failures + (not is_throttled)
                self._raise_if_final(error, failures, throttles)
                if not (isinstance(error, EndpointThrottledError) and error.retry_after_s):
                    await anyio.sleep(back_off_s(failures + throttles, self._rng))
            else:
                return completion

    async def _try(self, sent: Try, request: Request) -> Completion:
        """Ask one endpoint once, and give its place free however that ends."""
        try:
            completion = await sent.lane.endpoint.complete(request)
        except EndpointError as error:
            self._failed(sent, error)
            self._queue.ended(sent, NOTHING)
            raise
        except BaseException:
            sent.lane.abandoned(sent, self._clock())
            self._queue.ended(sent, NOTHING)
            raise
        self._answered(sent, completion)
        return completion

    def _answered(self, sent: Try, completion: Completion) -> None:
        was_resting = sent.lane.breaker.state is not State.READY
        used = sent.lane.answered(sent, completion)
        self._queue.answered()
        self._queue.ended(sent, used)
        if was_resting:
            self._events.emit("endpoint.answered_again", endpoint=sent.lane.name)
        if sent.lane.is_news_of_model(completion.model):
            name, model = sent.lane.name, sent.lane.config.model
            self._events.emit("endpoint.other_model", endpoint=name, asked=model, answered=completion.model)

    def _failed(self, sent: Try, error: EndpointError) -> None:
        lane, limit = sent.lane, sent.lane.limit.value
        if not isinstance(error, EndpointThrottledError):
            self._queue.failed()
        if lane.failed(sent, error, self._clock()):
            self._events.emit("endpoint.opened", endpoint=lane.name, reason=str(error))
        if lane.limit.value < limit:
            self._events.emit("endpoint.slowed", endpoint=lane.name, limit=lane.limit.value, reason=str(error))

    def _raise_if_final(self, error: EndpointError, failures: int, throttles: int) -> None:
        if isinstance(error, EndpointRejectedError):
            is_another_left = any(lane.breaker.state is not State.REJECTING for lane in self.lanes)
            if error.status not in REJECTS_ALL or not is_another_left:
                raise error
        if failures + throttles / THROTTLES_PER_ATTEMPT >= self._max_attempts:
            error.add_note(f"given up after {failures} failures and {throttles} times of being asked to wait")
            raise error


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[Fleet]:
    """Run a fleet's pacer beside the block."""
    async with beside() as tasks:
        tasks.start_soon(fleet.pace)
        yield fleet


@asynccontextmanager
async def beside() -> AsyncIterator[TaskGroup]:
    """Run tasks beside a block and cancel them when it ends. What the block raises comes out as it is, in no group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001 - raised again below, where the task group cannot wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
