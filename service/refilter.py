"""`seedbed refilter`: all stored candidates once more through the whole cascade, under the settings of today."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from seedbed.core.batches import batched
from seedbed.core.records import Candidate, Decider, Decision, Subject, TrainingRun, Verdict
from seedbed.filters.cascade import Cascade
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.pool.translate import translated
from seedbed.service.context import Context
from seedbed.service.difference import Change, Difference
from seedbed.service.filter_file import FilterCount
from seedbed.service.generation import seeded_cascade
from seedbed.service.stopping import Stop
from seedbed.service.tainting import Tainting, mark_tainted
from seedbed.service.workspace import Workspace

BATCH_ROWS = 256
MOST_BATCH_ROWS = 4096
NOTE = "refilter"

Tell = Callable[[str, int, int], None]
"""Is told what is being done, how many rows are, and of how many."""


@dataclass(slots=True)
class Refiltered:
    """What a refilter did."""

    difference: Difference
    stored: int = 0
    """Decisions committed; 0 for a dry run."""
    runs: tuple[TrainingRun, ...] = ()
    """Trainings that the new count triggered."""
    tainting: Tainting | None = None
    """None where nothing was to be stored."""
    was_stopped: bool = False


def refilter(
    context: Context,
    *,
    is_dry: bool,
    show: Callable[[Difference], None],
    tell: Tell,
    stop: Stop,
    build: Callable[[Workspace], Cascade] = seeded_cascade,
    now: Callable[[], float] = time.time,
) -> Refiltered:
    """Decide all candidates anew in recorded order, show what changes, and store that unless the run is dry.

    A person's decisions stay, and what a person accepted is a neighbour to the rows after it. The replay depends on
    nothing the cascade or a rescan decided before, so a run that was interrupted anywhere and is started again ends
    in the same state. Refusals are stored before acceptances: at every moment the accepted rows are a part of those
    before or of those after, and no training is triggered by a count that neither has.

    Raises:
        FilterError: A filter broke; nothing was stored.
        PoolError: The database or the disk failed; running it again goes on.
    """
    pool, replay = context.pool, Replay(build(context.workspace), now)
    total = pool.counts().decided
    with translated(context.workspace.folder), ExitStack() as stack:
        spill = None if is_dry else stack.enter_context(spilling(context.workspace.folder))
        for batch in batches(pool.decided()):
            if stop.is_wanted:
                return Refiltered(replay.difference, was_stopped=True)
            changed = replay.decide(batch)
            if spill is not None:
                spill.add(changed)
            tell("refiltering", replay.difference.rows + replay.difference.blanked, total)
        replay.difference.proposals = pool.proposals_left()
        show(replay.difference)
        done = Refiltered(replay.difference)
        if spill is not None:
            _store(context, spill, done, tell, stop)
    return done


def _store(context: Context, spill: "Spill", done: Refiltered, tell: Tell, stop: Stop) -> None:
    total = done.difference.changed_rows
    for decisions in spill.batches():
        if stop.is_wanted:
            done.was_stopped = True
            return
        rows = [Decided(_stored(context.pool, decision.subject_id), decision) for decision in decisions]
        done.runs += context.pool.commit(rows).runs
        done.stored += len(rows)
        tell("storing new decisions", done.stored, total)
    done.tainting = mark_tainted(context)
    context.events.emit(
        "pool.refiltered",
        rows=done.difference.rows,
        accepted_before=done.difference.accepted_before,
        accepted=done.difference.accepted_after,
        changed=done.stored,
    )


class Replay:
    """Decides stored candidates anew; of all it has seen, it remembers the ids of those that are out."""

    def __init__(self, cascade: Cascade, now: Callable[[], float] = time.time) -> None:
        self._cascade, self._now = cascade, now
        self._out: set[str] = set()
        self.difference = Difference()

    def decide(self, batch: Sequence[Decided]) -> list[Decision]:
        """Decide the next rows; return the decisions that change. Those without their text stay as they are."""
        batch = self._with_text(batch)
        settled = {one.decision.subject_id: one.decision.accepted for one in batch if _is_by_person(one)}
        found = self._cascade.decide([_candidate(one) for one in batch], settled)
        self._cascade.confirm()
        changed = [self._decided_anew(one, verdicts) for one, verdicts in zip(batch, found, strict=True)]
        for name, tally in self._cascade.tallies.items():
            self.difference.filters[name] = FilterCount(tally.checked, tally.refused, tally.seconds)
        return [decision for decision in changed if decision is not None]

    def _with_text(self, batch: Sequence[Decided]) -> list[Decided]:
        """Return the rows that can be decided; the others are refused and were blanked."""
        kept = [one for one in batch if not _candidate(one).is_blanked]
        self._out.update(one.subject.id for one in batch if _candidate(one).is_blanked)
        self.difference.blanked += len(batch) - len(kept)
        return kept

    def _decided_anew(self, one: Decided, verdicts: tuple[Verdict, ...]) -> Decision | None:
        """Count a row; return its new decision, None where the former one stands."""
        former, candidate = one.decision, _candidate(one)
        cascade_accepts = all(verdict.accepted for verdict in verdicts)
        is_accepted = former.accepted if _is_by_person(one) else cascade_accepts
        self.difference.rows += 1
        self.difference.accepted_before += former.accepted
        self.difference.accepted_after += is_accepted
        if not is_accepted:
            self._out.add(candidate.id)
        if _is_by_person(one):
            self.difference.note_kept(is_accepted=is_accepted, cascade_accepts=cascade_accepts)
            return None
        fresh = Decision(
            subject=Subject.CANDIDATE,
            subject_id=candidate.id,
            sequence=former.sequence + 1,
            accepted=is_accepted,
            verdicts=verdicts,
            by=Decider.CASCADE,
            note=NOTE,
            decided_at=self._now(),
        )
        change = self._change(former, fresh)
        if change is None:
            return None
        self.difference.note(change, candidate, former, fresh)
        return fresh

    def _change(self, former: Decision, fresh: Decision) -> Change | None:
        if former.accepted != fresh.accepted:
            return Change.NEWLY_REFUSED if former.accepted else Change.NEWLY_ACCEPTED
        before, after = former.deciding, fresh.deciding
        if fresh.accepted or after is None:
            return None
        if before is None or (before.filter, before.reason) != (after.filter, after.reason):
            return Change.REFUSED_OTHERWISE
        # A neighbour that is not in explains nothing. Any other stays: the nearest may have another name in a replay,
        # as a proposal held at the time has, and the ledger is not rewritten for names.
        is_stale = before.neighbour_id in self._out and before.neighbour_id != after.neighbour_id
        return Change.REFUSED_OTHERWISE if is_stale else None


class Spill:
    """Changed decisions on their way to the pool, in files beside it."""

    def __init__(self, refused: IO[bytes], accepted: IO[bytes]) -> None:
        self._refused, self._accepted = refused, accepted

    def add(self, decisions: Iterable[Decision]) -> None:
        """Keep decisions, on disk."""
        for decision in decisions:
            file = self._accepted if decision.accepted else self._refused
            file.write(decision.model_dump_json().encode() + b"\n")

    def batches(self) -> Iterator[list[Decision]]:
        """Yield what was kept, the refusals first, each kind in its order."""
        for file in (self._refused, self._accepted):
            file.seek(0)
            for lines in batched(file, BATCH_ROWS):
                yield [Decision.model_validate_json(line) for line in lines]


@contextmanager
def spilling(folder: Path) -> Iterator[Spill]:
    """Yield a spill whose files have no name, so that they end with the process however it ends."""
    with tempfile.TemporaryFile(dir=folder) as refused, tempfile.TemporaryFile(dir=folder) as accepted:
        yield Spill(refused, accepted)


def batches(rows: Iterable[Decided]) -> Iterator[list[Decided]]:
    """Cut rows into batches; those of one completion stay together, since some filters look at all of them at once."""
    batch: list[Decided] = []
    for row in rows:
        is_full = len(batch) >= BATCH_ROWS and not _is_of_one_completion(batch[-1], row)
        if is_full or len(batch) >= MOST_BATCH_ROWS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _is_of_one_completion(one: Decided, other: Decided) -> bool:
    ids = one.subject.lineage.request_ids
    return bool(ids) and ids == other.subject.lineage.request_ids


def _is_by_person(one: Decided) -> bool:
    return one.decision.by is Decider.PERSON


def _candidate(one: Decided) -> Candidate:
    assert isinstance(one.subject, Candidate)
    return one.subject


def _stored(pool: Pool, identity: str) -> Candidate:
    candidate = pool.candidate(identity)
    assert candidate is not None
    return candidate
