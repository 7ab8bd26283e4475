"""When a request that failed may go again."""

import random

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
THROTTLES_PER_ATTEMPT = 10
"""A throttled try is the server's state and not the request's fault, so it weighs a tenth of an attempt."""


def back_off_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait after so many failures: doubling from 0.5 s to 30 s, jittered by up to a half."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, 10)) * rng.uniform(0.5, 1.0)


class RetryBudget:
    """Retries at most as many as answers, beyond one for each place there is.

    So a fault that breaks everything in flight is mended at once, while a server that fails again and again is
    not asked twice as often for it.
    """

    def __init__(self, places: int, now: float) -> None:
        self._burst = float(places)
        self._level, self._at = self._burst, now

    def earned(self) -> None:
        """Count an answer."""
        self._level = min(self._burst, self._level + 1)

    def ready_at(self, now: float) -> float:
        """Return when the next retry may go; one each second is allowed in any case."""
        self._level = min(self._burst, self._level + now - self._at)
        self._at = now
        return now + max(0.0, 1 - self._level)

    def take(self) -> None:
        self._level -= 1
