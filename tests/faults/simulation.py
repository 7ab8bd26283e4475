"""One life of a generation, simulated: real fleet, engine, decider and pool, on virtual time, with faults from a seed.

A world dies at a random step (before or after that step was stored, as `kill -9` would have it), its pool is opened
anew, its filters are rebuilt from it, and it goes on. Endpoints fail in every way. Calls to decider and pool block the
event loop, so threads add no order of their own and a seed replays.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
import orjson

from seedbed.core.config import GenerationConfig, PoolConfig
from seedbed.core.errors import EndpointTimeoutError, SeedbedError
from seedbed.core.filter_config import FiltersConfig
from seedbed.core.records import Candidate, Completion, Decision, Proposal, Request
from seedbed.endpoints.scripted import filled
from seedbed.filters.cascade import build_cascade
from seedbed.generator.engine import Engine
from seedbed.generator.plan import Plan
from seedbed.pool.pool import Pool
from seedbed.pool.records import RequestFailure, Unreadable
from seedbed.prompts.library import PromptLibrary
from seedbed.service.decider import DecisionThread
from tests.endpoints.parts import Behaving, fleet_of, make_completion
from tests.endpoints.test_chaos import FAULTS
from tests.generator.parts import CATEGORIES, SEEDS
from tests.virtual_time import run_virtually

T = TypeVar("T")
TARGET = 24
FIRST_TARGET, STEP = 10, 7
MOST_LIVES = 12
WORDS = (
    "river",
    "lamp",
    "under",
    "quiet",
    "market",
    "before",
    "winter",
    "letter",
    "seven",
    "garden",
    "copper",
    "early",
)


class KilledError(BaseException):
    """The process is gone; nothing may catch this."""


@dataclass
class World:
    """What outlives a process: the folder, and what the outside was told and was asked."""

    folder: Path
    rng: random.Random
    sent: set[str] = field(default_factory=set)
    sent_in_last_life: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    lives: int = 0
    ids: int = 0

    def new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"


@dataclass
class Process:
    """One process: it may die at any step, before or after the step has taken effect."""

    world: World
    steps_left: int
    """It dies in the step that finds 0 here."""
    pool: Pool
    decider: DecisionThread
    is_dead: bool = False
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def step(self, store: Callable[[], T]) -> T:
        if self.is_dead:
            raise KilledError
        self.steps_left -= 1
        self.is_dead = self.steps_left <= 0
        if self.is_dead and self.world.rng.random() < 0.5:
            raise KilledError
        result = store()
        if self.is_dead:
            raise KilledError
        return result

    def waited(self, call: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            return await call()

        return self.threads.submit(asyncio.run, main()).result()

    async def screen(self, proposals: Sequence[Proposal]) -> list[bool]:
        return self.step(lambda: self.waited(lambda: self.decider.screen(proposals)))

    async def decide(self, candidates: Sequence[Candidate]) -> list[Decision]:
        decisions = self.step(lambda: self.waited(lambda: self.decider.decide(candidates)))
        self.world.acknowledged |= {decision.subject_id for decision in decisions if decision.accepted}
        return decisions

    async def release(self, task_ids: Sequence[str]) -> None:
        if not self.is_dead:
            self.waited(lambda: self.decider.release(task_ids))

    async def asked(self, request: Request) -> None:
        self.step(lambda: self.pool.add_requests([request]))

    async def answered(self, completion: Completion) -> None:
        self.step(lambda: self.pool.add_completions([completion]))

    async def failed(self, request: Request, error: SeedbedError) -> None:
        self.step(lambda: self.pool.add_failures([RequestFailure(request.id, type(error).__name__, str(error))]))

    async def note(self, request: Request, reason: str, text: str) -> None:
        self.step(lambda: self.pool.add_unreadable([Unreadable(request.id, reason, text)]))


def simulate(seed: int, folder: Path, endpoints: Callable[[World], Sequence[Behaving]] | None = None) -> World:
    """Live, die and live again until the target is reached; the world is left as the last life left it."""
    world = World(folder, random.Random(seed))
    rng, behaviours = world.rng, (endpoints or _chaotic_endpoints)(world)
    while world.lives < MOST_LIVES:
        world.lives += 1
        world.sent_in_last_life.clear()
        is_last = world.lives == MOST_LIVES
        steps = 10**9 if is_last else rng.randint(1, 60)
        if run_virtually(lambda steps=steps: _live(world, behaviours, steps)):  # type: ignore[misc]
            return world
    raise AssertionError(f"seed {seed}: the target was not reached in {MOST_LIVES} lives")


async def _live(world: World, behaviours: Sequence[Behaving], steps: int) -> bool:
    """Run one process until it is done or dead; tells which."""
    with Pool.open(world.folder, PoolConfig(first_target=FIRST_TARGET, step=STEP)) as pool:
        pool.fire_due()
        cascade = build_cascade(FiltersConfig(), only=("wellformed", "duplicate", "rouge"))
        cascade.load(SEEDS, pool.accepted())
        process = Process(world, steps, pool, DecisionThread(cascade, pool))
        try:
            async with fleet_of(*behaviours, max_in_flight=4, max_attempts=4, seed=world.lives) as fleet:
                engine = _engine(process, fleet.ask)
                await engine.run(lambda: pool.accepted_count() >= TARGET, lambda: TARGET - pool.accepted_count())
        except BaseException as error:
            if not _is_kill(error):
                raise
            return False
        finally:
            process.threads.shutdown()
            process.decider.close()
    return True


def _engine(process: Process, ask: Callable[[Request], Awaitable[Completion]]) -> Engine:
    world, pool = process.world, process.pool
    settings = GenerationConfig(
        recipes={"alpaca": 2.0, "self_instruct": 1.0}, concurrency=world.rng.choice([1, 3, 9]), seed=world.lives
    )

    async def send(request: Request) -> Completion:
        world.sent.add(request.id)
        world.sent_in_last_life.add(request.id)
        return await ask(request)

    plan = Plan(
        categories=CATEGORIES,
        seeds=tuple(seed for seed in SEEDS if seed.category != "secret"),
        settings=settings,
        prompts=PromptLibrary(),
        use_json_schema=True,
        accepted=pool.counts().categories,
        sample_accepted=lambda count, category, rng: pool.sample_accepted(count, rng=rng, categories=[category]),
        new_id=world.new_id,
        first_number=pool.counts().requests,
    )
    return Engine(
        plan=plan,
        ask=send,
        screen=process.screen,
        decide=process.decide,
        release=process.release,
        ledger=process,
        note_unreadable=process.note,
        settings=settings,
    )


def _chaotic_endpoints(world: World) -> list[Behaving]:
    rng = world.rng
    return [_chaotic(world, f"e{number}", rng.choice([0.0, 0.1, 0.4])) for number in range(rng.randint(1, 3))]


def _chaotic(world: World, name: str, faults: float) -> Behaving:
    """An endpoint that fails in every way at this share of its calls, and else answers what its schema demands."""

    async def behave(request: Request) -> Completion:
        rng = world.rng
        await anyio.sleep(rng.expovariate(1.0))
        if rng.random() < faults / 5:
            await anyio.sleep(60)
            raise EndpointTimeoutError("did not finish within 60 s")
        if rng.random() < faults:
            raise rng.choice(FAULTS)(rng)
        return make_completion(request, answer_to(request, rng), endpoint=name)

    return Behaving(behave, name)


def answer_to(request: Request, rng: random.Random) -> str:
    """Fill the schema with few words in many orders, so that near-duplicates abound; sometimes break it."""
    if rng.random() < 0.05:
        return '{"tasks": [{"instruction": "Describe the'
    if request.sampling.json_schema is None:
        return rng.choice(("Yes", "No"))
    return orjson.dumps(_reworded(filled(request.sampling.json_schema, rng), rng)).decode()


def _reworded(value: object, rng: random.Random, name: str = "") -> object:
    if isinstance(value, dict):
        return {key: _reworded(part, rng, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_reworded(part, rng, name) for part in value]
    words = " ".join(rng.choices(WORDS, k=rng.randint(5, 9)))
    return {"instruction": f"Describe {words}.", "output": f"The {words}."}.get(name, value)


def _is_kill(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KilledError) is not None
    return isinstance(error, KilledError)
