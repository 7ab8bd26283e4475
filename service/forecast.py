"""`seedbed plan`: what a run would ask and cost, before anything is spent."""

from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from seedbed.core.errors import MissingFileError
from seedbed.core.events import Events
from seedbed.generator.plan import Plan
from seedbed.pool.pool import Pool
from seedbed.prompts.library import PromptLibrary
from seedbed.service.teachers import teachers_of
from seedbed.service.workspace import Workspace

# Until a pool tells its own: what the small models of the first run needed (docs/benchmarks.md).
PROMPT_TOKENS_A_ROW = 300.0
COMPLETION_TOKENS_A_ROW = 200.0


def forecast(workspace: Workspace, target: int | None) -> dict[str, Any]:
    """Foresee a run to `target` accepted rows, by what rows of this pool cost so far or by a documented guess."""
    endpoints = teachers_of(workspace)
    past = _past(workspace)
    wanted = target or past["threshold"]
    missing = max(0, wanted - past["accepted"])
    prompt, completion = past["prompt_tokens_a_row"], past["completion_tokens_a_row"]
    weights = sum(endpoint.weight for endpoint in endpoints)  # each takes its part of the work
    cost = missing * sum(
        (prompt * one.price_per_million_prompt_tokens + completion * one.price_per_million_completion_tokens)
        * (one.weight / weights)
        for one in endpoints
    )
    return {
        "endpoint": ", ".join(endpoint.name for endpoint in endpoints),
        "model": ", ".join(dict.fromkeys(endpoint.model for endpoint in endpoints)),
        "accepted": past["accepted"],
        "target": wanted,
        "basis": past["basis"],
        "prompt_tokens": round(missing * prompt),
        "completion_tokens": round(missing * completion),
        "cost": round(cost / 1e6, 4),
        "categories": {name: round(share * wanted) for name, share in workspace.categories.shares().items()},
        "held_out": list(workspace.held_out),
        "prompts": example_prompts(workspace),
    }


def _past(workspace: Workspace) -> dict[str, Any]:
    """Return what the pool's rows cost so far."""
    threshold = workspace.config.pool.first_target
    guess = {
        "accepted": 0,
        "threshold": threshold,
        "prompt_tokens_a_row": PROMPT_TOKENS_A_ROW,
        "completion_tokens_a_row": COMPLETION_TOKENS_A_ROW,
        "basis": "a guess, since the pool is empty",
    }
    try:
        with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
            accepted, spent = pool.accepted_count(), pool.spent()
            if not accepted:
                return guess
            return {
                "accepted": accepted,
                "threshold": pool.threshold(len([run for run in pool.runs() if run.adapter_id])),
                "prompt_tokens_a_row": spent.prompt_tokens / accepted,
                "completion_tokens_a_row": spent.completion_tokens / accepted,
                "basis": f"the {accepted} rows accepted so far",
            }
    except MissingFileError:
        return guess


def example_prompts(workspace: Workspace) -> dict[str, str]:
    """Render the first prompt of each recipe that has a weight."""
    from seedbed.generator.recipes import RECIPES
    from seedbed.service.first_prompt import first_prompt

    settings = workspace.config.generation
    prompts = {}
    for name, weight in settings.recipes.items():
        if weight > 0 and name in RECIPES:
            plan = Plan(
                categories=workspace.categories,
                seeds=workspace.trained_seeds,
                settings=settings.model_copy(update={"recipes": {name: 1.0}}),
                prompts=PromptLibrary(workspace.prompts),
                use_json_schema=settings.use_json_schema != "never",
                events=Events(),
            )
            prompts[name] = first_prompt(RECIPES[name], plan.next())
    return prompts


def print_forecast(foreseen: dict[str, Any]) -> None:
    """Print it for people."""
    console = Console(highlight=False)
    for name, prompt in foreseen["prompts"].items():
        console.print(Panel(Text(prompt), title=f"a first prompt of {name}", title_align="left"))
    table = Table(title=f"rows wanted of {foreseen['target']}", title_justify="left")
    table.add_column("category")
    table.add_column("rows", justify="right")
    for category, rows in foreseen["categories"].items():
        table.add_row(category, str(rows))
    console.print(table)
    console.print(f"held out: {', '.join(foreseen['held_out'])}", markup=False)
    console.print(
        f"{foreseen['model']} at endpoint {foreseen['endpoint']}: about {foreseen['prompt_tokens']:,} prompt and "
        f"{foreseen['completion_tokens']:,} completion tokens, cost {foreseen['cost']:.2f} (by {foreseen['basis']})",
        markup=False,
    )
