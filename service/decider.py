"""The one thread that owns every index: it decides batches in order and tells no one before the pool has them."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from seedbed.core.errors import SeedbedError
from seedbed.core.records import Candidate, Decider, Decision, Proposal, Subject, Verdict
from seedbed.filters.cascade import Cascade
from seedbed.pool.pool import Committed, Decided

MAX_BATCH_ROWS = 256

T = TypeVar("T")
logger = logging.getLogger("seedbed.decider")


class DecisionStore(Protocol):
    """What the decider needs of the pool."""

    def commit(self, decided: Sequence[Decided]) -> Committed: ...

    def known(self, candidate_ids: Sequence[str]) -> Iterable[str]: ...


@dataclass(slots=True)
class _Command:
    """Something for the thread to do, and the future that waits for it."""

    run: Callable[[], Any]
    candidates: tuple[Candidate, ...] = ()
    """For a decision: its rows, so that neighbours in the queue can share a batch."""
    submissions: tuple[int | None, ...] = ()
    """Of each row: the number under which another service handed it over."""
    future: "Future[Any]" = field(default_factory=Future)


class DecisionThread:
    """Takes commands in order: screen, decide, release, remove, and anything else that touches an index.

    A batch is decided, committed to the pool, and only then confirmed in the indexes; when the commit fails the
    indexes take it back, so no row is ever refused for a neighbour that never was.
    """

    def __init__(self, cascade: Cascade, store: DecisionStore, now: Callable[[], float] = time.time) -> None:
        self.cascade = self._cascade = cascade
        self._store, self._now = store, now
        self._commands: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="decider", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._commands.put(None)
        self._thread.join()

    async def screen(self, proposals: Sequence[Proposal], submissions: Sequence[int] = ()) -> list[bool]:
        """Say which proposals are worth an instance; the accepted ones are held against twins in flight.

        Args:
            proposals: In order.
            submissions: Where another service handed them over: the numbers to answer it under.
        """
        numbers = _numbers(proposals, submissions)
        decisions = await self._ask(lambda: self._screen(tuple(proposals), numbers))
        return [decision.accepted for decision in decisions]

    async def decide(self, candidates: Sequence[Candidate], submissions: Sequence[int] = ()) -> list[Decision]:
        """Decide candidates in order; each decision, and the answer to who handed it over, is on disk afterwards."""
        rows, numbers = tuple(candidates), _numbers(candidates, submissions)
        return await self._ask(lambda: self._decide(rows, numbers), rows, numbers)

    async def would_pass(self, candidates: Sequence[Candidate]) -> list[bool]:
        """Say which candidates the cascade would accept now but for the judge's marks; nothing is stored."""
        rows = tuple(candidates)
        return await self._ask(lambda: self._cascade.would_pass(rows, without=("quality",)))

    async def release(self, task_ids: Iterable[str]) -> None:
        """Forget screened proposals whose recipe is over."""
        ids = tuple(task_ids)
        await self._ask(lambda: self._cascade.release(ids))

    async def call(self, function: Callable[[], T]) -> T:
        """Run something on the thread, between two batches."""
        return await self._ask(function)

    async def _ask(
        self,
        run: Callable[[], T],
        candidates: tuple[Candidate, ...] = (),
        submissions: tuple[int | None, ...] = (),
    ) -> T:
        command = _Command(run, candidates, submissions)
        self._commands.put(command)
        # anyio has no bridge from a thread's future; the transport ties us to asyncio anyway.
        return await asyncio.wrap_future(command.future)

    def _work(self) -> None:
        waiting: _Command | None = None
        while True:
            command = waiting or self._commands.get()
            waiting = None
            if command is None:
                return
            if command.candidates:
                batch, waiting = self._neighbours(command)
                self._run_batch(batch)
            else:
                _settle(command.future, command.run)

    def _neighbours(self, first: _Command) -> tuple[list[_Command], _Command | None]:
        """Take further decisions from the queue, up to a full batch; what does not fit comes next."""
        batch, rows = [first], len(first.candidates)
        while rows < MAX_BATCH_ROWS:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                break
            if command is None:
                self._commands.put(None)
                break
            if not command.candidates or rows + len(command.candidates) > MAX_BATCH_ROWS:
                return batch, command
            batch.append(command)
            rows += len(command.candidates)
        return batch, None

    def _run_batch(self, batch: list[_Command]) -> None:
        joined: Future[list[Decision]] = Future()
        rows = tuple(row for command in batch for row in command.candidates)
        numbers = tuple(number for command in batch for number in command.submissions)
        _settle(joined, lambda: self._decide(rows, numbers))
        start = 0
        for command in batch:
            end = start + len(command.candidates)
            part = slice(start, end)
            _settle(command.future, lambda part=part: joined.result()[part])  # type: ignore[misc]
            start = end

    def _screen(self, proposals: tuple[Proposal, ...], numbers: tuple[int | None, ...]) -> list[Decision]:
        verdicts = self._cascade.screen(proposals)
        decided = [
            Decided(proposal, self._decision(Subject.PROPOSAL, proposal.id, found), number)
            for proposal, found, number in zip(proposals, verdicts, numbers, strict=True)
        ]
        self._commit(decided)
        return [one.decision for one in decided]

    def _decide(self, candidates: tuple[Candidate, ...], numbers: tuple[int | None, ...]) -> list[Decision]:
        """Decide candidates. A triple seen before keeps its first decision; it is stored as an occurrence."""
        known = set(self._store.known([candidate.id for candidate in candidates]))
        fresh: dict[str, Candidate] = {}
        decided: list[Decided | None] = []
        for candidate, number in zip(candidates, numbers, strict=True):
            is_new = candidate.id not in known and candidate.id not in fresh
            decided.append(None if is_new else Decided(candidate, self._seen_before(candidate), number))
            if is_new:
                fresh[candidate.id] = candidate
        verdicts = iter(self._cascade.decide(tuple(fresh.values())))
        whole = [
            one or Decided(candidate, self._decision(Subject.CANDIDATE, candidate.id, next(verdicts)), number)
            for one, candidate, number in zip(decided, candidates, numbers, strict=True)
        ]
        self._commit(whole)
        return [one.decision for one in whole]

    def _seen_before(self, candidate: Candidate) -> Decision:
        verdict = Verdict(filter="duplicate", accepted=False, reason="seen_before", neighbour_id=candidate.id)
        return self._decision(Subject.CANDIDATE, candidate.id, (verdict,))

    def _commit(self, decided: list[Decided]) -> None:
        try:
            self._store.commit(decided)
        except BaseException:
            self._cascade.undo()
            raise
        self._cascade.confirm()

    def _decision(self, subject: Subject, identity: str, verdicts: tuple[Verdict, ...]) -> Decision:
        return Decision(
            subject=subject,
            subject_id=identity,
            sequence=0,
            accepted=all(verdict.accepted for verdict in verdicts),
            verdicts=verdicts,
            by=Decider.CASCADE,
            decided_at=self._now(),
        )


def _numbers(subjects: Sequence[object], submissions: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(submissions) or (None,) * len(subjects)


def _settle(future: "Future[T]", run: Callable[[], T]) -> None:
    """Run a command and give its future what came of it.

    A command whose caller was cancelled runs all the same: what is queued is part of the ledger's order.
    """
    is_wanted = future.set_running_or_notify_cancel()
    try:
        result = run()
    except BaseException as error:
        if not isinstance(error, SeedbedError):
            logger.exception("a command of the decider failed")
        if is_wanted:
            future.set_exception(error)
    else:
        if is_wanted:
            future.set_result(result)
