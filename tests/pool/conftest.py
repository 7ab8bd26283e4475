"""What the pool's tests are made of."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.records import (
    Candidate,
    Completion,
    Decider,
    Decision,
    FinishReason,
    Lineage,
    Message,
    Proposal,
    Request,
    Subject,
    Verdict,
)
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided

Decide = Callable[..., Decided]


def decide(
    text: str,
    *,
    accepted: bool = True,
    sequence: int = 0,
    category: str = "qa",
    reason: str = "near_duplicate",
    filter: str = "rouge",
    by: Decider = Decider.CASCADE,
    task_id: str = "",
    verified: str = "",
) -> Decided:
    candidate = Candidate.of(
        text,
        "",
        f"The answer to {text}",
        lineage=Lineage(recipe="alpaca", request_ids=("r1",), depth=1),
        requested_category=category,
        category=verified,
        task_id=task_id,
    )
    verdict = Verdict(filter=filter, accepted=accepted, reason="" if accepted else reason, score=0.5, threshold=0.7)
    return Decided(
        candidate,
        Decision(
            subject=Subject.CANDIDATE,
            subject_id=candidate.id,
            sequence=sequence,
            accepted=accepted,
            verdicts=(verdict,),
            by=by,
            decided_at=1000.0,
        ),
    )


def decide_proposal(identity: str, *, accepted: bool = True) -> Decided:
    proposal = Proposal(id=identity, instruction=f"Do {identity}", lineage=Lineage(recipe="self_instruct"))
    verdict = Verdict(filter="rouge", accepted=accepted, reason="" if accepted else "near_duplicate")
    return Decided(
        proposal,
        Decision(
            subject=Subject.PROPOSAL,
            subject_id=identity,
            sequence=0,
            accepted=accepted,
            verdicts=(verdict,),
            decided_at=1000.0,
        ),
    )


def ask(identity: str) -> Request:
    return Request(id=identity, purpose="alpaca", messages=(Message(role="user", content="Write three tasks."),))


def answer(identity: str, *, endpoint: str = "local", prompt_tokens: int = 3, completion_tokens: int = 4) -> Completion:
    return Completion(
        request_id=identity,
        text="1. …",
        finish_reason=FinishReason.STOP,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        model="m",
        endpoint=endpoint,
        latency_s=0.5,
    )


@pytest.fixture(name="decide")
def _decide() -> Decide:
    return decide


@pytest.fixture(name="decide_proposal")
def _decide_proposal() -> Decide:
    return decide_proposal


@pytest.fixture(name="ask")
def _ask() -> Callable[[str], Request]:
    return ask


@pytest.fixture(name="answer")
def _answer() -> Callable[..., Completion]:
    return answer


@pytest.fixture
def configured(pool_url: str) -> Callable[..., PoolConfig]:
    """Return settings of a pool in a file, and of one on a server."""
    return partial(PoolConfig, url=pool_url)


@pytest.fixture
def pool(tmp_path: Path, configured: Callable[..., PoolConfig]) -> Iterator[Pool]:
    """A new pool whose trainings are triggered at 3, 5, 7 … accepted rows."""
    with Pool.open(tmp_path, configured(first_target=3, step=2), now=lambda: 5000.0) as opened:
        yield opened
