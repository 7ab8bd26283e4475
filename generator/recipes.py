"""The list of all recipes, by the name that the config gives a weight."""

from collections.abc import Mapping

from seedbed.generator.alpaca import alpaca
from seedbed.generator.answer import answer
from seedbed.generator.chain_of_thought import chain_of_thought
from seedbed.generator.evolve import evolve
from seedbed.generator.guarded import look_alike, refusal, unanswerable
from seedbed.generator.recipe import Recipe
from seedbed.generator.self_instruct import self_instruct

RECIPES: Mapping[str, Recipe] = {
    "alpaca": alpaca,
    "self_instruct": self_instruct,
    "chain_of_thought": chain_of_thought,
    "evolve": evolve,
    "refusal": refusal,
    "look_alike": look_alike,
    "unanswerable": unanswerable,
    "answer": answer,
}
