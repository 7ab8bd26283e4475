"""Which recipe writes the next rows of a category: by weight, among those that serve it."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from random import Random

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import ConfigError
from seedbed.generator.recipe import Brought

REFUSAL, LOOK_ALIKE, ANSWER, EVOLVE = "refusal", "look_alike", "answer", "evolve"


class RecipeChoice:
    """Chooses recipes, and keeps the balance between refusals and answered look-alikes.

    A recipe with categories of its own (`refusal`, `unanswerable`) is alone in them; `chain_of_thought` joins the
    others in its categories; `answer` serves a category as long as there are instructions of the user's for it. A
    refusal is asked for only where look-alikes are ahead of it, accepted rows against accepted and expected ones, so
    that at least as many harmless requests are answered as harmful ones are refused.
    """

    def __init__(
        self, settings: GenerationConfig, accepted: Mapping[str, int], brought: Iterable[Brought] = ()
    ) -> None:
        """Start from the accepted rows by recipe.

        Raises:
            ConfigError: No recipe has a weight above 0.
        """
        self._weights: dict[str, float] = {}
        self._fits: dict[str, dict[str, float]] = {}
        """Category to the recipes that serve it; looked up several times for each assignment."""
        self.weigh(settings.recipes)
        if not self._weights:
            raise ConfigError("generation.recipes gives no recipe a weight above 0; give one, such as alpaca = 1.0")
        self._accepted, self._running = Counter(accepted), Counter[str]()
        self._rows = settings.triples_per_request
        self._alone = {"refusal": settings.refusal.categories, "unanswerable": settings.unanswerable.categories}
        self._beside = {"chain_of_thought": settings.chain_of_thought.categories}
        self._brought: defaultdict[str, deque[Brought]] = defaultdict(deque)
        for one in brought:
            self._brought[one.category].append(one)

    def weigh(self, recipes: Mapping[str, float]) -> None:
        """Choose by these weights from now on."""
        self._weights = {name: weight for name, weight in sorted(recipes.items()) if weight > 0}
        self._fits.clear()

    def serves(self, category: str) -> bool:
        """Tell whether any recipe may write rows of a category."""
        return bool(self._fitting(category))

    def pick(self, category: str, rng: Random) -> str:
        """Choose a recipe for a category that is served."""
        weights = self._fitting(category)
        name = rng.choices(list(weights), weights=list(weights.values()))[0]
        if name == REFUSAL and not self._look_alikes_are_ahead():
            name = LOOK_ALIKE
        return name

    def take_brought(self, category: str) -> Brought:
        """Take the next of the user's instructions for a category: its own first, then those without any."""
        queue = self._brought.get(category) or self._brought[""]
        taken = queue.popleft()
        if not queue:
            self._fits.clear()
        return taken

    def started(self, recipe: str) -> None:
        self._running[recipe] += 1

    def ended(self, recipe: str) -> None:
        self._running[recipe] -= 1

    def accepted(self, recipe: str) -> None:
        self._accepted[recipe] += 1

    def _look_alikes_are_ahead(self) -> bool:
        expected = self._accepted[REFUSAL] + (self._running[REFUSAL] + 1) * self._rows
        return expected <= self._accepted[LOOK_ALIKE]

    def _fitting(self, category: str) -> dict[str, float]:
        fits = self._fits.get(category)
        if fits is None:
            fits = self._fits[category] = self._found_fitting(category)
        return fits

    def _found_fitting(self, category: str) -> dict[str, float]:
        alone = {name: self._weights[name] for name in self._alone if self._is_at_home(name, category)}
        if alone:
            return alone
        return {name: weight for name, weight in self._weights.items() if self._joins(name, category)}

    def _is_at_home(self, name: str, category: str) -> bool:
        return name in self._weights and category in self._alone[name]

    def _joins(self, name: str, category: str) -> bool:
        if name in self._alone:
            return False
        if name == ANSWER:
            return bool(self._brought.get(category) or self._brought.get(""))
        return name not in self._beside or category in self._beside[name]


def capped_shares(shares: Mapping[str, float], settings: GenerationConfig) -> dict[str, float]:
    """Hold the share of the categories that `refusal` writes at its cap, where that recipe has a weight."""
    if settings.recipes.get(REFUSAL, 0) <= 0:
        return dict(shares)
    cap, total = settings.refusal.share_cap, sum(shares.values())
    capped = settings.refusal.categories
    return {name: min(share, cap * total) if name in capped else share for name, share in shares.items()}
