"""How well the categories of a seed file can be told apart: each seed classified by all others."""

from pathlib import Path
from typing import Any

from seedbed.seeds.classifier import MIN_SEEDS, TRUSTED, CategoryClassifier
from seedbed.seeds.load import Categories, load_seed_tasks


def agreement_values(file: Path, categories: Categories) -> dict[str, Any]:
    """Measure the agreement on the seeds of a file that is in order."""
    seeds = load_seed_tasks(file, categories)
    held_out = [category.name for category in categories.held_out]
    classifier = CategoryClassifier(seeds, held_out)
    found = classifier.agreement
    return {
        "seeds": found.seeds,
        "right": found.right,
        "by_category": {name: {"seeds": n, "right": right} for name, (n, right) in found.by_category.items()},
        "held_out_seeds": found.held_out_seeds,
        "held_out_found": found.held_out_found,
        "trained_seeds": found.trained_seeds,
        "trained_refused": found.trained_refused,
        "not_learned": sorted({seed.category for seed in seeds} - set(classifier.categories)),
    }


def agreement_text(told: dict[str, Any]) -> str:
    """Say the same in sentences."""
    lines = []
    if told["not_learned"]:
        lines.append(
            f"fewer than {MIN_SEEDS} seed tasks, so no row is told to be one: {', '.join(told['not_learned'])}"
        )
    if not told["seeds"]:
        return "\n".join([*lines, "categories are not verified: fewer than two can be learned"])
    lines.append(
        f"category told right, each seed left out in turn: {told['right']} of {told['seeds']} "
        f"({told['right'] / told['seeds']:.1%})"
    )
    lines += [f"  {name:<20} {one['right']:>3} of {one['seeds']}" for name, one in told["by_category"].items()]
    if told["right"] < TRUSTED * told["seeds"]:
        lines.append(f"under {TRUSTED:.0%}, so rows keep the category that was asked for, unless it looks held out")
    if told["held_out_seeds"]:
        lines.append(
            f"held-out seeds told as held out: {told['held_out_found']} of {told['held_out_seeds']}; "
            f"seeds of trained categories told so: {told['trained_refused']} of {told['trained_seeds']}"
        )
    return "\n".join(lines)
