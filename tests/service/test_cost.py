"""What rows cost, by hand-worked sums."""

from pathlib import Path

import pytest

from seedbed.core.config import Config, EndpointConfig
from seedbed.core.records import (
    Candidate,
    Completion,
    Decision,
    FinishReason,
    Lineage,
    Message,
    Request,
    Subject,
    Verdict,
)
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, SpentFor, Use
from seedbed.service.cost import cost_of, costs_by_category, costs_by_recipe

ENDPOINTS = (
    EndpointConfig(
        name="dear",
        base_url="http://dear/v1",
        model="m",
        price_per_million_prompt_tokens=2,
        price_per_million_completion_tokens=10,
    ),
    EndpointConfig(name="free", base_url="http://free/v1", model="m"),
)
CONFIG = Config(teacher=("dear", "free"), endpoints=ENDPOINTS)


def ask(pool: Pool, identity: str, purpose: str, category: str, endpoint: str, tokens: tuple[int, int]) -> None:
    messages = (Message(role="user", content="?"),)
    pool.submit_requests(
        [Request(id=identity, purpose=purpose, messages=messages, requested_category=category)]
    ).result()
    completion = Completion(
        request_id=identity,
        text="!",
        finish_reason=FinishReason.STOP,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        model="m",
        endpoint=endpoint,
        latency_s=1.0,
    )
    pool.submit_completions([completion]).result()


def decide(pool: Pool, text: str, recipe: str, category: str, *, accepted: bool) -> None:
    candidate = Candidate.of(text, "", "yes", lineage=Lineage(recipe=recipe), requested_category=category)
    verdict = Verdict(filter="rouge", accepted=accepted, reason="" if accepted else "near_duplicate")
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=candidate.id,
        sequence=0,
        accepted=accepted,
        verdicts=(verdict,),
        decided_at=1.0,
    )
    pool.commit([Decided(candidate, decision)])


def filled(pool: Pool) -> None:
    ask(pool, "1", "alpaca", "coding", "dear", (1000, 100))
    ask(pool, "2", "self_instruct.propose", "coding", "dear", (500, 50))
    ask(pool, "3", "self_instruct.instance", "a/b", "free", (70, 7))
    ask(pool, "4", "alpaca", "reasoning", "free", (9, 1))
    for number in range(4):
        decide(pool, f"write function {number}", "alpaca", "coding", accepted=number < 2)
    decide(pool, "say something", "self_instruct", "a/b", accepted=True)


def test_a_category_costs_all_that_was_asked_for_it(tmp_path: Path) -> None:
    with Pool.open(tmp_path, CONFIG.pool) as pool:
        filled(pool)
        costs = costs_by_category(CONFIG, pool.spent(), pool.counts())
    coding = costs["coding"]
    assert (coding.accepted, coding.requests, coding.prompt_tokens, coding.completion_tokens) == (2, 2, 1500, 150)
    assert coding.tokens_per_accepted == 825  # 1650 tokens for two rows
    assert coding.money == pytest.approx(0.0045)  # 1500 x 2 + 150 x 10 millionths
    assert coding.money_per_accepted == pytest.approx(0.00225)
    assert costs["a/b"].tokens_per_accepted == 77
    assert costs["a/b"].money == 0
    assert costs["reasoning"].tokens_per_accepted is None


def test_a_recipe_costs_the_requests_of_all_its_steps(tmp_path: Path) -> None:
    with Pool.open(tmp_path, CONFIG.pool) as pool:
        filled(pool)
        costs = costs_by_recipe(CONFIG, pool.spent(), pool.counts())
        whole = cost_of(CONFIG, pool.spent())
    assert {name: (cost.accepted, cost.requests) for name, cost in costs.items()} == {
        "alpaca": (2, 2),
        "self_instruct": (1, 2),
    }
    assert costs["alpaca"].money == pytest.approx(0.003)
    assert sum(cost.money for cost in costs.values()) == pytest.approx(whole)


def test_what_tokens_were_spent_on_is_counted_as_the_rows_are(tmp_path: Path) -> None:
    with Pool.open(tmp_path, CONFIG.pool) as pool:
        filled(pool)
        assert pool.spent().purposes[SpentFor("free", "self_instruct", "a/b")] == Use(1, 70, 7)
        assert check(pool) == []


def test_an_endpoint_that_left_the_config_costs_nothing_and_is_still_counted(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"endpoints": ENDPOINTS[1:]})
    with Pool.open(tmp_path, CONFIG.pool) as pool:
        filled(pool)
        costs = costs_by_category(config, pool.spent(), pool.counts())
    assert (costs["coding"].prompt_tokens, costs["coding"].money) == (1500, 0)
