"""What to ask next: the category with the largest deficit, a recipe, demonstrations and subjects."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from seedbed.core.config import GenerationConfig
from seedbed.core.diversity import Collapse, Reaction
from seedbed.core.errors import ConfigError, GenerationError
from seedbed.core.events import Events
from seedbed.core.records import Candidate, SeedTask
from seedbed.generator.choice import ANSWER, RecipeChoice, capped_shares
from seedbed.generator.recipe import Assignment, Brought, Demonstration
from seedbed.generator.showing import GENERAL, Decks, demonstrations_for, rows_asked, sample_short
from seedbed.generator.steering import steer
from seedbed.generator.yields import Yields
from seedbed.prompts.library import PromptLibrary
from seedbed.seeds.load import Categories, Category

SATURATION_WINDOW = 60
"""Rows of a category looked at: of fewer, nothing is concluded."""

SATURATION_ACCEPTED = 1
"""A category is left out when so few of the window are accepted; at a true 10% that happens in 1 of 70 windows."""

RESERVOIR_ROWS = 256
"""Accepted rows of each category kept at hand as demonstrations, so that planning never waits for the database."""

LABEL_EXAMPLES = 5
"""Seed tasks of each kind shown when the model is asked for the kind (paper: 12 and 19; small models need fewer)."""


class SampleAccepted(Protocol):
    """Draws accepted rows of a category from the pool."""

    def __call__(self, count: int, category: str, rng: Random) -> Sequence[Candidate]: ...


@dataclass(slots=True)
class _CategoryState:
    """What is known of one trained category."""

    category: Category
    share: float
    accepted: int
    seeds: list[Demonstration]
    rows: list[Demonstration]
    rows_seen: int
    in_flight: float = 0.0
    """Rows expected from the assignments that run."""
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=SATURATION_WINDOW))
    is_saturated: bool = False
    is_classification: bool | None = field(init=False)

    def __post_init__(self) -> None:
        kinds = {seed.is_classification for seed in self.seeds}
        self.is_classification = kinds.pop() if len(kinds) == 1 and len(self.seeds) >= 3 else None


_RANDOM = Random()
"""Of ids alone. `os.urandom` lets other threads run first, each time: a thousand times a second that is a lot."""
os.register_at_fork(after_in_child=_RANDOM.seed)


def ordered_id() -> str:
    """Make an id that sorts by time, in the layout of UUID version 7 (RFC 9562), as 32 hexadecimal digits.

    Neighbours in time are neighbours in the pool's indexes, so that a commit touches few of their pages.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = _RANDOM.getrandbits(80) & ~(0xF << 76 | 0x3 << 62)
    return f"{milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | random:032x}"


class Plan:
    """Hands out assignments and learns from what became of them. Not thread-safe: it belongs to the event loop.

    Everything random in it follows from `settings.seed` and the number of the assignment.
    """

    def __init__(
        self,
        *,
        categories: Categories,
        seeds: Sequence[SeedTask],
        settings: GenerationConfig,
        prompts: PromptLibrary,
        use_json_schema: bool,
        accepted: Mapping[str, int] | None = None,
        accepted_by_recipe: Mapping[str, int] | None = None,
        brought: Iterable[Brought] = (),
        shares: Mapping[str, float] | None = None,
        sample_accepted: SampleAccepted | None = None,
        new_id: Callable[[], str] = ordered_id,
        first_number: int = 0,
        events: Events | None = None,
    ) -> None:
        """Prepare to plan.

        Args:
            categories: Those with a share; held-out ones are neither asked for nor shown.
            seeds: Seed tasks of any category.
            settings: The section `[generation]`.
            prompts: Templates, and the list of subjects `generation/topics`.
            use_json_schema: Whether the endpoints hold a model to a schema.
            accepted: Category to rows already in the pool.
            accepted_by_recipe: Recipe to rows already in the pool.
            brought: Instructions for the recipe `answer`; each is used once.
            shares: Target shares that beat those of `categories`; they need not add up to 1.
            sample_accepted: Where demonstrations among accepted rows come from at the start.
            new_id: Makes the ids of requests and proposals; they must be new to the pool.
            first_number: Assignments made before, in earlier runs, so that a resumed run does not ask again what
                the first one asked.
            events: Told of saturated categories.

        Raises:
            ConfigError: No trained category has a seed task, or no recipe has a weight.
        """
        self._settings, self._prompts, self._use_json_schema = settings, prompts, use_json_schema
        self._new_id, self._number, self._events = new_id, first_number, events or Events()
        self._rng, self._drawing = Random(f"{settings.seed}/plan/{first_number}"), Random()
        self._choice = RecipeChoice(settings, accepted_by_recipe or {}, brought)
        self._states = self._open_states(categories, seeds, accepted or {}, shares, sample_accepted)
        self._decks = Decks(prompts, self._rng)
        self._decks.require(GENERAL)
        self._rows_asked = rows_asked(settings)
        self._yields = Yields(self._rows_asked)
        self._running: dict[int, float] = {}
        self._expected = 0.0
        self._label_examples = self._choose_label_examples()
        self._steering = steer(settings, ())
        self._reactions: tuple[Reaction, ...] = ()

    @property
    def reactions(self) -> tuple[Reaction, ...]:
        """What is asked otherwise now, since rows are too alike."""
        return self._reactions

    @property
    def expected_in_flight(self) -> float:
        """Rows that the running assignments will bring, by what such assignments brought so far."""
        return self._expected

    @property
    def saturated(self) -> tuple[str, ...]:
        """Categories left out, since nearly all their new rows were refused."""
        return tuple(name for name, state in self._states.items() if state.is_saturated)

    def next(self) -> Assignment:
        """Choose the next piece of work and count it as running until `finished`.

        Raises:
            GenerationError: No recipe has anything left to ask for.
        """
        number, self._number = self._number, self._number + 1
        settings, max_depth = self._steering.settings, self._steering.max_depth
        seed, rng = f"{self._settings.seed}/{number}", self._drawing
        rng.seed(seed)
        state = self._neediest(rng)
        recipe = self._choice.pick(state.category.name, rng)
        self._choice.started(recipe)
        expected = self._yields.expected(recipe, state.category.name)
        state.in_flight += expected
        self._running[number] = expected
        self._expected += expected
        rows = state.rows if max_depth is None else [row for row in state.rows if row.depth <= max_depth]
        return Assignment(
            number=number,
            recipe=recipe,
            requested_category=state.category.name,
            category_description=state.category.description,
            demonstrations=demonstrations_for(recipe, state.seeds, rows, settings, rng),
            topics=self._decks.deal(recipe, self._rows_asked.get(recipe, 1)),
            is_classification=state.is_classification,
            label_examples=self._label_examples,
            seed=seed,
            settings=settings,
            use_json_schema=self._use_json_schema,
            prompts=self._prompts,
            new_id=self._new_id,
            brought=self._choice.take_brought(state.category.name) if recipe == ANSWER else None,
        )

    def record(self, candidate: Candidate, accepted: bool) -> None:
        """Learn what was decided on a candidate; one of another category than was asked for is a miss for that."""
        is_hit = accepted and candidate.category in ("", candidate.requested_category)
        self._remember(candidate.requested_category, is_hit)
        state = self._states.get(candidate.category or candidate.requested_category)
        if accepted:
            self._choice.accepted(candidate.lineage.recipe)
        if accepted and state:
            state.accepted += 1
            self._keep(state, Demonstration.of_candidate(candidate))

    def record_refusals(self, category: str, count: int) -> None:
        """Learn of refusals without a candidate: instructions that were not novel, and unreadable pieces."""
        for _ in range(count):
            self._remember(category, False)

    def finished(self, assignment: Assignment, accepted: int) -> None:
        """Learn that an assignment has ended, with so many accepted rows."""
        expected = self._running.pop(assignment.number, 0.0)
        self._expected = self._expected - expected if self._running else 0.0
        self._states[assignment.requested_category].in_flight -= expected
        self._choice.ended(assignment.recipe)
        self._yields.record(assignment.recipe, assignment.requested_category, accepted)

    def follow(self, accepted: Mapping[str, int]) -> None:
        """Learn how many rows of each category the pool holds, since others add to it too."""
        for name, state in self._states.items():
            state.accepted = accepted.get(name, 0)

    def react(self, standing: Mapping[Collapse, str]) -> tuple[Reaction, ...]:
        """Ask otherwise while collapses stand, as before when none does; each is told with its reason, once."""
        self._steering = steer(self._settings, standing)
        self._choice.weigh(self._steering.settings.recipes)
        changes = self._steering.changes
        reactions = tuple(Reaction(cause=one, reason=standing[one], changes=changes[one]) for one in sorted(standing))
        before, after = ({one.cause: one for one in some} for some in (self._reactions, reactions))
        self._reactions = reactions
        for cause in after.keys() - before.keys():
            self._events.emit("diversity.reacted", **after[cause].model_dump(mode="json"))
        for cause in before.keys() - after.keys():
            self._events.emit("diversity.recovered", **before[cause].model_dump(mode="json"))
        return reactions

    def forget(self, candidate_id: str) -> None:
        """Demonstrate a row no more, since it was taken out of the pool."""
        for state in self._states.values():
            kept = [row for row in state.rows if row.id != candidate_id]
            state.accepted -= len(state.rows) - len(kept)
            state.rows = kept

    def _open_states(
        self,
        categories: Categories,
        seeds: Sequence[SeedTask],
        accepted: Mapping[str, int],
        shares: Mapping[str, float] | None,
        sample: SampleAccepted | None,
    ) -> dict[str, _CategoryState]:
        wanted = capped_shares(shares or categories.shares(), self._settings)
        states = {}
        for category in categories.trained:
            own = [Demonstration.of_seed(seed) for seed in seeds if seed.category == category.name]
            if not own or not self._choice.serves(category.name) or wanted.get(category.name, 0.0) <= 0:
                continue
            rows = sample(RESERVOIR_ROWS, category.name, self._rng) if sample else ()
            count = accepted.get(category.name, 0)
            states[category.name] = _CategoryState(
                category, wanted[category.name], count, own, [Demonstration.of_candidate(row) for row in rows], count
            )
        if not states:
            raise ConfigError(
                "no category with a share above 0 has a seed task and a recipe that serves it; "
                "see `seedbed seeds check` and generation.recipes"
            )
        return states

    def _neediest(self, rng: Random) -> _CategoryState:
        served = [state for state in self._states.values() if self._choice.serves(state.category.name)]
        if not served:
            raise GenerationError(
                "nothing is left to ask: every instruction of generation.answer.instructions is answered, and no other "
                "recipe has a weight; add instructions, or give generation.recipes another recipe"
            )
        states = [state for state in served if not state.is_saturated] or served
        there = [state.accepted + state.in_flight for state in states]
        total, shares = sum(there) + 1, sum([state.share for state in states])
        missing = [state.share / shares * total - count for state, count in zip(states, there, strict=True)]
        most = max(missing)
        neediest = [state for state, count in zip(states, missing, strict=True) if count == most]
        return neediest[0] if len(neediest) == 1 else rng.choice(neediest)

    def _choose_label_examples(self) -> tuple[Demonstration, ...]:
        seeds = [seed for state in self._states.values() for seed in state.seeds]
        yes = [seed for seed in seeds if seed.is_classification]
        no = [seed for seed in seeds if not seed.is_classification]
        chosen = [seed for kind in (yes, no) for seed in sample_short(kind, LABEL_EXAMPLES, self._rng)]
        self._rng.shuffle(chosen)
        return tuple(chosen)

    def _remember(self, category: str, accepted: bool) -> None:
        state = self._states.get(category)
        if not state or state.is_saturated:
            return
        state.recent.append(accepted)
        if len(state.recent) == SATURATION_WINDOW and sum(state.recent) <= SATURATION_ACCEPTED:
            state.is_saturated = True
            self._events.emit(
                "category.saturated", category=category, rows=SATURATION_WINDOW, accepted=sum(state.recent)
            )

    def _keep(self, state: _CategoryState, row: Demonstration) -> None:
        """Keep a uniform sample of a category's accepted rows (reservoir sampling, algorithm R)."""
        state.rows_seen += 1
        if len(state.rows) < RESERVOIR_ROWS:
            state.rows.append(row)
        elif (place := self._rng.randrange(state.rows_seen)) < RESERVOIR_ROWS:
            state.rows[place] = row
