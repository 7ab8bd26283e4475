"""Reading a server's own queue from its /metrics, and leading a lane's limit by it: vLLM and llama.cpp tell."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskStatus

from seedbed.core.errors import EndpointError
from seedbed.endpoints.control import Control, controlling
from seedbed.endpoints.lane import Lane
from seedbed.endpoints.site import Site

POLL_EVERY_S = 1.0
POLLS_TO_LOSE = 10
_RUNNING = re.compile(rb"^(?:vllm:num_requests_running|llamacpp:requests_processing)(?:\{[^}]*\})? (\S+)", re.MULTILINE)
_WAITING = re.compile(rb"^(?:vllm:num_requests_waiting|llamacpp:requests_deferred)(?:\{[^}]*\})? (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ServerQueue:
    """Requests at a server, of all its clients, over all its engines."""

    running: float
    waiting: float


def parse_queue(metrics: bytes) -> ServerQueue | None:
    """Find the queue in a Prometheus text; None where the server does not tell."""
    running, waiting = _RUNNING.findall(metrics), _WAITING.findall(metrics)
    if not running or not waiting:
        return None
    try:
        return ServerQueue(sum(map(float, running)), sum(map(float, waiting)))
    except ValueError:
        return None


async def follow_queue(
    site: Site, lane: Lane, changed: Callable[[], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Lead a lane's limit by its server's queue while it is asked; return at once where the server does not tell."""
    async with controlling(site.base_url, site.config.name, site.key) as control:
        misses = 0
        tells = _lead(lane, await _queue_of(control))
        task_status.started()
        while tells:
            await anyio.sleep(POLL_EVERY_S)
            if lane.in_flight:
                misses = 0 if _lead(lane, await _queue_of(control)) else misses + 1
                if misses == POLLS_TO_LOSE:
                    lane.limit.queue_lost()
                changed()


def _lead(lane: Lane, queue: ServerQueue | None) -> bool:
    if queue is not None:
        lane.limit.queue_seen(queue.running, queue.waiting, lane.in_flight)
    return queue is not None


async def _queue_of(control: Control) -> ServerQueue | None:
    try:
        reply = await control.get("//metrics", 5.0)
    except EndpointError:
        return None
    return parse_queue(reply.body) if reply.status == 200 else None
