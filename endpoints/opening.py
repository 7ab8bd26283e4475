"""From the config to a running fleet: managed servers started, transports made, every endpoint checked."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets
from seedbed.core.events import Events
from seedbed.core.records import Spent
from seedbed.endpoints.budget import Budget
from seedbed.endpoints.cache import AnswerCache
from seedbed.endpoints.fleet import Fleet, beside
from seedbed.endpoints.lane import Lane
from seedbed.endpoints.managed import Launch, ManagedServer, launched, with_slots
from seedbed.endpoints.memory import ProbeMemory
from seedbed.endpoints.probe import probe_all
from seedbed.endpoints.server_queue import follow_queue
from seedbed.endpoints.site import Site, check, transport_to
from seedbed.weights.resolve import Progress


@dataclass(frozen=True, slots=True)
class _Opened:
    site: Site
    lane: Lane
    launch: Launch | None


@asynccontextmanager
async def open_fleet(
    endpoints: Sequence[EndpointConfig],
    *,
    secrets: Secrets,
    budget: BudgetConfig,
    max_attempts: int,
    log_folder: Path,
    events: Events,
    spent: Spent | None = None,
    accepted_licences: Collection[str] = (),
    progress: Progress | None = None,
    cache: AnswerCache | None = None,
    memory: ProbeMemory | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Fleet]:
    """Start what is managed, check that every endpoint answers, takes the key and serves the model; then yield.

    Managed servers stop and connections close when the block ends.

    Raises:
        ConfigError: A managed server lacks a package, or has weights of the wrong kind.
        EndpointUnreachableError: An endpoint does not answer.
        EndpointRejectedError: It refuses the key, or does not serve the model.
        WeightsError: The weights of a managed server could not be had.
    """
    rng = rng or random.Random()
    async with beside() as tasks, AsyncExitStack() as stack:
        opened = []
        for config in endpoints:
            launch = await launched(config, accepted_licences, progress) if config.managed else None
            each = _opened(config, launch, secrets, rng)
            stack.push_async_callback(each.lane.endpoint.aclose)
            opened.append(each)
        fleet = Fleet(
            [each.lane for each in opened],
            budget=Budget(budget, spent or Spent()),
            max_attempts=max_attempts,
            events=events,
            probe=partial(probe_all, [each.site for each in opened], memory),
            cache=cache,
            rng=rng,
            base_urls={each.site.config.name: each.site.base_url for each in opened},
            clock=asyncio.get_running_loop().time,  # what anyio.current_time asks, without asking which loop it is
        )
        for each in opened:
            await _start(each, fleet, tasks, log_folder, events)
        tasks.start_soon(fleet.pace)
        yield fleet


def _opened(config: EndpointConfig, launch: Launch | None, secrets: Secrets, rng: random.Random) -> _Opened:
    site = Site(config, launch.base_url if launch else config.base_url, secrets.api_keys.get(config.name))
    return _Opened(site, Lane(transport_to(site), with_slots(config), now=anyio.current_time(), rng=rng), launch)


async def _start(each: _Opened, fleet: Fleet, tasks: TaskGroup, log_folder: Path, events: Events) -> None:
    """Bring one endpoint up, make sure of it, and follow its queue where it tells."""
    if each.launch:
        server = ManagedServer(each.site.config.name, each.launch, log_folder, events)
        await tasks.start(server.run, partial(fleet.server_changed, each.lane))
    await check(each.site)
    if each.site.config.managed != "llama.cpp":  # whose slots we know
        await tasks.start(follow_queue, each.site, each.lane, fleet.changed)
