"""Benchmark overlap backwards: a reference that is added later is looked for in everything that is already in."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio.to_thread

from seedbed.core.batches import batched
from seedbed.core.records import Candidate, Decider, Decision, Subject, Verdict
from seedbed.filters.cascade import Cascade
from seedbed.filters.contamination import NAME as CONTAMINATION
from seedbed.filters.contamination import ContaminationFilter
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.service.adding import AddedReference
from seedbed.service.context import Context
from seedbed.service.hand_decisions import on_indexes
from seedbed.service.leaks import held_out_references
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.tainting import Tainting, mark_tainted

BATCH_ROWS = 256
EXAMPLES = 5
NOTE = "rescan"

Tell = Callable[[str, int, int], None]
"""Is told what is being done, how many rows are, and of how many."""


@dataclass(frozen=True, slots=True)
class Overlapping:
    """An accepted row and the verdict that it would get now."""

    candidate: Candidate
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Hit:
    """An accepted row and the verdict that condemns it."""

    candidate: Candidate
    verdict: Verdict
    sequence: int
    """Of the decision to come."""


@dataclass(slots=True)
class Rescanned:
    """What a rescan found."""

    scanned: int = 0
    quarantined: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    """Quarantined rows by rule."""
    references: Counter[str] = field(default_factory=Counter)
    """Quarantined rows by reference."""
    examples: list[Hit] = field(default_factory=list)
    """The first few."""
    overruled: int = 0
    """Overlapping rows left in: a person accepted them knowing of that very item."""
    tainting: Tainting = field(default_factory=Tainting)
    was_stopped: bool = False


def added_filter(context: Context, added: Sequence[AddedReference]) -> ContaminationFilter:
    """Build the filter that knows some references of the workspace and nothing else."""
    config = context.workspace.config.filters.contamination.model_copy(update={"digests": False})
    return ContaminationFilter(config, references=[one.file for one in added])


def whole_filter(context: Context) -> ContaminationFilter:
    """Build the filter as new rows meet it: all references, the digests, the held-out tasks."""
    workspace = context.workspace
    return ContaminationFilter(
        workspace.config.filters.contamination,
        references=workspace.references(),
        loaded=held_out_references(workspace),
    )


def rescan(
    context: Context,
    contamination: ContaminationFilter,
    *,
    tell: Tell,
    stop: Stop,
    now: Callable[[], float] = time.time,
) -> Rescanned:
    """Quarantine the accepted rows that overlap with a reference, and mark the adapters that were trained on them.

    It may be interrupted anywhere and repeated: rows that are out already are not found again, and adapters are
    judged by how their training rows stand.

    Raises:
        PoolError: The database or the disk failed; running it again goes on.
    """
    done, total = Rescanned(), context.pool.accepted_count()
    for batch in batched(context.pool.accepted(), BATCH_ROWS):
        if stop.is_wanted:
            done.was_stopped = True
            return done
        _quarantine(context, _hits(context.pool, _overlapping(contamination, batch), done), done, now)
        done.scanned += len(batch)
        tell("rescanning", done.scanned, total)
    done.tainting = mark_tainted(context, contamination)
    return done


async def rescan_live(
    context: Context,
    live: Live,
    contamination: ContaminationFilter,
    *,
    is_stopping: Callable[[], bool],
    now: Callable[[], float] = time.time,
) -> Rescanned:
    """Rescan while rows are generated: what is found is taken out of the pool and the indexes by the decider.

    The rows that are decided meanwhile must meet the new references already, see `meet`.
    """
    done, batches = Rescanned(), batched(context.pool.accepted(), BATCH_ROWS)
    while batch := await anyio.to_thread.run_sync(next, batches, ()):
        if is_stopping():
            done.was_stopped = True
            return done
        found = await anyio.to_thread.run_sync(_overlapping, contamination, batch)
        if found:
            await on_indexes(live, partial(_take_out, context, found, done, now))
        done.scanned += len(batch)
    done.tainting = await anyio.to_thread.run_sync(mark_tainted, context, contamination)
    return done


async def meet(context: Context, live: Live) -> None:
    """Let the rows to come meet all references there are now."""
    fresh = await anyio.to_thread.run_sync(whole_filter, context)
    await on_indexes(live, lambda cascade: cascade.replace(fresh) if cascade else None)


def _take_out(
    context: Context, found: Sequence[Overlapping], done: Rescanned, now: Callable[[], float], cascade: Cascade | None
) -> None:
    standings = context.pool.standings([one.candidate.id for one in found])
    hits = _hits(context.pool, [one for one in found if standings[one.candidate.id].is_accepted], done)
    _quarantine(context, hits, done, now)
    if cascade is not None:
        for hit in hits:
            cascade.remove(hit.candidate.id)


def _overlapping(contamination: ContaminationFilter, batch: Sequence[Candidate]) -> list[Overlapping]:
    verdicts = contamination.check_many(batch)
    return [Overlapping(row, one) for row, one in zip(batch, verdicts, strict=True) if not one.accepted]


def _hits(pool: Pool, found: Sequence[Overlapping], done: Rescanned) -> list[Hit]:
    hits: list[Hit] = []
    for candidate, verdict in ((one.candidate, one.verdict) for one in found):
        history = [one for one in pool.decisions(candidate.id) if one.subject is Subject.CANDIDATE]
        if _is_overruled(history, verdict):
            done.overruled += 1
        else:
            hits.append(Hit(candidate, verdict, history[-1].sequence + 1))
    return hits


def _is_overruled(history: Sequence[Decision], verdict: Verdict) -> bool:
    """Say whether a person accepted the row after it had been refused for this very item."""
    told = [one.deciding for one in history[:-1] if one.deciding is not None]
    was_known = any((one.filter, one.neighbour_id) == (CONTAMINATION, verdict.neighbour_id) for one in told)
    return history[-1].by is Decider.PERSON and was_known


def _quarantine(context: Context, hits: Sequence[Hit], done: Rescanned, now: Callable[[], float]) -> None:
    if not hits:
        return
    context.pool.commit([Decided(hit.candidate, _decision(hit, now())) for hit in hits])
    items = sorted({hit.verdict.neighbour_id or "" for hit in hits})
    context.events.emit("pool.quarantined", rows=len(hits), ids=[hit.candidate.id for hit in hits], items=items)
    done.quarantined += len(hits)
    done.rules.update(hit.verdict.reason for hit in hits)
    done.references.update((hit.verdict.neighbour_id or "").rpartition("/")[0] for hit in hits)
    done.examples += hits[: EXAMPLES - len(done.examples)]


def _decision(hit: Hit, decided_at: float) -> Decision:
    return Decision(
        subject=Subject.CANDIDATE,
        subject_id=hit.candidate.id,
        sequence=hit.sequence,
        accepted=False,
        verdicts=(hit.verdict,),
        by=Decider.RESCAN,
        note=NOTE,
        decided_at=decided_at,
    )
