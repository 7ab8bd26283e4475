"""How much at once, and how much a minute: the adaptive limit of requests in flight, and rate buckets."""

import math

SLOW_START_AT = 32
SLOW_START_STEP_S = 0.25
"""The limit doubles so often until the first cut. By the clock and not by round trips, as TCP does: an answer
takes many seconds to write while a 429 comes at once, so a quarter of a second without one is an answer."""
CUT = 0.75
"""What is left of the limit after congestion."""
GROWTH = 0.05
"""Growth for each round trip at a full limit, as a share of it, and at least 1."""
QUEUE_EMPTY_LOOKS = 3
"""Looks at an empty queue in a row before the limit doubles again, once the server has had one."""
QUEUE_LOW, QUEUE_HIGH, QUEUE_AIM = 0.02, 0.15, 0.08
"""Waiting requests as a share of running ones that a server which tells should have: enough to fill each gap,
too few to wait long."""


class ConcurrencyLimit:
    """Requests in flight, at most: AIMD on throttling, or led by the server's own queue; never by latency.

    Latency says nothing here: a model server that batches more is slower for each and faster for all, so a
    gradient limit collapses (to 0.11 of the throughput, measured with Gradient2).
    """

    def __init__(self, ceiling: int, now: float, *, start: int = SLOW_START_AT) -> None:
        self._ceiling = ceiling
        self._limit = float(min(start, ceiling))
        self._is_slow_start = self._limit < ceiling
        self._epoch_began = -math.inf
        self._doubled_at = now
        self.follows_queue = False
        self._empty_looks = QUEUE_EMPTY_LOOKS
        self.reason = "slow_start" if self._is_slow_start else "configured"

    @property
    def value(self) -> int:
        return int(self._limit)

    @property
    def capacity(self) -> float:
        """What is known of what the server takes at once; where nothing has spoken against it, the configured limit.

        A limit that grows is no sign that one server takes more than another, so shares of the work do not follow it.
        """
        return self._limit if self.reason in {"throttled", "server_queue"} else float(self._ceiling)

    def tick(self, now: float, in_flight: int) -> None:
        """Double in slow start, where the last doubling is used and old enough."""
        is_due = now - self._doubled_at >= SLOW_START_STEP_S
        if self._is_slow_start and is_due and in_flight >= self.value:
            self._doubled_at = now
            self._raise_to(self._limit * 2)

    def next_tick(self, in_flight: int) -> float:
        """Return when `tick` may raise the limit, infinity where it will not."""
        is_waiting = self._is_slow_start and in_flight >= self.value
        return self._doubled_at + SLOW_START_STEP_S if is_waiting else math.inf

    def succeeded(self, in_flight: int) -> None:
        """Count an answer; `in_flight` is the number with it. From the least limit it is slow start again."""
        is_used = in_flight >= self._limit * 0.8
        if self._limit < 2 <= self._ceiling:  # it was throttled down to nothing, and is back
            self._is_slow_start = True
        if is_used and not self._is_slow_start and not self.follows_queue:
            self._raise_to(self._limit + max(GROWTH, 1 / self._limit))

    def throttled(self, sent_at: float, now: float, in_flight: int) -> None:
        """Cut once for each congestion epoch: answers to what was sent before the last cut tell nothing new."""
        if sent_at < self._epoch_began:
            return
        self._epoch_began = now
        self._is_slow_start = False
        self._limit = max(1.0, min(self._limit, float(in_flight)) * CUT)
        self.reason = "throttled"

    def queue_seen(self, running: float, waiting: float, in_flight: int) -> None:
        """Follow a server that tells how many requests it runs and how many wait (vLLM's /metrics)."""
        self.follows_queue, self._is_slow_start = True, False
        if waiting > 1 and waiting > QUEUE_HIGH * running:
            self._limit = max(1.0, in_flight - (waiting - QUEUE_AIM * running))
            self.reason, self._empty_looks = "server_queue", 0
        elif waiting <= QUEUE_LOW * running and in_flight >= self._limit * 0.8:
            # An empty queue seen once is chance: one request just ended. Seen again and again, there is room.
            is_room = self._empty_looks >= QUEUE_EMPTY_LOOKS
            self._empty_looks += waiting == 0
            self._raise_to(self._limit * (2 if is_room else 1 + QUEUE_AIM / 2) + 1)
        elif waiting:
            self._empty_looks = 0

    def queue_lost(self) -> None:
        """Go on by throttling alone: the server tells no more."""
        self.follows_queue = False

    def _raise_to(self, limit: float) -> None:
        self._limit = min(limit, float(self._ceiling))
        if self._limit >= self._ceiling:
            self._is_slow_start = False
            self.reason = "configured"
        elif self.follows_queue:
            self.reason = "server_queue"


class Bucket:
    """So much a minute, reserved before and settled after.

    A twentieth may go at once and the rest flows in evenly, so no 60 seconds see more than `per_minute`,
    wherever the server's window begins (a single amount above a twentieth is let through on credit).
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self._burst = max(1.0, per_minute / 20)
        self._per_s = max(per_minute - self._burst, per_minute / 2) / 60
        self._level, self._at = self._burst, now

    def ready_at(self, amount: float, now: float) -> float:
        """Return when `amount` may be taken; not after `now` means at once."""
        self._flow(now)
        missing = min(amount, self._burst) - self._level
        return now + missing / self._per_s if missing > 1e-9 else now

    def take(self, amount: float, now: float) -> None:
        self._flow(now)
        self._level -= amount

    def settle(self, reserved: float, used: float) -> None:
        """Give back what was reserved and not used, or take what was used beyond it."""
        self._level = min(self._burst, self._level + reserved - used)

    def _flow(self, now: float) -> None:
        self._level = min(self._burst, self._level + (now - self._at) * self._per_s)
        self._at = now
