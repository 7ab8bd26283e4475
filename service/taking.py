"""The leader's part of the hand-over: it decides what other services found, in one order and with the one cascade."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
import orjson
from pydantic import ValidationError

from seedbed.core.errors import SeedbedError
from seedbed.core.records import Candidate, Phase, Proposal, Record
from seedbed.endpoints.fleet import beside
from seedbed.pool.nodes import LOST_AFTER_S
from seedbed.pool.records import Answer, Kind, Submission
from seedbed.service.context import Context
from seedbed.service.decider import DecisionThread
from seedbed.service.work import Work, announce, close_work

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.25
"""Between two looks while nothing is handed over."""

UNREADABLE = "unreadable"
"""The reason of a refusal of what is no record: another version wrote it."""

Subject = TypeVar("Subject", bound=Record)


@asynccontextmanager
async def taking(context: Context, decider: DecisionThread, work: Work) -> AsyncIterator["Taker"]:
    """Decide what other services hand over while the block runs, and tell them what to generate.

    Raises:
        SeedbedError: The database or a filter broke; the block is cancelled.
    """
    taker = Taker(context, decider)
    await taker.take_all()
    if not context.pool.is_shared:
        yield taker
        return
    await announce(context.pool, work)
    scope = anyio.CancelScope()
    async with beside() as tasks:
        tasks.start_soon(taker.run, scope)
        with scope:
            yield taker
    if taker.failure is not None:
        raise taker.failure


class Taker:
    """Leases what waits, in batches, and answers it. Belongs to the event loop of the service that leads."""

    def __init__(self, context: Context, decider: DecisionThread) -> None:
        self._pool, self._decider = context.pool, decider
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        """Proposals that the filters hold, by the service that found them."""
        self._looked_at = anyio.current_time()
        self.failure: SeedbedError | None = None

    async def run(self, scope: anyio.CancelScope) -> None:
        """Take until cancelled; a failure ends it, and cancels `scope`."""
        pause_s = SHORTEST_PAUSE_S
        try:
            while True:
                pause_s = SHORTEST_PAUSE_S if await self.take() else min(2 * pause_s, LONGEST_PAUSE_S)
                await self._release_of_the_gone()
                await anyio.sleep(pause_s)
        except SeedbedError as error:
            self.failure = error
            scope.cancel()

    async def take_all(self) -> None:
        """Decide all that waits, from a former leader's time too."""
        while await self.take():
            pass

    async def take(self) -> int:
        """Decide one batch of what waits; returns how many it took."""
        epoch, submissions = self._pool.epoch, self._pool.submissions
        if not await anyio.to_thread.run_sync(submissions.has_waiting, epoch):
            return 0
        # anyio has no bridge from a thread's future; the transport ties us to asyncio anyway.
        leased = await asyncio.wrap_future(submissions.lease(epoch))
        await self._decide(leased)
        return len(leased)

    async def finish(self, grace_s: float) -> None:
        """Tell the others to stop, and decide what they still bring, until none generates or the time is over."""
        await close_work(self._pool)
        if not self._pool.is_shared:
            return
        with anyio.move_on_after(grace_s):
            while True:
                if not await anyio.to_thread.run_sync(self._is_awaited):
                    return
                await anyio.sleep(LONGEST_PAUSE_S)

    def _is_awaited(self) -> bool:
        """Whether another service still generates, or what one handed over is not decided."""
        others = [node for node in self._pool.nodes.all() if node.id != self._pool.node]
        is_busy = any(node.phase is Phase.GENERATING and node.last_seen_s < LOST_AFTER_S for node in others)
        return is_busy or bool(self._pool.submissions.undecided())

    async def _decide(self, leased: Sequence[Submission]) -> None:
        by_kind: defaultdict[Kind, list[Submission]] = defaultdict(list)
        for one in leased:
            by_kind[one.kind].append(one)
        # What is released was answered before, so that it is of nothing else in this batch.
        answers = await self._release(by_kind[Kind.RELEASE])
        answers += await self._screen(by_kind[Kind.PROPOSAL])
        answers += await self._decide_candidates(by_kind[Kind.CANDIDATE])
        answers += await self._preview(by_kind[Kind.PREVIEW])
        if answers:
            await asyncio.wrap_future(self._pool.submissions.answer(answers))

    async def _screen(self, leased: Sequence[Submission]) -> list[Answer]:
        read = _read(leased, Proposal)
        if read.subjects:
            are_novel = await self._decider.screen(read.subjects, read.numbers)
            for node, proposal, is_novel in zip(read.nodes, read.subjects, are_novel, strict=True):
                if is_novel:
                    self._held[node].add(proposal.id)
        return read.unreadable

    async def _decide_candidates(self, leased: Sequence[Submission]) -> list[Answer]:
        read = _read(leased, Candidate)
        if read.subjects:
            decisions = await self._decider.decide(read.subjects, read.numbers)
            for node, candidate, decision in zip(read.nodes, read.subjects, decisions, strict=True):
                if decision.accepted:
                    self._held[node].discard(candidate.task_id)
        return read.unreadable

    async def _preview(self, leased: Sequence[Submission]) -> list[Answer]:
        read = _read(leased, Candidate)
        found = await self._decider.would_pass(read.subjects) if read.subjects else []
        return read.unreadable + [Answer(*pair) for pair in zip(read.numbers, found, strict=True)]

    async def _release(self, leased: Sequence[Submission]) -> list[Answer]:
        for one in leased:
            task_ids = self._held[one.node].intersection(orjson.loads(one.record))
            self._held[one.node] -= task_ids
            await self._decider.release(task_ids)
        return [Answer(one.number, is_accepted=True) for one in leased]

    async def _release_of_the_gone(self) -> None:
        """Forget the proposals of services that are gone, so that others may find such."""
        now = anyio.current_time()
        if now - self._looked_at < LOST_AFTER_S or not self._held:
            return
        self._looked_at = now
        nodes = await anyio.to_thread.run_sync(self._pool.nodes.all)
        there = {node.id for node in nodes if node.last_seen_s < LOST_AFTER_S}
        for identity in self._held.keys() - there:
            await self._decider.release(self._held.pop(identity))


@dataclass(slots=True)
class _Read(Generic[Subject]):
    """Submissions of one kind as records, and answers to those that are none."""

    subjects: list[Subject] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    unreadable: list[Answer] = field(default_factory=list)


def _read(leased: Sequence[Submission], kind: type[Subject]) -> _Read[Subject]:
    read = _Read[Subject]()
    for one in leased:
        try:
            read.subjects.append(kind.model_validate_json(one.record))
        except ValidationError:
            read.unreadable.append(Answer(one.number, False, "hand_over", UNREADABLE))
        else:
            read.numbers.append(one.number)
            read.nodes.append(one.node)
    return read
