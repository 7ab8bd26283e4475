"""The generation phase: indexes loaded, servers opened, the engine run until the pool has what was asked for."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from random import Random

import anyio
import anyio.to_thread

from seedbed.core.config import EndpointConfig, GenerationConfig
from seedbed.core.errors import ConfigError
from seedbed.core.records import Candidate, Phase, Spent
from seedbed.endpoints.fleet import Fleet, beside
from seedbed.endpoints.memory import ProbeMemory, StoredAnswers
from seedbed.endpoints.opening import open_fleet
from seedbed.filters.cascade import Cascade, build_cascade
from seedbed.generator.counters import Counters, Outcome
from seedbed.generator.engine import Engine
from seedbed.generator.judging import Judge
from seedbed.generator.plan import Plan, SampleAccepted, ordered_id
from seedbed.generator.recipes import RECIPES
from seedbed.pool.pool import Pool
from seedbed.service.adapted import with_adapter
from seedbed.service.alarms import LOOK_EVERY_S, GenerationWatch
from seedbed.service.brought import brought_instructions
from seedbed.service.checking import checker, held_out_category
from seedbed.service.context import Context
from seedbed.service.control import budget_that_holds
from seedbed.service.cost import cost_of
from seedbed.service.decider import DecisionThread
from seedbed.service.diversity import ALARM as DIVERSITY_ALARM
from seedbed.service.diversity import DiversityWatch, written_lately
from seedbed.service.leaks import held_out_references
from seedbed.service.ledger import PoolLedger
from seedbed.service.live import Live, generation_gauge
from seedbed.service.shares import note_base, target_shares
from seedbed.service.stopping import Stop
from seedbed.service.tracing import Tracing, tracing
from seedbed.service.workspace import Workspace


async def generate(context: Context, *, target: int, stop: Stop, live: Live) -> Outcome | None:
    """Generate until `target` rows are accepted in the pool, or a stop is wanted; None where they already are.

    Raises:
        EndpointError: The teacher's server cannot be used at all.
        GenerationError: Nothing is accepted any more.
        FilterError, PoolError: A filter or the database broke.
    """
    pool = context.pool
    pool.fire_due()
    if pool.accepted_count() >= target or stop.is_wanted:
        return None
    async with tracing(context.workspace.config.telemetry) as traces:
        return await _generate(context, target, stop, live, traces)


async def _generate(context: Context, target: int, stop: Stop, live: Live, traces: Tracing | None) -> Outcome:
    pool = context.pool
    live.phase = Phase.LOADING_FILTERS
    context.events.emit("filters.loading", accepted=pool.accepted_count())
    async with live.index_lock:
        cascade = await anyio.to_thread.run_sync(loaded_cascade, context.workspace, pool)
        live.decider = decider = DecisionThread(cascade, traces.store(pool) if traces else pool)
    live.phase = Phase.GENERATING
    try:
        async with opened_teacher(context, live) as fleet, opened_judge(context, fleet) as judge:
            return await _run_engine(context, fleet, decider, target, stop, live, judge, traces)
    finally:
        live.fleet, live.gauge, live.decider = None, lambda: None, None
        await anyio.to_thread.run_sync(decider.close)


def loaded_cascade(workspace: Workspace, pool: Pool) -> Cascade:
    """Build the cascade of a workspace, its memories filled with the seeds and all accepted rows."""
    cascade = seeded_cascade(workspace)
    cascade.load((), pool.accepted())
    return cascade


def seeded_cascade(workspace: Workspace) -> Cascade:
    """Build the cascade of a workspace, its memories filled with the seeds alone."""
    cascade = build_cascade(
        workspace.config.filters,
        held_out=workspace.held_out,
        category_of=held_out_category(workspace),
        references=workspace.references(),
        loaded=held_out_references(workspace),
    )
    cascade.load(workspace.seeds, ())
    cascade.warm()
    return cascade


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
            spent=Spent(
                prompt_tokens=spent.prompt_tokens,
                completion_tokens=spent.completion_tokens,
                cost=cost_of(config, spent),
            ),
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


async def _run_engine(
    context: Context,
    fleet: Fleet,
    decider: DecisionThread,
    target: int,
    stop: Stop,
    live: Live,
    judge: Judge | None,
    traces: Tracing | None,
) -> Outcome:
    wanted = live.control.intent.concurrency if live.control else None
    pool, settings = context.pool, with_concurrency(context.workspace, wanted)
    ledger = PoolLedger(pool)
    plan = await plan_of(context, fleet)
    engine = Engine(
        plan=plan,
        ask=traces.ask(fleet.ask) if traces else fleet.ask,
        recipes=traces.recipes(RECIPES) if traces else RECIPES,
        screen=decider.screen,
        decide=decider.decide,
        release=decider.release,
        ledger=ledger,
        note_unreadable=ledger.unreadable,
        check=checker(context.workspace, judge, decider.would_pass),
        settings=settings,
        events=context.events,
    )
    live.counters, live.gauge = engine.counters, generation_gauge(pool, engine.counters, target)
    accepted = pool.accepted_count()
    models = ", ".join(dict.fromkeys(endpoint.model for endpoint in teachers_of(context.workspace)))
    context.events.emit("generation.started", target=target, accepted=accepted, model=models)
    take_back = stop.add(engine.stop)
    try:
        async with beside() as tasks:
            tasks.start_soon(_watch, fleet, engine.counters, context, live)
            tasks.start_soon(_watch_diversity, plan, engine.counters, context, live)
            return await engine.run(lambda: pool.accepted_count() >= target, lambda: target - pool.accepted_count())
    finally:
        take_back()
        live.reactions = ()
        live.alarms.clear("endpoint/")
        live.alarms.clear(DIVERSITY_ALARM)


def with_concurrency(workspace: Workspace, wanted: int | None = None) -> GenerationConfig:
    """Return the settings of a run with as many recipes at once as are wanted, or as keep its endpoints full."""
    settings = workspace.config.generation
    if wanted is not None:
        settings = settings.model_copy(update={"concurrency": wanted})
    if settings.concurrency:
        return settings
    places = sum(endpoint.max_in_flight for endpoint in teachers_of(workspace))
    return settings.model_copy(update={"concurrency": places + math.ceil(places / 4)})


async def _watch(fleet: Fleet, counters: Counters, context: Context, live: Live) -> None:
    watch = GenerationWatch(live.alarms, context.workspace.config.alarms)
    while True:
        watch.look(fleet, counters, anyio.current_time())
        await anyio.sleep(LOOK_EVERY_S)


async def _watch_diversity(plan: Plan, counters: Counters, context: Context, live: Live) -> None:
    bounds = context.workspace.config.diversity
    watch, seen = DiversityWatch(live.alarms, bounds, plan.react), -1
    while True:
        decided = counters.candidates + counters.proposals
        if decided != seen:
            seen = decided
            live.diversity = await anyio.to_thread.run_sync(written_lately, context.pool, bounds)
            live.reactions = watch.look(live.diversity)
        await anyio.sleep(LOOK_EVERY_S)


async def plan_of(context: Context, fleet: Fleet) -> Plan:
    """Make the plan of a run: what is in the pool counts, and nothing that was asked is asked again."""
    pool, settings = context.pool, context.workspace.config.generation
    note_base(context.workspace, pool)
    counts, trained = pool.counts(), [one.name for one in context.workspace.categories.trained]
    brought = brought_instructions(context.workspace.folder, settings.answer, trained, pool)
    return Plan(
        categories=context.workspace.categories,
        seeds=context.workspace.trained_seeds,
        settings=settings,
        prompts=context.prompts,
        use_json_schema=await _use_json_schema(settings.use_json_schema, fleet),
        accepted=counts.categories,
        accepted_by_recipe=counts.recipes,
        brought=brought,
        shares=target_shares(context.workspace, pool),
        sample_accepted=_sampler(pool),
        first_number=counts.requests,
        events=context.events,
    )


async def _use_json_schema(setting: str, fleet: Fleet) -> bool:
    return (await fleet.capabilities()).json_schema if setting == "auto" else setting == "always"


def _sampler(pool: Pool) -> SampleAccepted:
    def sample(count: int, category: str, rng: Random) -> Sequence[Candidate]:
        return pool.sample_accepted(count, rng=rng, categories=[category])

    return sample
