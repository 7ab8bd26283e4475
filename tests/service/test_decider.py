"""The decider thread: one order of decisions, nothing confirmed that is not stored."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolFullError
from seedbed.core.filter_config import FiltersConfig
from seedbed.core.records import Candidate, Lineage, Proposal
from seedbed.filters.cascade import Cascade, build_cascade
from seedbed.pool.pool import Pool
from seedbed.pool.records import Committed, Decided
from seedbed.service.decider import DecisionThread

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def row(instruction: str, output: str = "A fitting answer in a few plain words.", task_id: str = "") -> Candidate:
    return Candidate.of(instruction, "", output, lineage=Lineage(recipe="test"), task_id=task_id)


def proposal(identity: str, instruction: str) -> Proposal:
    return Proposal(id=identity, instruction=instruction, lineage=Lineage(recipe="test"))


def a_cascade() -> Cascade:
    return build_cascade(FiltersConfig(), only=("wellformed", "duplicate", "rouge"))


@asynccontextmanager
async def deciding(pool: "Pool | FullPool") -> AsyncIterator[DecisionThread]:
    thread = DecisionThread(a_cascade(), pool)
    try:
        yield thread
    finally:
        await anyio.to_thread.run_sync(thread.close)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool.open(tmp_path, PoolConfig(first_target=1000))


class FullPool:
    """A store whose disk fills up once."""

    def __init__(self) -> None:
        self.is_full = True

    def known(self, candidate_ids: Sequence[str]) -> set[str]:
        return set()

    def commit(self, decided: Sequence[Decided]) -> Committed:
        if self.is_full:
            raise PoolFullError("the disk is full")
        return Committed(accepted=len(decided), runs=())


TWINS = [
    "Explain to a beginner how a bicycle pump pushes air into a tyre",
    "Explain to a beginner how the bicycle pump pushes air into a tyre",
]


async def test_of_twins_handed_in_at_once_one_enters_and_the_other_names_it(pool: Pool) -> None:
    results = []
    async with deciding(pool) as thread, anyio.create_task_group() as group:

        async def decide(candidate: Candidate) -> None:
            results.extend(await thread.decide([candidate]))

        for text in TWINS:
            group.start_soon(decide, row(text))
    accepted = [one for one in results if one.accepted]
    refused = [one for one in results if not one.accepted]
    assert (len(accepted), len(refused)) == (1, 1)
    assert refused[0].deciding is not None
    assert refused[0].deciding.neighbour_id == accepted[0].subject_id
    assert pool.accepted_count() == 1
    pool.close()


async def test_what_could_not_be_stored_is_no_neighbour_afterwards() -> None:
    store = FullPool()
    async with deciding(store) as thread:
        with pytest.raises(PoolFullError):
            await thread.decide([row(TWINS[0])])
        store.is_full = False
        (decision,) = await thread.decide([row(TWINS[1])])
    assert decision.accepted


async def test_a_triple_seen_again_keeps_its_first_decision(pool: Pool) -> None:
    async with deciding(pool) as thread:
        first, again = await thread.decide([row(TWINS[0]), row(TWINS[0])])
        (later,) = await thread.decide([row(TWINS[0])])
    assert first.accepted
    for repeated in (again, later):
        assert not repeated.accepted
        assert repeated.deciding is not None
        assert repeated.deciding.reason == "seen_before"
    assert [decision.accepted for decision in pool.decisions(first.subject_id)] == [True]
    assert pool.counts().occurrences == 2
    pool.close()


async def test_a_screened_proposal_holds_its_place_until_it_is_released(pool: Pool) -> None:
    async with deciding(pool) as thread:
        assert await thread.screen([proposal("p1", TWINS[0])]) == [True]
        assert await thread.screen([proposal("p2", TWINS[1])]) == [False]
        await thread.release(["p1"])
        assert await thread.screen([proposal("p3", TWINS[1])]) == [True]
    pool.close()


async def test_a_candidate_is_not_refused_for_its_own_proposal(pool: Pool) -> None:
    async with deciding(pool) as thread:
        await thread.screen([proposal("p1", TWINS[0])])
        (own,) = await thread.decide([row(TWINS[0], task_id="p1")])
        (other,) = await thread.decide([row(TWINS[1])])
    assert own.accepted
    assert not other.accepted
    pool.close()


async def test_a_caller_that_is_cancelled_does_not_stop_the_others(pool: Pool) -> None:
    async with deciding(pool) as thread:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await thread.decide([row(TWINS[0])])
        (decision,) = await thread.decide([row("Name three birds that stay in the north through winter")])
    assert decision.accepted
    pool.close()
