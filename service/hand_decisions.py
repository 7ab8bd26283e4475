"""A person's decisions on rows: accepted or refused with a note, or all that descends from something quarantined."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import anyio.to_thread

from seedbed.core.batches import batched
from seedbed.core.errors import InputError
from seedbed.core.records import Candidate, Decider, Decision, Subject, Verdict
from seedbed.filters.cascade import Cascade
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.pool.transaction import Standing
from seedbed.service.context import Context
from seedbed.service.exchanged import Kind, Quarantined, QuarantineWanted
from seedbed.service.live import Live

BATCH_ROWS = 256
T = TypeVar("T")


async def on_indexes(live: Live, work: Callable[[Cascade | None], T]) -> T:
    """Run what changes rows so that no index misses it: on the decider's thread, or while no indexes are loaded."""
    async with live.index_lock:
        decider = live.decider
        if decider is None:
            return await anyio.to_thread.run_sync(work, None)
    return await decider.call(lambda: work(decider.cascade))


async def decide_by_hand(context: Context, live: Live, identity: str, *, accepted: bool, note: str) -> Decision:
    """Decide one row, and tell it.

    Raises:
        InputError: There is no such candidate, or it is to be accepted and its text was removed.
    """
    decision = await on_indexes(live, decide_row(context.pool, identity, accepted=accepted, note=note))
    context.events.emit("row.decided", id=identity, accepted=decision.accepted, note=note)
    return decision


async def quarantine_by_hand(context: Context, live: Live, wanted: QuarantineWanted) -> Quarantined:
    """Refuse what descends from something, or only find it, and tell it."""
    work = quarantine(context.pool, wanted.ancestor, wanted.name, note=wanted.note, is_dry=wanted.dry_run)
    found = await on_indexes(live, work)
    if not wanted.dry_run:
        context.events.emit("pool.quarantined", rows=found.rows, items=[f"{wanted.ancestor}:{wanted.name}"])
    return found


def decide_row(
    pool: Pool, identity: str, *, accepted: bool, note: str, now: Callable[[], float] = time.time
) -> Callable[[Cascade | None], Decision]:
    """Return the work of deciding one row, for `on_indexes`.

    Raises:
        InputError: (the work) There is no such candidate, or it is to be accepted and its text was removed.
    """

    def work(cascade: Cascade | None) -> Decision:
        candidate = pool.candidate(identity)
        if candidate is None:
            raise InputError(f"there is no row {identity}")
        if accepted and candidate.is_blanked:
            raise InputError(f"row {identity} has no text any more (retention.refused_text_days): it stays refused")
        verdict = None if accepted else Verdict(filter="person", accepted=False, reason="refused_by_hand")
        (decision,) = store_by_hand(pool, cascade, [candidate], lambda _: verdict, note=note, now=now)
        return decision

    return work


def quarantine(
    pool: Pool, ancestor: Kind, name: str, *, note: str, is_dry: bool, now: Callable[[], float] = time.time
) -> Callable[[Cascade | None], Quarantined]:
    """Return the work of refusing every accepted row that descends from a seed, a prompt's hash or a model."""

    def work(cascade: Cascade | None) -> Quarantined:
        found: list[str] = []
        verdict = Verdict(filter="lineage", accepted=False, reason=f"from_{ancestor}", evidence=(name,))
        for batch in batched(_descendants(pool, ancestor, name), BATCH_ROWS):
            if not is_dry:
                store_by_hand(pool, cascade, batch, lambda _: verdict, note=note, now=now)
            found += [one.id for one in batch]
        return Quarantined(rows=len(found), ids=tuple(found[:100]), was_dry=is_dry)

    return work


def _descendants(pool: Pool, ancestor: Kind, name: str) -> Iterator[Candidate]:
    """Yield accepted rows in order of arrival; a row comes after those it was shown, so one pass finds all."""
    family: set[str] = {name}
    for one in pool.decided():
        row = one.subject
        assert isinstance(row, Candidate)
        lineage = row.lineage
        own = {"seed": "", "prompt": lineage.prompt_sha256, "model": lineage.model}[ancestor]
        if own == name or not family.isdisjoint(lineage.demonstration_ids):
            family.add(row.id)
            if one.decision.accepted:
                yield row


def store_by_hand(
    pool: Pool,
    cascade: Cascade | None,
    rows: Sequence[Candidate],
    refusal_of: Callable[[Candidate], Verdict | None],
    *,
    note: str,
    now: Callable[[], float],
) -> list[Decision]:
    """Store decisions, and let the indexes follow: what was in and is out leaves them, what comes in joins them.

    Args:
        pool: Where to; it need not know the rows.
        cascade: The indexes; None where none are loaded.
        rows: Each once.
        refusal_of: Why a row is refused; None accepts it.
        note: For the record.
        now: The clock.
    """
    standings = pool.standings([row.id for row in rows])
    decisions = [_decision(row, refusal_of(row), standings.get(row.id), note, now()) for row in rows]
    was_in = {row.id for row in rows if (standing := standings.get(row.id)) and standing.is_accepted}
    joining = [row for row, one in zip(rows, decisions, strict=True) if one.accepted and row.id not in was_in]
    if cascade is not None and joining:
        cascade.decide(joining, {row.id: True for row in joining})
    try:
        pool.commit([Decided(row, decision) for row, decision in zip(rows, decisions, strict=True)])
    except BaseException:
        if cascade is not None:
            cascade.undo()
        raise
    if cascade is not None:
        cascade.confirm()
        for one in decisions:
            if not one.accepted and one.subject_id in was_in:
                cascade.remove(one.subject_id)
    return decisions


def _decision(
    row: Candidate, refusal: Verdict | None, before: Standing | None, note: str, decided_at: float
) -> Decision:
    return Decision(
        subject=Subject.CANDIDATE,
        subject_id=row.id,
        sequence=0 if before is None else before.sequence + 1,
        accepted=refusal is None,
        verdicts=() if refusal is None else (refusal,),
        by=Decider.PERSON,
        note=note,
        decided_at=decided_at,
    )
