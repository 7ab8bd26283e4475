"""Leading verbs and their objects, by hand, and against a parser's tree."""

import pytest

from seedbed.generator.verbs import Asked, asked_for, singular


@pytest.mark.parametrize(
    ("instruction", "verb", "noun"),
    [
        ("Write a short poem about the sea.", "write", "poem"),
        ("List five uses for an empty jar.", "list", "use"),
        ("Give me three examples of irony.", "give", "example"),
        ("Please summarise the following article in one sentence.", "summarise", "article"),
        ("In one sentence, explain the rule.", "explain", "rule"),
        ("You are a judge. Classify these reviews.", "classify", "review"),
        ("Can you translate this letter into French?", "translate", "letter"),
        ("What is the capital of Peru?", "", ""),
        ("Schreibe ein Gedicht.", "", ""),
        ("", "", ""),
    ],
)
def test_the_leading_verb_and_its_object(instruction: str, verb: str, noun: str) -> None:
    assert asked_for(instruction) == Asked(verb, noun)


@pytest.mark.parametrize(
    ("plural", "one"), [("stories", "story"), ("boxes", "box"), ("cars", "car"), ("glass", "glass"), ("bus", "bus")]
)
def test_a_regular_plural_becomes_singular(plural: str, one: str) -> None:
    assert singular(plural) == one
