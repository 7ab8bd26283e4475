"""What is asked otherwise while rows are too alike; taken back as soon as they are not."""

from collections.abc import Collection
from dataclasses import dataclass

from seedbed.core.config import GenerationConfig
from seedbed.core.diversity import Collapse

WARMER, COOL, HOTTEST = 0.3, 0.7, 1.4
"""How much the temperature rises, where it at least comes to, and where at most: small models write nonsense above."""

SPARED = ("self_instruct", "alpaca")
"""Recipes that serve every category and need nothing of their own, for a workspace that uses only one recipe."""

SHORT_LINEAGE = 2
"""Rows with more generations behind them are not shown while lineages are too deep."""


@dataclass(frozen=True, slots=True)
class Steering:
    """How generation goes on under some collapses."""

    settings: GenerationConfig
    max_depth: int | None
    """Rows with more generations behind them are not shown; None: any may be."""
    changes: dict[Collapse, str]
    """What is asked otherwise, for each collapse."""


def steer(settings: GenerationConfig, standing: Collection[Collapse]) -> Steering:
    """Return how to generate while these collapses stand; none: by the settings alone."""
    now, max_depth, changes = settings, None, dict[Collapse, str]()
    for cause in sorted(standing):
        match cause:
            case Collapse.REPEATED_WORDING | Collapse.FALLING_ACCEPTANCE:
                now = _with_seeds(_warmer(now, settings.temperature), settings)
                changes[cause] = (
                    f"temperature {settings.temperature:g} → {now.temperature:g}; seed tasks alone are shown"
                )
            case Collapse.FEW_VERBS:
                now = now.model_copy(update={"recipes": _other_weights(settings.recipes)})
                weights = ", ".join(f"{name} {weight:g}" for name, weight in now.recipes.items() if weight)
                changes[cause] = f"recipe weights: {weights}"
            case Collapse.FEW_CATEGORIES:
                now = _with_seeds(now, settings)
                changes[cause] = "seed tasks alone are shown"
            case Collapse.DEEP_LINEAGE:
                max_depth = SHORT_LINEAGE
                depth = min(settings.evolve.max_depth, SHORT_LINEAGE)
                now = now.model_copy(update={"evolve": settings.evolve.model_copy(update={"max_depth": depth})})
                changes[cause] = f"rows with more than {SHORT_LINEAGE} generations behind them are not shown"
    return Steering(now, max_depth, changes)


def _warmer(now: GenerationConfig, temperature: float) -> GenerationConfig:
    warm = max(temperature, min(HOTTEST, max(COOL, temperature + WARMER)))
    return now.model_copy(update={"temperature": round(warm, 2)})


def _with_seeds(now: GenerationConfig, settings: GenerationConfig) -> GenerationConfig:
    """Show as many demonstrations as before, all of them written by people."""
    shown = settings.human_demonstrations + settings.machine_demonstrations
    return now.model_copy(update={"human_demonstrations": shown, "machine_demonstrations": 0})


def _other_weights(recipes: dict[str, float]) -> dict[str, float]:
    """Turn the weights round, so that the rarest recipe becomes the commonest; bring one in where there is only one."""
    used = sorted((name for name, weight in recipes.items() if weight > 0), key=lambda name: recipes[name])
    if len(used) == 1:
        return {**recipes, next(name for name in SPARED if name != used[0]): recipes[used[0]]}
    turned = dict(zip(used, (recipes[name] for name in reversed(used)), strict=True))
    return {**recipes, **turned}
