"""Refusals told from answers that only look like them."""

import pytest

from seedbed.core.refusals import finds_refusal


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m really sorry, but I’m unable to help you here.",
        "I cannot provide instructions for that.",
        "Unfortunately, I am not able to share such details.",
        "As an AI language model, I do not have feelings.",
        "It is not appropriate or ethical to make such jokes.",
        "I don't think it's appropriate to answer this.",
        "I must respectfully decline.",
    ],
)
def test_a_refusal_is_found_by_its_words(answer: str) -> None:
    assert finds_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I can't help myself -- I have to smoke.",
        "I'm sorry for your loss. We all miss her.",
        "Sorry, I missed the bus and was late.",
        "That's right. The Danube flows into the Black Sea.",
        "The shop cannot provide refunds after 30 days.",
        "It's important to drink water when it is hot.",
        "It is not true that bats are blind.",
        "",
        "Water boils at 100 degrees. " * 30 + "I cannot provide more.",
    ],
)
def test_an_answer_is_no_refusal_for_a_similar_word(answer: str) -> None:
    assert finds_refusal(answer) == ""
