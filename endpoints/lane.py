"""One endpoint of a fleet with all that says whether it may be asked now: limit, breaker, rates, cooldown."""

import math
import random

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointError, EndpointRejectedError, EndpointThrottledError
from seedbed.core.records import Completion
from seedbed.endpoints.breaker import Breaker
from seedbed.endpoints.budget import NOTHING, Charge, counted_charge
from seedbed.endpoints.limits import Bucket, ConcurrencyLimit
from seedbed.endpoints.protocol import Endpoint, EndpointState, State

REJECTS_ALL = frozenset({401, 402, 403, 404})
"""Statuses that mean the endpoint, and not the one request."""


class Try:
    """One request that went out to one endpoint and has not ended."""

    __slots__ = ("charge", "lane", "sent_at")

    def __init__(self, lane: "Lane", charge: Charge, sent_at: float) -> None:
        self.lane, self.charge, self.sent_at = lane, charge, sent_at


class Lane:
    """An endpoint, its limits and its counts."""

    def __init__(self, endpoint: Endpoint, config: EndpointConfig, *, now: float, rng: random.Random) -> None:
        self.endpoint, self.config = endpoint, config
        self.limit = ConcurrencyLimit(config.max_in_flight, now)
        self.breaker = Breaker(rng)
        self.is_starting = False
        """A managed server that does not answer yet, or is being restarted."""
        self._rng = rng
        self._cooling_until = -math.inf
        self._requests = Bucket(config.requests_per_minute, now) if config.requests_per_minute else None
        self._tokens = Bucket(config.tokens_per_minute, now) if config.tokens_per_minute else None
        self._in_flight: dict[Try, None] = {}
        self._ended, self._failures, self._throttled = 0, 0, 0
        self._prompt_tokens, self._completion_tokens, self._cost = 0, 0, 0.0
        self._queue_wait_s = 0.0
        self._known_models = {config.model}

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def load(self) -> float:
        """How full it is, lower for an endpoint that should have more of the work."""
        return len(self._in_flight) / (self.limit.capacity * self.config.weight)

    def ready_at(self, tokens: int, now: float) -> float:
        """Return when a request of so many tokens may go.

        Not after `now` means at once; infinity, that it waits for something to end.
        """
        self.limit.tick(now, len(self._in_flight))
        if self.is_starting:
            return math.inf
        if len(self._in_flight) >= self.limit.value:
            return self.limit.next_tick(len(self._in_flight))
        at = now if self.breaker.allows(now) else self.breaker.opens_at
        at = max(at, self._cooling_until)
        if self._requests:
            at = max(at, self._requests.ready_at(1, now))
        if self._tokens:
            at = max(at, self._tokens.ready_at(tokens, now))
        return at

    def send(self, charge: Charge, now: float, waited_s: float) -> Try:
        """Take a place, and reserve the rates."""
        self.breaker.sent(now)
        if self._requests:
            self._requests.take(1, now)
        if self._tokens:
            self._tokens.take(charge.tokens, now)
        self._queue_wait_s += waited_s
        sent = Try(self, charge, now)
        self._in_flight[sent] = None
        return sent

    def answered(self, sent: Try, completion: Completion) -> Charge:
        """Note an answer and return what it cost."""
        charge = counted_charge(completion, self.config)
        self.limit.succeeded(len(self._in_flight))
        self.breaker.succeeded()
        self._prompt_tokens += charge.prompt_tokens
        self._completion_tokens += charge.completion_tokens
        self._cost += charge.cost
        self._end(sent, charge)
        return charge

    def is_news_of_model(self, answered: str) -> bool:
        """Whether an answer names another model than was asked for, and none before it named that one."""
        if answered in self._known_models:
            return False
        self._known_models.add(answered)
        return True

    def failed(self, sent: Try, error: EndpointError, now: float) -> bool:
        """Note a failure; return whether the breaker opened by it."""
        in_flight = len(self._in_flight)
        self._end(sent, NOTHING)
        if isinstance(error, EndpointThrottledError):
            self._throttled += 1
            self.limit.throttled(sent.sent_at, now, in_flight)
            self.breaker.succeeded()
            if error.retry_after_s:
                until = now + error.retry_after_s * self._rng.uniform(1.0, 1.1)
                self._cooling_until = max(self._cooling_until, until)
            return False
        self._failures += 1
        if not isinstance(error, EndpointRejectedError):
            return self.breaker.failed(now, str(error))
        if error.status in REJECTS_ALL:
            was_ready = self.breaker.state is State.READY
            self.breaker.rejected(now, str(error))
            return was_ready
        self.breaker.succeeded()
        return False

    def abandoned(self, sent: Try, now: float) -> None:
        """Note that the caller was cancelled."""
        self._end(sent, NOTHING)
        self.breaker.abandoned(now)

    def state(self, now: float, waiting: int) -> EndpointState:
        state, reason = self._state_and_reason(now)
        oldest = next(iter(self._in_flight), None)
        return EndpointState(
            state=state,
            reason=reason,
            in_flight=len(self._in_flight),
            limit=self.limit.value,
            limit_reason=self.limit.reason,
            requests=self._ended,
            failures=self._failures,
            throttled=self._throttled,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            cost=self._cost,
            oldest_in_flight_s=now - oldest.sent_at if oldest else 0.0,
            waiting=waiting,
            queue_wait_s=self._queue_wait_s,
        )

    def _state_and_reason(self, now: float) -> tuple[State, str]:
        if self.is_starting:
            return State.STARTING, "its server does not answer yet"
        if self.breaker.state is State.READY and now < self._cooling_until:
            return State.COOLING, f"asked to wait {self._cooling_until - now:.0f} s more"
        return self.breaker.state, self.breaker.reason

    def _end(self, sent: Try, used: Charge) -> None:
        del self._in_flight[sent]
        self._ended += 1
        if self._tokens:
            self._tokens.settle(sent.charge.tokens, used.tokens)
