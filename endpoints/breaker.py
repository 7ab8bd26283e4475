"""The circuit breaker: an endpoint that fails again and again rests, then is tried with one request."""

import random

from seedbed.endpoints.protocol import State

FAILURES_TO_OPEN = 5
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0


class Breaker:
    """Closed, open, or half open with one probe in flight.

    It opens after `FAILURES_TO_OPEN` failures in a row. Each failed probe doubles the rest, up to a minute; rests
    are jittered by up to a half, so that many clients do not come back together.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._rest_s = FIRST_REST_S
        self.state = State.READY
        self.reason = ""
        self.opens_at = 0.0
        """When a probe may go, while open."""

    def allows(self, now: float) -> bool:
        """Whether a request may go now; for one whose rest is over it will be the probe."""
        return self.state is State.READY or now >= self.opens_at

    def sent(self, now: float) -> None:
        """Note that a request goes out. A probe that hangs does not keep the next one back for more than a rest."""
        if self.state is not State.READY:
            self.state = State.HALF_OPEN
            self.opens_at = now + self._rest_s

    def succeeded(self) -> None:
        """Close, whoever brought the answer."""
        self._failures, self._rest_s = 0, FIRST_REST_S
        self.state, self.reason = State.READY, ""

    def failed(self, now: float, reason: str) -> bool:
        """Count a failure; return whether it opened the breaker."""
        self._failures += 1
        self.reason = reason
        if self.state is State.HALF_OPEN or (self.state is State.READY and self._failures >= FAILURES_TO_OPEN):
            was_ready = self.state is State.READY
            self._rest(now, State.OPEN)
            return was_ready
        return False

    def rejected(self, now: float, reason: str) -> None:
        """Rest because the server refuses the key or the model."""
        self.reason = reason
        self._rest_s = LONGEST_REST_S
        self._rest(now, State.REJECTING)

    def abandoned(self, now: float) -> None:
        """The probe was cancelled and told nothing: let the next one go at once."""
        if self.state is State.HALF_OPEN:
            self.state, self.opens_at = State.OPEN, now

    def _rest(self, now: float, state: State) -> None:
        self.state = state
        self.opens_at = now + self._rest_s * self._rng.uniform(0.5, 1.0)
        self._rest_s = min(LONGEST_REST_S, self._rest_s * 2)
