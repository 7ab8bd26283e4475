"""What one service hands over another decides, with one cascade and in one order; nothing handed over is lost."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from seedbed.core.errors import PoolUnavailableError
from seedbed.pool.check import check
from seedbed.pool.pool import Pool
from seedbed.pool.records import Answer, HandedOver, Kind
from seedbed.pool.submissions import Submissions
from seedbed.service.context import Context, writing
from seedbed.service.decider import DecisionThread
from seedbed.service.init import create_workspace
from seedbed.service.submitting import submitting
from seedbed.service.taking import Taker
from seedbed.service.workspace import open_workspace
from tests.service.test_decider import a_cascade, proposal, row

pytestmark = pytest.mark.anyio
TWINS = (
    row("Name three large rivers of Europe", "The Volga, the Danube and the Ural."),
    row("Name three large rivers in Europe", "The Rhine, the Elbe and the Oder."),
)
OTHER = row("Explain how a canal lock lifts a boat", "The gates close, and water from above fills it.")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="m")
    with writing(open_workspace(tmp_path / "w")) as context:
        yield context


@asynccontextmanager
async def taker_of(context: Context) -> AsyncIterator[Taker]:
    decider = DecisionThread(a_cascade(), context.pool)
    try:
        yield Taker(context, decider)
    finally:
        await anyio.to_thread.run_sync(decider.close)


@asynccontextmanager
async def leading(context: Context) -> AsyncIterator[None]:
    async with taker_of(context) as taker, anyio.create_task_group() as tasks:
        tasks.start_soon(taker.run, tasks.cancel_scope)
        yield
        tasks.cancel_scope.cancel()
    assert taker.failure is None


async def test_rows_are_decided_against_each_other_whoever_hands_them_over(context: Context) -> None:
    async with (
        leading(context),
        submitting(context.pool.submissions) as one,
        submitting(context.pool.submissions) as two,
    ):
        first = await one.decide([TWINS[0], OTHER])
        second = await two.decide([TWINS[1], OTHER])
    assert [decision.accepted for decision in first] == [True, True]
    refusals = [decision.deciding for decision in second]
    assert [(one.filter, one.reason) for one in refusals if one] == [
        ("rouge", "near_duplicate"),
        ("duplicate", "seen_before"),
    ]
    pool = context.pool
    assert {candidate.id for candidate in pool.accepted()} == {TWINS[0].id, OTHER.id}
    (stored,) = pool.decisions(TWINS[1].id)
    assert stored.deciding is not None
    assert stored.deciding.neighbour_id == TWINS[0].id
    assert len(pool.occurrences(OTHER.id)) == 1
    assert pool.submissions.undecided() == {}
    assert check(pool) == []


async def test_a_screened_proposal_is_held_until_it_is_released(context: Context) -> None:
    async with leading(context), submitting(context.pool.submissions) as submitter:
        assert await submitter.screen([proposal("p1", TWINS[0].instruction)]) == [True]
        assert await submitter.screen([proposal("p2", TWINS[1].instruction)]) == [False]
        await submitter.release(["p1"])
        assert await submitter.screen([proposal("p3", TWINS[1].instruction)]) == [True]


async def test_the_proposals_of_a_service_that_is_gone_are_released(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(context), submitting(context.pool.submissions) as submitter:
        assert await submitter.screen([proposal("p1", TWINS[0].instruction)]) == [True]
        monkeypatch.setattr("seedbed.service.taking.LOST_AFTER_S", 0.0)
        await anyio.sleep(0.5)
        assert await submitter.screen([proposal("p2", TWINS[1].instruction)]) == [True]


async def test_a_preview_stores_nothing(context: Context) -> None:
    async with leading(context), submitting(context.pool.submissions) as submitter:
        await submitter.decide([TWINS[0]])
        assert await submitter.would_pass([TWINS[1], OTHER]) == [False, True]
    assert context.pool.counts().decided == 1


async def test_what_another_version_wrote_is_refused_and_holds_nobody_up(context: Context) -> None:
    pieces = [HandedOver("x", kind, '{"no": "record"}') for kind in (Kind.CANDIDATE, Kind.PROPOSAL, Kind.PREVIEW)]
    good = HandedOver("y", Kind.CANDIDATE, OTHER.model_dump_json())
    context.pool.submissions.hand_over([*pieces, good]).result()
    async with taker_of(context) as taker:
        await taker.take_all()
    answers = {(one.id, one.is_accepted, one.reason) for one in context.pool.submissions.answers()}
    assert answers == {("x", False, "unreadable"), ("y", True, "")}
    assert context.pool.submissions.undecided() == {}


async def test_who_gives_up_waiting_is_told_so_and_the_rows_are_decided_later(context: Context) -> None:
    async with submitting(context.pool.submissions) as submitter, anyio.create_task_group() as tasks:
        found = []

        async def decide() -> None:
            found.extend(await submitter.decide([OTHER]))

        tasks.start_soon(decide)
        await anyio.to_thread.run_sync(_wait_for_rows, context.pool.submissions)
        submitter.give_up()
        found.extend(await submitter.decide([TWINS[0]]))
    assert [(one.accepted, one.deciding.reason if one.deciding else "") for one in found] == [(False, "undecided")] * 2
    assert context.pool.submissions.undecided() == {context.pool.node: 2}
    async with taker_of(context) as taker:
        await taker.take_all()
    assert {candidate.id for candidate in context.pool.accepted()} == {OTHER.id, TWINS[0].id}


def _wait_for_rows(submissions: Submissions) -> None:
    while not submissions.undecided():
        time.sleep(0.01)


class Recorded(Submissions):
    """Notes how many rows each statement takes."""

    def __init__(self, pool: Pool, batches: list[int], is_away: bool = False) -> None:
        self._own, self._batches, self._is_away = pool.submissions, batches, is_away

    def hand_over(self, items: Sequence[HandedOver], fetched: Sequence[int] = ()) -> "Future[None]":
        if self._is_away:
            raise PoolUnavailableError("the server does not answer")
        self._batches.extend([len(items)] if items else [])
        return self._own.hand_over(items, fetched)

    def answers(self) -> list[Answer]:
        return self._own.answers()


async def test_rows_of_many_callers_go_in_one_statement(tmp_path: Path, context: Context) -> None:
    batches: list[int] = []
    words = ["amber", "brick", "cedar", "delta", "ember", "flint", "grove", "heron", "ivory", "jolly"]
    rows = [
        row(f"{one} {two} {number} shade of {two} stone", f"Shade {number}.")
        for number, (one, two) in enumerate((one, two) for one in words for two in words)
    ][:64]
    async with (
        leading(context),
        submitting(Recorded(context.pool, batches)) as submitter,
        anyio.create_task_group() as callers,
    ):
        for one in rows:
            callers.start_soon(submitter.decide, [one])
    assert sum(batches) == 64
    assert max(batches) >= 32
    assert context.pool.counts().decided == 64


async def test_all_who_wait_are_told_that_the_pool_is_away(context: Context) -> None:
    async with submitting(Recorded(context.pool, [], is_away=True)) as submitter:
        for _ in range(2):
            with pytest.raises(PoolUnavailableError, match="does not answer"):
                await submitter.decide([OTHER])


async def test_rows_that_the_pool_was_away_for_are_handed_over_when_it_is_back(context: Context) -> None:
    left: list[HandedOver] = []
    async with submitting(Recorded(context.pool, [], is_away=True), left) as submitter:
        with pytest.raises(PoolUnavailableError):
            await submitter.decide([OTHER])
    assert len(left) == 1
    async with submitting(context.pool.submissions, left):
        await anyio.to_thread.run_sync(_wait_for_rows, context.pool.submissions)
    assert left == []
    async with taker_of(context) as taker:
        await taker.take_all()
    assert context.pool.knows(OTHER.id)


async def test_a_failure_of_the_leader_ends_it_and_leaves_the_rows(tmp_path: Path, context: Context) -> None:
    class Failing:
        def known(self, ids: Sequence[str]) -> set[str]:
            raise PoolUnavailableError("the disk is gone")

        def commit(self, decided: Sequence[object]) -> None:
            raise AssertionError

    context.pool.submissions.hand_over([HandedOver("x", Kind.CANDIDATE, OTHER.model_dump_json())]).result()
    decider = DecisionThread(a_cascade(), Failing())  # type: ignore[arg-type]
    taker = Taker(context, decider)
    with anyio.CancelScope() as scope:
        await taker.run(scope)
        await anyio.sleep_forever()
    assert isinstance(taker.failure, PoolUnavailableError)
    await anyio.to_thread.run_sync(decider.close)
    assert context.pool.submissions.undecided() == {context.pool.node: 1}
