"""Adapters that were trained on benchmark text: found by their snapshots, marked, and taken out of service."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.core.batches import batched
from seedbed.core.errors import MissingFileError, SnapshotError
from seedbed.core.records import Adapter, Candidate, Example, Lineage, Promotion
from seedbed.core.snapshots import read_snapshot, stream_examples
from seedbed.pool.pool import Pool
from seedbed.service.context import Context
from seedbed.service.promotion import in_service, publish, roll_back

if TYPE_CHECKING:
    from seedbed.filters.contamination import ContaminationFilter  # at run time it would load numba

CONTAMINATION = "contamination"
BATCH_ROWS = 256
MOST_IDS = 20


@dataclass(frozen=True, slots=True)
class TaintedAdapter:
    """An adapter that was found to be trained on rows that overlap with a reference."""

    id: str
    rows: int
    """Of its training rows."""
    ids: tuple[str, ...]
    """The first few of them."""


@dataclass(slots=True)
class Tainting:
    """What became of the adapters."""

    tainted: list[TaintedAdapter] = field(default_factory=list)
    """Marked now; those marked before are not among them."""
    rolled_back: list[str] = field(default_factory=list)
    """They were in service."""
    in_service: str = ""
    """Afterwards; empty for the base alone."""
    unknown: list[str] = field(default_factory=list)
    """Why an adapter could not be examined: its snapshot is gone, or was changed."""


def mark_tainted(context: Context, contamination: "ContaminationFilter | None" = None) -> Tainting:
    """Mark adapters that were trained on rows refused for benchmark overlap; one in service is rolled back.

    It may be repeated: what was cut off on the way is completed.

    Args:
        context: The workspace, open for writing.
        contamination: Also looks at the training rows that are not accepted any more for another reason.
    """
    done, known = Tainting(), dict[str, list[str]]()
    adapters = context.pool.adapters()
    for adapter in adapters:
        if adapter.is_tainted:
            continue
        folder = context.workspace.snapshots / adapter.snapshot_id
        try:
            if adapter.snapshot_id not in known:
                known[adapter.snapshot_id] = overlapping_rows(context.pool, folder, contamination)
        except (MissingFileError, SnapshotError) as error:
            done.unknown.append(f"adapter {adapter.id}: {error}")
            continue
        if rows := known[adapter.snapshot_id]:
            done.tainted.append(_mark(context, adapter, rows))
    done.rolled_back = _take_out_of_service(context)
    if adapters:
        publish(context)
    current = in_service(context.pool.adapters())
    done.in_service = current.id if current else ""
    return done


def overlapping_rows(pool: Pool, folder: Path, contamination: "ContaminationFilter | None" = None) -> list[str]:
    """Return the ids of a snapshot's training rows that stand refused for benchmark overlap.

    Args:
        pool: Where they stand. Rows that it does not hold are as good as refused for another reason.
        folder: The snapshot.
        contamination: Decides on rows that are refused for another reason; None: they are passed over.

    Raises:
        MissingFileError: The snapshot is gone.
        SnapshotError: It was changed.
    """
    read_snapshot(folder)
    found: list[str] = []
    for examples in batched(stream_examples(folder, "train"), BATCH_ROWS):
        standings = pool.standings([example.id for example in examples])
        refused_for = {identity: one.filter for identity, one in standings.items() if not one.is_accepted}
        out = [example for example in examples if example.id not in standings or example.id in refused_for]
        overlapping = {example.id for example in out if refused_for.get(example.id) == CONTAMINATION}
        overlapping |= _condemned([example for example in out if example.id not in overlapping], contamination)
        found += [example.id for example in out if example.id in overlapping]
    return found


def _condemned(examples: Sequence[Example], contamination: "ContaminationFilter | None") -> set[str]:
    if contamination is None or not examples:
        return set()
    rows = [
        Candidate.of(one.instruction, one.input, one.output, lineage=Lineage(recipe="snapshot")) for one in examples
    ]
    verdicts = contamination.check_many(rows)
    return {example.id for example, verdict in zip(examples, verdicts, strict=True) if not verdict.accepted}


def _mark(context: Context, adapter: Adapter, rows: Sequence[str]) -> TaintedAdapter:
    """Mark one; where it would come back into service by a rollback, it never will."""
    changed: dict[str, object] = {"is_tainted": True}
    current = in_service(context.pool.adapters())
    if adapter.promotion is Promotion.PROMOTED and current is not None and current.id != adapter.id:
        changed |= {"promotion": Promotion.ROLLED_BACK, "reason": _reason(len(rows))}
    context.pool.update_adapter(adapter.model_copy(update=changed))
    shown = tuple(rows[:MOST_IDS])
    context.events.emit(
        "adapter.tainted", adapter=adapter.id, snapshot=adapter.snapshot_id, rows=len(rows), ids=list(shown)
    )
    return TaintedAdapter(adapter.id, len(rows), shown)


def _take_out_of_service(context: Context) -> list[str]:
    taken: list[str] = []
    while (current := in_service(context.pool.adapters())) is not None and current.is_tainted:
        after = roll_back(context, "tainted: it was trained on benchmark text")
        context.events.emit(
            "alarm.raised",
            adapter=current.id,
            alarm=f"adapter {current.id} was in service and was trained on benchmark text; "
            f"in service now: {after.id if after else 'the base alone'}",
        )
        taken.append(current.id)
    return taken


def _reason(rows: int) -> str:
    return f"tainted: {rows} of its training rows overlap with references"
