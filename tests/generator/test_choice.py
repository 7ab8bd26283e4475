"""Which recipe writes the next rows of a category."""

from collections import Counter
from random import Random

import pytest

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import ConfigError
from seedbed.core.recipe_config import ChainOfThoughtConfig, RefusalConfig
from seedbed.generator.choice import RecipeChoice, capped_shares
from seedbed.generator.recipe import Brought


def choice(brought: tuple[Brought, ...] = (), accepted: dict[str, int] | None = None, **weights: float) -> RecipeChoice:
    settings = GenerationConfig(
        recipes=weights,
        chain_of_thought=ChainOfThoughtConfig(categories=("sums",)),
        refusal=RefusalConfig(categories=("safety",)),
        triples_per_request=3,
    )
    return RecipeChoice(settings, accepted or {}, brought)


def picked(chosen: RecipeChoice, category: str, times: int = 400) -> Counter[str]:
    rng = Random(0)
    return Counter(chosen.pick(category, rng) for _ in range(times))


def test_recipes_are_picked_by_weight_and_chain_of_thought_only_where_it_belongs() -> None:
    chosen = choice(alpaca=1, chain_of_thought=3)
    assert picked(chosen, "letters") == {"alpaca": 400}
    assert abs(picked(chosen, "sums")["chain_of_thought"] - 300) < 40


def test_a_recipe_with_categories_of_its_own_is_alone_in_them_and_nowhere_else() -> None:
    chosen = choice(alpaca=100, refusal=1, accepted={"look_alike": 50})
    assert picked(chosen, "safety") == {"refusal": 400}
    assert picked(chosen, "letters") == {"alpaca": 400}


def test_without_it_its_categories_are_served_by_the_others() -> None:
    assert picked(choice(alpaca=1), "safety") == {"alpaca": 400}


def test_there_are_never_more_refusals_than_answered_look_alikes_however_few_of_these_are_accepted() -> None:
    chosen, rng, counts = choice(refusal=1), Random(1), Counter[str]()
    running: list[str] = []
    for _ in range(2000):
        recipe = chosen.pick("safety", rng)
        chosen.started(recipe)
        running.append(recipe)
        if len(running) > 8:  # several at once, ending in any order
            done = running.pop(rng.randrange(len(running)))
            chosen.ended(done)
            for _ in range(3 if done == "refusal" else rng.choice((0, 0, 1))):
                chosen.accepted(done)
                counts[done] += 1
            assert counts["refusal"] <= counts["look_alike"]
    assert counts["refusal"] > 0.8 * counts["look_alike"]


def test_brought_instructions_are_taken_once_each_in_their_category_first() -> None:
    chosen = choice((Brought("any"), Brought("a letter", category="letters")), answer=1)
    assert chosen.serves("letters")
    assert chosen.take_brought("letters").instruction == "a letter"
    assert chosen.take_brought("letters").instruction == "any"
    assert not chosen.serves("letters")


def test_the_share_of_refused_categories_is_capped() -> None:
    shares = {"letters": 0.8, "safety": 0.2}
    assert capped_shares(shares, GenerationConfig(recipes={"refusal": 1.0})) == {"letters": 0.8, "safety": 0.05}
    assert capped_shares(shares, GenerationConfig(recipes={"alpaca": 1.0})) == shares


def test_a_choice_without_weights_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="gives no recipe a weight above 0"):
        choice(alpaca=0)
