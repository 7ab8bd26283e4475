"""The other part of the hand-over: what a service found goes to the leader in batches, and answers come back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.to_thread

from seedbed.core.errors import PoolError
from seedbed.core.records import Candidate, Decision, Proposal, Subject, Verdict
from seedbed.endpoints.fleet import beside
from seedbed.generator.plan import ordered_id
from seedbed.pool.records import Answer, HandedOver, Kind
from seedbed.pool.rows import as_json
from seedbed.pool.submissions import Submissions

FULL_BATCH_ROWS = 32
"""A batch of so many goes at once; fewer wait for more."""
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
"""How long they wait, and between two looks for answers."""
LAST_WRITE_S = 20.0
"""How long the end waits for a server that is away."""

UNDECIDED = Answer(0, is_accepted=False, filter="hand_over", reason="undecided")
"""What is told of a row that the leader did not decide in time. It stays handed over, and is decided later."""


@asynccontextmanager
async def submitting(
    submissions: Submissions, left: list[HandedOver] | None = None, new_id: Callable[[], str] = ordered_id
) -> AsyncIterator["Submitter"]:
    """Hand over what the block finds; all of it is in the pool when this returns.

    Args:
        submissions: The table.
        left: What a block before could not hand over, since the pool was away; holds what this one could not.
        new_id: Makes the ids that answers are known by.
    """
    left = [] if left is None else left
    submitter = Submitter(submissions, new_id)
    submitter.unwritten, left[:] = list(left), []
    try:
        async with beside() as tasks:
            tasks.start_soon(submitter.run)
            yield submitter
    finally:
        with anyio.move_on_after(LAST_WRITE_S, shield=True), suppress(PoolError):
            await submitter.flush()
        left[:] = [item for item in submitter.unwritten if item.kind is Kind.CANDIDATE]


class Submitter:
    """Asks the leader what enters the pool, as the engine asks a decider. Belongs to one event loop."""

    def __init__(self, submissions: Submissions, new_id: Callable[[], str] = ordered_id) -> None:
        self._submissions, self._new_id = submissions, new_id
        self.unwritten: list[HandedOver] = []
        """What is in no table yet."""
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._fetched: list[int] = []
        self._wanted, self._full = anyio.Event(), anyio.Event()
        self._pause_s = SHORTEST_PAUSE_S
        self._failure: PoolError | None = None
        self._has_given_up = False

    async def screen(self, proposals: Sequence[Proposal]) -> list[bool]:
        """Say which proposals are worth an instance."""
        answers = await self._ask(Kind.PROPOSAL, [as_json(proposal) for proposal in proposals])
        return [answer.is_accepted for answer in answers]

    async def decide(self, candidates: Sequence[Candidate]) -> list[Decision]:
        """Have candidates decided; each decision is on disk when this returns, but for those told as undecided."""
        answers = await self._ask(Kind.CANDIDATE, [as_json(candidate) for candidate in candidates])
        return [_decision(candidate, answer) for candidate, answer in zip(candidates, answers, strict=True)]

    async def would_pass(self, candidates: Sequence[Candidate]) -> list[bool]:
        """Say which candidates would be accepted now but for the judge's marks."""
        answers = await self._ask(Kind.PREVIEW, [as_json(candidate) for candidate in candidates])
        return [answer.is_accepted for answer in answers]

    async def release(self, task_ids: Collection[str]) -> None:
        """Forget screened proposals whose recipe is over."""
        self._put(Kind.RELEASE, as_json(sorted(task_ids)))

    def give_up(self) -> None:
        """Wait for no answer any more: what waits is told as undecided, and so is what comes later."""
        self._has_given_up = True
        for future in self._waiting.values():
            if not future.done():
                future.set_result(UNDECIDED)
        self._waiting.clear()

    async def run(self) -> None:
        """Hand over and fetch answers until cancelled; where the pool fails, so do all who wait."""
        try:
            while True:
                await self._something()
                await self._gathered()
                await self.flush()
                await self._fetch()
        except PoolError as error:
            self._failure = error
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(error)
            self._waiting.clear()

    async def flush(self) -> None:
        """Write what has gathered."""
        batch, fetched = tuple(self.unwritten), tuple(self._fetched)
        if batch or fetched:
            # anyio has no bridge from a thread's future; the transport ties us to asyncio anyway.
            await asyncio.wrap_future(self._submissions.hand_over(batch, fetched))
            del self.unwritten[: len(batch)], self._fetched[: len(fetched)]

    async def _ask(self, kind: Kind, records: Sequence[str]) -> list[Answer]:
        futures = [self._put(kind, record) for record in records]
        return [await future for future in futures]

    def _put(self, kind: Kind, record: str) -> "asyncio.Future[Answer]":
        """Queue a record for the leader; the future has what it says.

        Raises:
            PoolError: The pool failed before.
        """
        if self._failure is not None:
            raise self._failure
        identity, future = self._new_id(), asyncio.get_running_loop().create_future()
        self.unwritten.append(HandedOver(identity, kind, record))
        if self._has_given_up:
            future.set_result(UNDECIDED)
        elif kind is not Kind.RELEASE:
            self._waiting[identity] = future
        self._wanted.set()
        if len(self.unwritten) >= FULL_BATCH_ROWS:
            self._full.set()
        return future

    async def _something(self) -> None:
        """Wait until there is something to hand over, or somebody waits for an answer."""
        if not (self.unwritten or self._waiting or self._fetched):
            self._wanted = anyio.Event()
            await self._wanted.wait()

    async def _gathered(self) -> None:
        """Wait a moment for a full batch; longer, the longer no answer comes."""
        if len(self.unwritten) < FULL_BATCH_ROWS:
            self._full = anyio.Event()
            with anyio.move_on_after(self._pause_s):
                await self._full.wait()
        self._pause_s = SHORTEST_PAUSE_S if self.unwritten else min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def _fetch(self) -> None:
        if not self._waiting:
            return
        for answer in await anyio.to_thread.run_sync(self._submissions.answers):
            self._pause_s = SHORTEST_PAUSE_S
            self._fetched.append(answer.number)
            future = self._waiting.pop(answer.id, None)
            if future is not None and not future.done():
                future.set_result(answer)


def _decision(candidate: Candidate, answer: Answer) -> Decision:
    """Put an answer as the engine knows decisions; the leader has stored the whole of it."""
    refusal = Verdict(filter=answer.filter, accepted=False, reason=answer.reason)
    return Decision(
        subject=Subject.CANDIDATE,
        subject_id=candidate.id,
        sequence=0,
        accepted=answer.is_accepted,
        verdicts=() if answer.is_accepted else (refusal,),
        decided_at=time.time(),
    )
