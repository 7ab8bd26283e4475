"""The queue of a fleet: who is asked next, who waits for what, and who has waited for nothing."""

import math
import random
from collections.abc import Callable, Sequence

import anyio

from seedbed.core.errors import BudgetExhaustedError, EndpointRejectedError, EndpointUnreachableError
from seedbed.core.records import Request
from seedbed.endpoints.budget import NOTHING, Budget, Charge, expected_charge
from seedbed.endpoints.lane import Lane, Try
from seedbed.endpoints.protocol import State
from seedbed.endpoints.retries import RetryBudget
from seedbed.endpoints.wire import estimated_prompt_tokens

OUTAGE_PATIENCE_S = 600.0
"""So long requests wait while no endpoint answers at all; then they are given up with that reason."""
LONGEST_NAP_S = 30.0


class Dispatcher:
    """Hands out places at the lanes in the order of asking, to requests that were tried before first."""

    def __init__(
        self, lanes: Sequence[Lane], *, budget: Budget, rng: random.Random, clock: Callable[[], float]
    ) -> None:
        self._lanes, self._budget = tuple(lanes), budget
        self._rng, self._clock = rng, clock
        self._retries = RetryBudget(sum(lane.config.max_in_flight for lane in lanes), clock())
        self._returned: dict[_Waiter, None] = {}
        self._fresh: dict[_Waiter, None] = {}
        self._timer = anyio.CancelScope()
        self._down_since: float | None = None

    @property
    def waiting(self) -> int:
        return len(self._returned) + len(self._fresh)

    async def place(self, request: Request, last: Lane | None) -> Try:
        """Wait for a place at an endpoint, and take it; `last` is where the request failed before.

        Raises:
            BudgetExhaustedError: There is no token or money left for it.
            EndpointRejectedError: Every endpoint refuses the key or the model.
            EndpointUnreachableError: None has answered for `OUTAGE_PATIENCE_S`.
        """
        waiter = _Waiter(request, last, self._clock())
        queue = self._fresh if last is None else self._returned
        queue[waiter] = None
        self.dispatch()
        try:
            await waiter.wait()
        except BaseException:
            queue.pop(waiter, None)
            if isinstance(waiter.outcome, Try):
                waiter.outcome.lane.abandoned(waiter.outcome, self._clock())
                self._budget.settle(waiter.outcome.charge, NOTHING)
            self.dispatch()
            raise
        if isinstance(waiter.outcome, Try):
            return waiter.outcome
        assert waiter.outcome is not None
        raise waiter.outcome

    def ended(self, sent: Try, used: Charge) -> None:
        """Settle the budget for a try that ended, and give its place to the next."""
        self._budget.settle(sent.charge, used)
        self.dispatch()

    def answered(self) -> None:
        """Count an answer: the endpoints are not down, and a retry is earned."""
        self._retries.earned()
        self._down_since = None

    def failed(self) -> None:
        """Note that an endpoint failed; from the first such since the last answer an outage counts."""
        if self._down_since is None:
            self._down_since = self._clock()

    async def pace(self) -> None:
        """Let waiting requests go when their time comes; runs as long as the fleet."""
        while True:
            with self._timer:
                await anyio.sleep_forever()
            self._timer = anyio.CancelScope()
            self.dispatch()
            self._give_up_on_outage()

    def dispatch(self) -> None:
        """Send as many waiting requests as there are places now; call it when a limit changed from outside."""
        now = self._clock()
        wake_at = math.inf
        while True:
            retry_at = self._retries.ready_at(now) if self._returned else math.inf
            queue = self._returned if retry_at <= now else self._fresh
            if not queue:
                wake_at = min(wake_at, retry_at)
                break
            waiter = next(iter(queue))
            waiter.outcome, wake_at = self._outcome(waiter, now)
            if waiter.outcome is None:
                break
            del queue[waiter]
            if queue is self._returned:
                self._retries.take()
            waiter.wake()
        if self._returned or self._fresh:
            self._timer.deadline = min(self._timer.deadline, wake_at, now + LONGEST_NAP_S)

    def _outcome(self, waiter: "_Waiter", now: float) -> tuple["Try | Exception | None", float]:
        """Return the place for a waiter, or why there will be none, or None and when to look again."""
        times = [(lane.ready_at(waiter.tokens, now), lane) for lane in self._lanes]
        ready = [lane for at, lane in times if at <= now]
        if not ready:
            if all(lane.breaker.state is State.REJECTING for lane in self._lanes):
                return EndpointRejectedError(self._lanes[0].breaker.reason), math.inf
            return None, min(at for at, _ in times)
        lane = self._choose(ready, waiter.last)
        charge = expected_charge(waiter.prompt_tokens, waiter.request, lane.config)
        room = self._budget.room_for(charge)
        if room == "never":
            return BudgetExhaustedError(self._budget.exhausted_message()), math.inf
        if room == "later":
            return None, math.inf
        self._budget.reserve(charge)
        return lane.send(charge, now, now - waiter.since), math.inf

    def _choose(self, ready: list[Lane], last: Lane | None) -> Lane:
        """Take the least loaded, one of them at random, and not the one that just failed.

        Two at random (Mitzenmacher 2001) are for balancers whose counts are stale. Ours are exact, and a draw that
        leaves the freest out sends work to an endpoint that hangs: of 96 callers at three it held 45 after 14 s.
        """
        if len(ready) == 1:
            return ready[0]
        others = [lane for lane in ready if lane is not last] or ready
        least = min(lane.load for lane in others)
        return self._rng.choice([lane for lane in others if lane.load == least])

    def _give_up_on_outage(self) -> None:
        """Fail what waits when nothing has answered for `OUTAGE_PATIENCE_S`."""
        now = self._clock()
        is_over = self._down_since is not None and now - self._down_since > OUTAGE_PATIENCE_S
        if not is_over or any(lane.breaker.state is State.READY and not lane.is_starting for lane in self._lanes):
            return
        reasons = "; ".join(lane.breaker.reason or "starting" for lane in self._lanes)
        for queue in (self._returned, self._fresh):
            for waiter in queue:
                waiter.outcome = EndpointUnreachableError(
                    f"no endpoint has answered for {OUTAGE_PATIENCE_S:g} s: {reasons}"
                )
                waiter.wake()
            queue.clear()


class _Waiter:
    """A request that waits for a place."""

    __slots__ = ("_woken", "last", "outcome", "prompt_tokens", "request", "since", "tokens")

    def __init__(self, request: Request, last: Lane | None, since: float) -> None:
        self.request, self.last, self.since = request, last, since
        self.prompt_tokens = estimated_prompt_tokens(request)
        self.tokens = self.prompt_tokens + request.sampling.max_tokens
        self.outcome: Try | Exception | None = None
        self._woken: anyio.Event | None = None

    async def wait(self) -> None:
        if self.outcome is None:
            self._woken = anyio.Event()
            await self._woken.wait()

    def wake(self) -> None:
        if self._woken:
            self._woken.set()
