"""What a request shows and names: demonstrations fit for a recipe, and subjects from shuffled decks."""

from collections.abc import Sequence
from random import Random

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import ConfigError
from seedbed.core.refusals import finds_refusal
from seedbed.generator.choice import ANSWER, EVOLVE, LOOK_ALIKE, REFUSAL
from seedbed.generator.recipe import Demonstration
from seedbed.prompts.library import PromptLibrary

GENERAL = "topics"
SUBJECTS = {REFUSAL: "harms", LOOK_ALIKE: "look_alikes"}
"""Recipes with lists of subjects of their own, in `prompts/generation/`; the others share `topics`."""

TRIPLES = ("alpaca", REFUSAL, LOOK_ALIKE, "unanswerable")
"""Recipes that ask for whole triples, several in one request."""


def rows_asked(settings: GenerationConfig) -> dict[str, int]:
    """Return the rows that one assignment of each recipe asks for; of others it is one."""
    proposing = dict.fromkeys(("self_instruct", "chain_of_thought"), settings.proposals_per_request)
    return {**dict.fromkeys(TRIPLES, settings.triples_per_request), **proposing}


def demonstrations_for(
    recipe: str, seeds: Sequence[Demonstration], rows: Sequence[Demonstration], settings: GenerationConfig, rng: Random
) -> tuple[Demonstration, ...]:
    """Draw what a recipe shows, from the seeds and the accepted rows of one category."""
    match recipe:
        case "answer":
            return ()
        case "evolve":
            return (_parent(seeds, rows, settings.evolve.max_depth, rng),)
        case "refusal" | "look_alike":
            fitting = [seed for seed in seeds if bool(finds_refusal(seed.output)) == (recipe == REFUSAL)]
            return tuple(sample_short(fitting or seeds, settings.alpaca_demonstrations, rng))
        case "unanswerable":
            return tuple(sample_short(seeds, settings.alpaca_demonstrations, rng))
    human, machine = settings.human_demonstrations, settings.machine_demonstrations
    if recipe == "alpaca":
        share = machine / max(1, human + machine)
        machine = sum(rng.random() < share for _ in range(settings.alpaca_demonstrations))
        human = settings.alpaca_demonstrations - machine
    shown = rng.sample(rows, min(machine, len(rows)))
    shown += sample_short(seeds, human + machine - len(shown), rng)
    rng.shuffle(shown)
    return tuple(shown)


def sample_short(seeds: Sequence[Demonstration], count: int, rng: Random) -> list[Demonstration]:
    """Draw two more than needed and leave out the longest: long demonstrations cost and crowd small contexts."""
    drawn = rng.sample(seeds, min(count + 2, len(seeds))) if count else []
    longest_last = sorted(drawn, key=lambda seed: len(seed.instruction) + len(seed.input) + len(seed.output))
    kept = longest_last[:count]
    rng.shuffle(kept)
    return kept


class Decks:
    """Shuffled lists of subjects, each dealt once before any is dealt twice."""

    def __init__(self, prompts: PromptLibrary, rng: Random) -> None:
        self._prompts, self._rng = prompts, rng
        self._subjects: dict[str, list[str]] = {}
        self._decks: dict[str, list[str]] = {}

    def require(self, name: str) -> list[str]:
        """Read a list of subjects.

        Raises:
            ConfigError: It is empty.
        """
        if name not in self._subjects:
            lines = self._prompts.get(f"generation/{name}").source.splitlines()
            self._subjects[name] = [line.strip() for line in lines if line.strip()]
            if not self._subjects[name]:
                raise ConfigError(f"prompt template generation/{name} is empty; it needs one subject on each line")
        return self._subjects[name]

    def deal(self, recipe: str, count: int) -> tuple[str, ...]:
        """Take subjects for a recipe."""
        if recipe in (ANSWER, EVOLVE):
            count = 0
        name = SUBJECTS.get(recipe, GENERAL)
        deck, subjects = self._decks.setdefault(name, []), self.require(name)
        while len(deck) < count:
            deck[:0] = self._rng.sample(subjects, len(subjects))
        dealt = deck[len(deck) - count :]
        del deck[len(deck) - count :]
        return tuple(dealt)


def _parent(
    seeds: Sequence[Demonstration], rows: Sequence[Demonstration], max_depth: int, rng: Random
) -> Demonstration:
    """Draw the row to evolve: accepted ones that are not too deep, and seeds, each kind half of the time."""
    shallow = [row for row in rows if row.depth < max_depth]
    return rng.choice(shallow if shallow and rng.random() < 0.5 else seeds)
