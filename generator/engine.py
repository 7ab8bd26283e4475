"""The fan-out: keeps as many recipes running as are useful, writes down what they ask, decides what they find."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import BudgetExhaustedError, ConfigError, EndpointError, GenerationError, SeedbedError
from seedbed.core.events import Events
from seedbed.core.records import Candidate, Completion, Decision, Proposal, Request
from seedbed.generator.counters import Counters, Ended, Outcome
from seedbed.generator.plan import Plan
from seedbed.generator.recipe import Ask, Assignment, NoteUnreadable, Recipe, Screen, StoppedError
from seedbed.generator.recipes import RECIPES

BATCH_ROWS = 256
"""Most candidates decided at once."""

BATCH_WAIT_S = 0.1
"""How long a batch that is not full waits for more: nothing beside the seconds that a row takes to be written, and a
batch of 50 costs a row half of what a batch of 15 does."""

UNDECIDED_ROWS = 1024
"""Candidates that may wait for a decision before recipes wait too."""

RELEASE_GRACE_S = 5.0
"""How long a cancelled run may take to release what it held."""

Decide: TypeAlias = Callable[[Sequence[Candidate]], Awaitable[list[Decision]]]
"""Decide on candidates, in order; returns when the decisions are durable."""

Check: TypeAlias = Callable[[Sequence[Candidate]], Awaitable[Sequence[Candidate]]]
"""Look at rows before they are decided: what was found (category, grades) is on those that come back, in order."""

Release: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]
"""Forget screened proposals that came to nothing."""


class Ledger(Protocol):
    """The pool as the engine sees it. Each call returns when what it wrote is durable; many share a commit."""

    async def asked(self, request: Request) -> None: ...

    async def answered(self, completion: Completion) -> None: ...

    async def failed(self, request: Request, error: SeedbedError) -> None: ...


@dataclass(slots=True, eq=False)
class _Job:
    """An assignment, from its start until every row of it is decided."""

    assignment: Assignment
    requests: int = 0
    proposals: set[str] = field(default_factory=set)
    """Task ids that were screened as novel and gave no accepted row yet."""
    undecided: int = 0
    accepted: int = 0
    has_ended: bool = False


_Row: TypeAlias = tuple[_Job, Candidate]


class Engine:
    """Runs recipes until what is wanted is there. It runs once, in one event loop; make another for the next run."""

    def __init__(
        self,
        *,
        plan: Plan,
        ask: Ask,
        screen: Screen,
        decide: Decide,
        release: Release,
        ledger: Ledger,
        note_unreadable: NoteUnreadable,
        check: Check | None = None,
        settings: GenerationConfig,
        events: Events | None = None,
        recipes: Mapping[str, Recipe] = RECIPES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the parts together.

        Raises:
            ConfigError: The settings give a weight to a recipe that does not exist.
        """
        for name, weight in settings.recipes.items():
            if weight > 0 and name not in recipes:
                raise ConfigError(f'generation.recipes names "{name}"; known recipes: {", ".join(recipes)}')
        self._plan, self._send_request, self._screen_proposals = plan, ask, screen
        self._decide_batch, self._release, self._ledger, self._note = decide, release, ledger, note_unreadable
        self._check = check
        self._concurrency = settings.concurrency or 64  # who knows the endpoints sets what suits them
        self._settings, self._events, self._recipes, self._now = settings, events or Events(), recipes, now
        self.counters = Counters()
        self._running: set[_Job] = set()
        self._changed: anyio.Event | None = None
        """Set at the next change; None where nobody waits for one."""
        self._fruitless = 0
        self._ended: Ended | None = None
        self._ended_because = ""

    async def run(self, is_done: Callable[[], bool], wanted: Callable[[], int] | None = None) -> Outcome:
        """Generate until `is_done`, asked after each batch of decisions.

        Args:
            is_done: Whether what was wanted is there.
            wanted: Rows still missing; no more assignments run at once than are expected to bring them, so that
                nothing is left over to drain. Leave out to keep the endpoints full.

        Raises:
            GenerationError: `max_fruitless_requests` in a row brought no accepted row, or nothing is left to ask.
            FilterError, PoolError: As raised by what was handed in. They stop the run at once.
        """
        self._is_done, self._wanted = is_done, wanted
        started = self._now()
        self._started = started
        if is_done():
            self.stop(Ended.DONE)
        unfinished = await self._run()
        self.counters.elapsed_s = self._now() - started
        ended = self._ended or Ended.STOPPED
        self._events.emit("generation.ended", ended=ended.value, message=self._ended_because, unfinished=unfinished)
        if ended == Ended.FRUITLESS:
            raise GenerationError(self._ended_because)
        return Outcome(ended, self._ended_because, self.counters, unfinished)

    def stop(self, ended: Ended = Ended.STOPPED, because: str = "") -> None:
        """Ask nothing more, let what is in flight come in within `drain_grace_s`, then end. The first call counts."""
        if self._ended is None:
            self._ended, self._ended_because = ended, because
            self._notify()

    async def _run(self) -> int:
        send, receive = anyio.create_memory_object_stream[_Row](UNDECIDED_ROWS)
        try:
            async with receive, anyio.create_task_group() as group:
                group.start_soon(self._decide_all, receive)
                async with send:
                    return await self._dispatch(send)
        except BaseExceptionGroup as errors:
            raise _first_cause(errors) from errors
        raise AssertionError("unreachable")

    async def _dispatch(self, send: MemoryObjectSendStream[_Row]) -> int:
        """Start recipes while there is room, then drain; returns how many requests the grace time cut off."""
        async with anyio.create_task_group() as recipes:
            while await self._has_room():
                try:
                    job = _Job(self._plan.next())
                except GenerationError as error:
                    while self._running and self._ended is None:
                        await self._next_change()
                    self.stop(Ended.FRUITLESS, str(error))
                    break
                self._start(job)
                recipes.start_soon(self._work, job, send)
            with anyio.move_on_after(self._settings.drain_grace_s):
                while self._running:
                    await self._next_change()
            unfinished = self.counters.in_flight
            recipes.cancel_scope.cancel()
        return unfinished

    async def _has_room(self) -> bool:
        """Wait until another recipe may start; False when none shall any more."""
        await anyio.lowlevel.checkpoint()  # a thousand prompts are made between other things, not in one go
        while self._ended is None and self._is_full():
            await self._next_change()
            # Tasks that die of a cancellation wake us each time, so that it would never reach this loop by itself.
            await anyio.lowlevel.checkpoint_if_cancelled()
        return self._ended is None

    def _is_full(self) -> bool:
        if len(self._running) >= self._concurrency:
            return True
        if self._wanted is None or self._plan.expected_in_flight == 0:
            return False
        return math.ceil(self._plan.expected_in_flight) >= self._wanted()

    def _start(self, job: _Job) -> None:
        self._running.add(job)
        self.counters.assignments += 1

    async def _work(self, job: _Job, send: MemoryObjectSendStream[_Row]) -> None:
        """Run a job, and then others in the same task as long as there is room: a task costs more than its start."""
        following: _Job | None = job
        try:
            while following is not None:
                await self._run_recipe(following, send)
                await anyio.lowlevel.checkpoint()  # recipes that ask nothing must not keep others from running
                following = self._following()
        finally:
            self._notify()

    def _following(self) -> _Job | None:
        """Start another job, where one may start."""
        if self._ended is not None or self._is_full():
            return None
        try:
            job = _Job(self._plan.next())
        except GenerationError:  # told where the first of a row of jobs starts
            return None
        self._start(job)
        return job

    async def _run_recipe(self, job: _Job, send: MemoryObjectSendStream[_Row]) -> None:
        recipe = self._recipes[job.assignment.recipe]
        try:
            await recipe(
                partial(self._ask, job),
                partial(self._screen, job),
                job.assignment,
                partial(self._emit, job, send),
                partial(self._note_unreadable, job),
            )
        except* (EndpointError, StoppedError):
            pass  # counted and stored where it was raised
        finally:
            job.has_ended = True
            self._running.discard(job)
            await self._settle(job)

    async def _ask(self, job: _Job, request: Request) -> Completion:
        """Send a request that is written down before, and whose completion is before anyone reads it."""
        if self._ended is not None:
            raise StoppedError
        job.requests += 1
        self.counters.requests += 1
        self.counters.in_flight += 1
        try:
            await self._ledger.asked(request)
            completion = await self._send_request(request)
        except BudgetExhaustedError as error:
            await self._ledger.failed(request, error)
            self.stop(Ended.BUDGET, str(error))
            raise StoppedError from error
        except EndpointError as error:
            await self._set_aside(request, error)
            raise
        except anyio.get_cancelled_exc_class():
            await self._note_cut_off(request)
            raise
        finally:
            self.counters.in_flight -= 1
        await self._ledger.answered(completion)
        self._count(completion)
        return completion

    async def _set_aside(self, request: Request, error: EndpointError) -> None:
        await self._ledger.failed(request, error)
        self.counters.failed += 1
        self.counters.failures[f"{type(error).__name__}: {error}"[:200]] += 1
        self._events.emit("request.failed", request=request.id, error=type(error).__name__, message=str(error))

    async def _note_cut_off(self, request: Request) -> None:
        """Write down that a request was cancelled in flight, so that no stored request is left without its end."""
        error = GenerationError("cut off in flight: the run ended and generation.drain_grace_s passed")
        with anyio.move_on_after(RELEASE_GRACE_S, shield=True), suppress(SeedbedError):
            await self._ledger.failed(request, error)

    def _count(self, completion: Completion) -> None:
        self.counters.completions += 1
        self.counters.prompt_tokens += completion.prompt_tokens
        self.counters.completion_tokens += completion.completion_tokens
        self.counters.elapsed_s = self._now() - self._started

    async def _screen(self, job: _Job, proposals: Sequence[Proposal]) -> list[bool]:
        if not proposals:
            return []
        with anyio.CancelScope(shield=True):  # what the filters hold must be known here, to be released
            is_novel = await self._screen_proposals(proposals)
            job.proposals |= {proposal.id for proposal, novel in zip(proposals, is_novel, strict=True) if novel}
        self.counters.proposals += len(proposals)
        self.counters.proposals_accepted += sum(is_novel)
        self._plan.record_refusals(job.assignment.requested_category, len(is_novel) - sum(is_novel))
        return is_novel

    async def _emit(self, job: _Job, send: MemoryObjectSendStream[_Row], candidates: Sequence[Candidate]) -> None:
        for candidate in await self._check(candidates) if self._check and candidates else candidates:
            job.undecided += 1
            try:
                try:
                    send.send_nowait((job, candidate))
                except anyio.WouldBlock:
                    await send.send((job, candidate))
            except BaseException:
                job.undecided -= 1
                raise

    async def _note_unreadable(self, job: _Job, request: Request, reason: str, text: str) -> None:
        self.counters.unreadable[reason] += 1
        self._plan.record_refusals(job.assignment.requested_category, 1)
        await self._note(request, reason, text)

    async def _decide_all(self, receive: MemoryObjectReceiveStream[_Row]) -> None:
        async for first in receive:
            rows = await _fill(receive, first)
            decisions = await self._decide_batch([candidate for _, candidate in rows])
            for (job, candidate), decision in zip(rows, decisions, strict=True):
                self._account(job, candidate, decision)
            for job in {id(job): job for job, _ in rows}.values():
                await self._settle(job)
            if self._is_done():
                self.stop(Ended.DONE)
            self._notify()

    def _account(self, job: _Job, candidate: Candidate, decision: Decision) -> None:
        job.undecided -= 1
        self.counters.candidates += 1
        self._plan.record(candidate, decision.accepted)
        if decision.accepted:
            job.accepted += 1
            job.proposals.discard(candidate.task_id)
            self.counters.accepted += 1
            self._fruitless = 0
        elif refusal := decision.deciding:
            self.counters.refused[f"{refusal.filter}.{refusal.reason}"] += 1

    async def _settle(self, job: _Job) -> None:
        """Close a job once its recipe has ended and all its rows are decided."""
        if not job.has_ended or job.undecided:
            return
        self._plan.finished(job.assignment, job.accepted)
        if job.proposals:
            nothing, job.proposals = sorted(job.proposals), set()
            with anyio.move_on_after(RELEASE_GRACE_S, shield=True):
                await self._release(nothing)
        if job.accepted == 0:
            self._fruitless += job.requests
        if self._fruitless >= self._settings.max_fruitless_requests:
            self.stop(
                Ended.FRUITLESS,
                f"the last {self._fruitless} requests brought no accepted row "
                f"(generation.max_fruitless_requests is {self._settings.max_fruitless_requests}); "
                f"most was lost to: {self.counters.top_reasons()}",
            )

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        """Wake whoever waits for a change."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None


async def _fill(receive: MemoryObjectReceiveStream[_Row], first: _Row) -> list[_Row]:
    """Take what is there, waiting once for more; without a cancel scope, in which a row could be lost."""
    rows = [first]
    has_waited = False
    while len(rows) < BATCH_ROWS:
        try:
            rows.append(receive.receive_nowait())
        except anyio.WouldBlock:
            if has_waited:
                break
            has_waited = True
            await anyio.sleep(BATCH_WAIT_S)
        except anyio.EndOfStream:
            break
    return rows


def _first_cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    cause: BaseException = errors
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause
