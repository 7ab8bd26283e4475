"""What rows cost: tokens and money in all, and for each accepted row by category and by recipe."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from seedbed.core.config import Config, EndpointConfig
from seedbed.core.records import Cost
from seedbed.pool.records import PoolCounts, SpentFor, Usage, Use


def cost_of(config: Config, spent: Usage) -> float:
    """Return what all completions cost, by the prices of the endpoints in the config.

    Answers of endpoints that are no longer in the config count nothing.
    """
    prices = {endpoint.name: endpoint for endpoint in config.endpoints}
    return sum(_money(use, prices.get(name)) for name, use in spent.endpoints.items())


def costs_by_category(config: Config, spent: Usage, counts: PoolCounts) -> dict[str, Cost]:
    """Return what each category cost: what was asked for it, beside the rows accepted in it."""
    return _costs(config, spent, counts.categories, lambda purpose: purpose.category)


def costs_by_recipe(config: Config, spent: Usage, counts: PoolCounts) -> dict[str, Cost]:
    """Return what each recipe cost, beside the rows it brought."""
    return _costs(config, spent, counts.recipes, lambda purpose: purpose.recipe)


def _costs(
    config: Config, spent: Usage, accepted: Mapping[str, int], group_of: Callable[[SpentFor], str]
) -> dict[str, Cost]:
    prices = {endpoint.name: endpoint for endpoint in config.endpoints}
    groups: defaultdict[str, list[tuple[SpentFor, Use]]] = defaultdict(list)
    for purpose, use in spent.purposes.items():
        groups[group_of(purpose)].append((purpose, use))
    return {
        group: _cost(accepted.get(group, 0), [use for _, use in parts], _sum(parts, prices))
        for group, parts in sorted(groups.items())
    }


def _cost(accepted: int, uses: Sequence[Use], money: float) -> Cost:
    prompt_tokens, completion_tokens = (
        sum(use.prompt_tokens for use in uses),
        sum(use.completion_tokens for use in uses),
    )
    return Cost(
        accepted=accepted,
        requests=sum(use.requests for use in uses),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        money=money,
        tokens_per_accepted=(prompt_tokens + completion_tokens) / accepted if accepted else None,
        money_per_accepted=money / accepted if accepted else None,
    )


def _sum(parts: Sequence[tuple[SpentFor, Use]], prices: Mapping[str, EndpointConfig]) -> float:
    return sum(_money(use, prices.get(purpose.endpoint)) for purpose, use in parts)


def _money(use: Use, prices: EndpointConfig | None) -> float:
    if prices is None:
        return 0.0
    money = use.prompt_tokens * prices.price_per_million_prompt_tokens
    return (money + use.completion_tokens * prices.price_per_million_completion_tokens) / 1e6


def cost_cells(cost: Cost | None) -> tuple[str, str]:
    """Write what an accepted row cost, in tokens and in money; empty where none was accepted or nothing was priced."""
    if cost is None:
        return "", ""
    tokens, money = cost.tokens_per_accepted, cost.money_per_accepted
    return ("" if tokens is None else f"{tokens:.0f}"), (f"{money:.6f}" if money else "")
