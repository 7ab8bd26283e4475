"""The engine with what it needs of a service: a plan from the pool, a ledger, watches beside it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Protocol

import anyio
import anyio.to_thread

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import PoolError
from seedbed.core.records import Candidate, Decision, Proposal
from seedbed.endpoints.fleet import Fleet, beside
from seedbed.generator.counters import Counters, Ended, Outcome
from seedbed.generator.engine import Engine
from seedbed.generator.judging import Judge
from seedbed.generator.plan import Plan, SampleAccepted
from seedbed.generator.recipes import RECIPES
from seedbed.pool.pool import Pool
from seedbed.service.alarms import LOOK_EVERY_S, GenerationWatch
from seedbed.service.brought import brought_instructions
from seedbed.service.checking import checker
from seedbed.service.context import Context
from seedbed.service.diversity import ALARM as DIVERSITY_ALARM
from seedbed.service.diversity import DiversityWatch, written_lately
from seedbed.service.ledger import PoolLedger
from seedbed.service.live import Counted, Live, generation_gauge
from seedbed.service.stopping import Stop
from seedbed.service.teachers import spent_of, teachers_of, with_concurrency
from seedbed.service.tracing import Tracing

FOLLOW_EVERY_S = 2.0
REACHED_EVERY_S = 0.25


class Deciding(Protocol):
    """Who says what enters the pool: the decider's thread, or the service that leads."""

    async def screen(self, proposals: Sequence[Proposal]) -> list[bool]: ...

    async def decide(self, candidates: Sequence[Candidate]) -> list[Decision]: ...

    async def would_pass(self, candidates: Sequence[Candidate]) -> list[bool]: ...

    async def release(self, task_ids: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a generation ends: so many accepted rows in the pool, whoever wrote them."""

    target: int
    counted: Counted

    @property
    def missing(self) -> int:
        return self.target - self.counted.accepted_count()

    @property
    def is_reached(self) -> bool:
        return self.missing <= 0


async def run_engine(
    context: Context,
    live: Live,
    fleet: Fleet,
    deciding: Deciding,
    plan: Plan,
    goal: Goal,
    stop: Stop,
    *,
    judge: Judge | None = None,
    traces: Tracing | None = None,
    concurrency: int | None = None,
) -> Outcome:
    """Ask the fleet by a plan until the goal is reached or a stop is wanted; `deciding` says what enters the pool."""
    ledger = PoolLedger(context.pool)
    engine = Engine(
        plan=plan,
        ask=traces.ask(fleet.ask) if traces else fleet.ask,
        recipes=traces.recipes(RECIPES) if traces else RECIPES,
        screen=deciding.screen,
        decide=deciding.decide,
        release=deciding.release,
        ledger=ledger,
        note_unreadable=ledger.unreadable,
        check=checker(context.workspace, judge, deciding.would_pass),
        settings=with_concurrency(context.workspace, concurrency),
        events=context.events,
    )
    live.counters, live.gauge = engine.counters, generation_gauge(goal.counted, engine.counters, goal.target)
    accepted = goal.counted.accepted_count()
    models = ", ".join(dict.fromkeys(endpoint.model for endpoint in teachers_of(context.workspace)))
    context.events.emit("generation.started", target=goal.target, accepted=accepted, model=models)
    take_back = stop.add(engine.stop)
    try:
        async with beside() as tasks:
            tasks.start_soon(_watch, fleet, engine.counters, context, live)
            tasks.start_soon(_watch_diversity, plan, engine.counters, context, live)
            if context.pool.is_shared:
                tasks.start_soon(_follow_others, fleet, plan, context)
                tasks.start_soon(_stop_when_reached, goal, engine)
            return await engine.run(lambda: goal.is_reached, lambda: goal.missing)
    finally:
        take_back()
        live.reactions = ()
        live.alarms.clear("endpoint/")
        live.alarms.clear(DIVERSITY_ALARM)


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
            with suppress(PoolError):  # who writes tells of it; an error here would end the process
                live.diversity = await anyio.to_thread.run_sync(written_lately, context.pool, bounds)
                live.reactions, seen = watch.look(live.diversity), decided
        await anyio.sleep(LOOK_EVERY_S)


async def _follow_others(fleet: Fleet, plan: Plan, context: Context) -> None:
    """Count what the other services on the pool spent and what was accepted of theirs."""
    while True:
        await anyio.sleep(FOLLOW_EVERY_S)
        with suppress(PoolError):  # who writes tells of it
            spent = await anyio.to_thread.run_sync(context.pool.spent)
            counts = await anyio.to_thread.run_sync(context.pool.counts)
            fleet.budget.follow(spent_of(context.workspace, spent))
            plan.follow(counts.categories)


async def _stop_when_reached(goal: Goal, engine: Engine) -> None:
    """Stop where rows of other services reach the goal while none of this one is decided."""
    while True:
        if goal.is_reached:
            engine.stop(Ended.DONE)
            return
        await anyio.sleep(REACHED_EVERY_S)


async def plan_of(context: Context, fleet: Fleet, shares: Mapping[str, float], salt: str = "") -> Plan:
    """Make the plan of a run: what is in the pool counts, and nothing that was asked is asked again.

    Args:
        context: The workspace.
        fleet: Whose abilities the plan uses.
        shares: The target share of each category that is trained.
        salt: Sets the randomness of one service apart from that of others on the pool.
    """
    pool, settings = context.pool, salted(context.workspace.config.generation, salt)
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
        shares=shares,
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


def salted(settings: GenerationConfig, salt: str) -> GenerationConfig:
    """Return settings whose seed is one service's own, so that no two ask the same."""
    if not salt:
        return settings
    seed = int.from_bytes(blake2b(f"{settings.seed}/{salt}".encode(), digest_size=4).digest())
    return settings.model_copy(update={"seed": seed})
