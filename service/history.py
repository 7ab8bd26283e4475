"""What the service did over time, for charts: samples of the status, thinned out so that their number is bounded."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.to_thread

from seedbed.core.errors import PoolError
from seedbed.core.records import Record, Status
from seedbed.endpoints.fleet import beside

EVERY_S = 2.0
MAX_SAMPLES = 720


class Sample(Record):
    """The status at one moment; counts are totals, so that rates follow from two samples."""

    at: float
    """Seconds since 1970."""
    accepted: int
    decided: int
    tokens: int
    """Prompt and completion."""
    requests: int
    """Answered."""
    in_flight: int
    limit: int
    """Requests at once, of all endpoints together; 0 outside generation."""
    cost: float


class History:
    """Samples since this service started. When it is full, every second one goes and the next come half as often."""

    def __init__(self, every_s: float = EVERY_S, max_samples: int = MAX_SAMPLES) -> None:
        self._max_samples = max_samples
        self.every_s = every_s
        self._samples: tuple[Sample, ...] = ()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Oldest first; the same object until another sample comes."""
        return self._samples

    def add(self, sample: Sample) -> None:
        """Take in a sample that is newer than all others."""
        samples = (*self._samples, sample)
        if len(samples) > self._max_samples:
            samples = samples[::2]
            self.every_s *= 2
        self._samples = samples

    @asynccontextmanager
    async def following(self, status: Callable[[], Status], now: Callable[[], float]) -> AsyncIterator[None]:
        """Sample a status beside the block."""
        async with beside() as tasks:
            tasks.start_soon(self._follow, status, now)
            yield

    async def _follow(self, status: Callable[[], Status], now: Callable[[], float]) -> None:
        while True:
            with suppress(PoolError):  # who writes tells of it; an error here would end the process
                self.add(sample_of(await anyio.to_thread.run_sync(status), now()))
            await anyio.sleep(self.every_s)


def sample_of(status: Status, at: float) -> Sample:
    """Take from a status what is drawn over time."""
    return Sample(
        at=round(at, 1),
        accepted=status.accepted,
        decided=status.decided,
        tokens=status.prompt_tokens + status.completion_tokens,
        requests=status.requests_answered,
        in_flight=sum(int(one["in_flight"]) for one in status.endpoints.values()),
        limit=sum(int(one["limit"]) for one in status.endpoints.values()),
        cost=status.cost,
    )
