"""What an endpoint is, what it can do, and what a fleet tells of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from seedbed.core.records import Completion, Request


class Endpoint(Protocol):
    """One model server: one try per call, no retries and no limits, which are the fleet's."""

    name: str
    model: str

    async def complete(self, request: Request) -> Completion:
        """Ask once.

        Raises:
            EndpointUnreachableError: No connection, or it broke.
            EndpointRejectedError: The server will never answer this.
            EndpointThrottledError: It asks for patience.
            EndpointTimeoutError: A deadline of ours passed.
            EndpointResponseError: What came back is no completion.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server did when it was tried, not what it says of itself."""

    answers: bool
    models: tuple[str, ...] = ()
    """As it lists them."""
    server: str = ""
    """Its kind as far as it shows: `vllm`, `llama.cpp`, the Server header, or empty."""
    version: str = ""
    chat: bool = False
    completions: bool = False
    json_schema: bool = False
    """It holds the model to a schema; one that accepts a schema and ignores it has not got it."""
    stop: bool = False
    n: bool = False
    logprobs: bool = False
    usage: bool = False
    """It counts prompt and completion tokens."""
    problems: tuple[str, ...] = ()
    """One line for each thing that was tried and failed."""


class State(StrEnum):
    """Whether an endpoint may be asked now."""

    STARTING = "starting"
    """A managed server that does not answer yet."""
    READY = "ready"
    COOLING = "cooling"
    """It named a time before which it wants no requests."""
    OPEN = "open"
    """The breaker is open: it failed too often, and rests."""
    HALF_OPEN = "half_open"
    """One request is out to see whether it is back."""
    REJECTING = "rejecting"
    """It refuses the key or the model."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """One endpoint of a fleet at one moment."""

    state: State
    reason: str
    """Why it is not ready; empty where it is."""
    in_flight: int
    limit: int
    """Requests at once, at most, as it stands now."""
    limit_reason: str
    """What set the limit last: `slow_start`, `configured`, `throttled`, `server_queue` …"""
    requests: int
    """Tries that ended, however they ended."""
    failures: int
    """Of these, failed for another reason than throttling."""
    throttled: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    oldest_in_flight_s: float
    """Age of the oldest try that has not ended, 0 where there is none."""
    waiting: int
    """Requests of the whole fleet that wait for a place."""
    queue_wait_s: float
    """Seconds that requests waited for a place here, all added up; no part of any latency."""
