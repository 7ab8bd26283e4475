"""The endpoints that write rows and mark them, opened with the workspace's budget, answers and memory."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing

from seedbed.core.config import EndpointConfig, GenerationConfig
from seedbed.core.errors import ConfigError
from seedbed.core.records import Spent
from seedbed.endpoints.fleet import Fleet
from seedbed.endpoints.memory import ProbeMemory, StoredAnswers
from seedbed.endpoints.opening import open_fleet
from seedbed.generator.judging import Judge
from seedbed.generator.plan import ordered_id
from seedbed.pool.records import Usage
from seedbed.service.adapted import with_adapter
from seedbed.service.context import Context
from seedbed.service.control import budget_that_holds
from seedbed.service.cost import cost_of
from seedbed.service.ledger import PoolLedger
from seedbed.service.live import Live
from seedbed.service.workspace import Workspace


def teachers_of(workspace: Workspace) -> list[EndpointConfig]:
    """Return the endpoints that write new rows.

    Raises:
        ConfigError: None is named.
    """
    config = workspace.config
    if not config.teachers:
        raise ConfigError("teacher names no endpoint; set it to the name of one of [[endpoints]] (seedbed.toml)")
    return [config.endpoint(name) for name in config.teachers]


@asynccontextmanager
async def opened_teacher(context: Context, live: Live) -> AsyncIterator[Fleet]:
    """Open the teacher's fleet: a managed server is started, and every endpoint has answered before this yields."""
    writes_with_it = context.workspace.config.generation.generate_with == "promoted"
    teachers = with_adapter(context, teachers_of(context.workspace), writes_with_it=writes_with_it)
    async with opened_fleet(context, teachers) as fleet:
        live.fleet = fleet
        yield fleet


@asynccontextmanager
async def opened_fleet(context: Context, endpoints: Sequence[EndpointConfig]) -> AsyncIterator[Fleet]:
    """Open endpoints, with the workspace's budget, answers and memory of what servers can do."""
    workspace, spent = context.workspace, context.pool.spent()
    config = workspace.config
    with closing(StoredAnswers(workspace.answers)) as answers:
        async with open_fleet(
            list(endpoints),
            secrets=context.secrets,
            budget=budget_that_holds(context.pool.intent(), config.budget),
            max_attempts=config.generation.max_attempts,
            log_folder=workspace.logs,
            events=context.events,
            spent=spent_of(workspace, spent),
            accepted_licences=config.accept_licence,
            progress=context.download,
            cache=answers,
            memory=ProbeMemory(workspace.capabilities),
        ) as fleet:
            yield fleet


@asynccontextmanager
async def opened_judge(
    context: Context, teacher: Fleet | None, *, is_stored: bool = True
) -> AsyncIterator[Judge | None]:
    """Open the endpoint that marks rows; None where the config wants no marks.

    Args:
        context: The workspace, held for writing where what is asked is stored.
        teacher: The teacher's fleet, which judges too where both are one endpoint.
        is_stored: Whether requests and answers go into the pool.
    """
    config = context.workspace.config
    if is_stored and not config.generation.checks.grade_rows:
        yield None
        return
    books = PoolLedger(context.pool) if is_stored else None
    async with AsyncExitStack() as stack:
        fleet = teacher
        if fleet is None or config.teachers != (config.judge,):
            fleet = await stack.enter_async_context(opened_fleet(context, [config.endpoint(config.judge)]))
        use_json_schema = (await fleet.capabilities()).json_schema
        yield Judge(fleet.ask, context.prompts, ordered_id, use_json_schema=use_json_schema, books=books)


def with_concurrency(workspace: Workspace, wanted: int | None = None) -> GenerationConfig:
    """Return the settings of a run with as many recipes at once as are wanted, or as keep its endpoints full."""
    settings = workspace.config.generation
    if wanted is not None:
        settings = settings.model_copy(update={"concurrency": wanted})
    if settings.concurrency:
        return settings
    places = sum(endpoint.max_in_flight for endpoint in teachers_of(workspace))
    return settings.model_copy(update={"concurrency": places + math.ceil(places / 4)})


def spent_of(workspace: Workspace, used: Usage) -> Spent:
    """Return what a pool's completions cost, as a budget counts it."""
    return Spent(
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        cost=cost_of(workspace.config, used),
    )
