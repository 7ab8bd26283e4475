"""The way of the candidates through the filters, in order: how many came, how many were refused and why."""

from collections.abc import Mapping

from seedbed.core.records import Record
from seedbed.filters.cascade import ORDER
from seedbed.pool.records import PoolCounts


class Stage(Record):
    """One filter."""

    filter: str
    came: int
    """Candidates that reached it."""
    refused: int
    reasons: dict[str, int]
    """Most frequent first."""


class Funnel(Record):
    """From what models wrote to accepted rows."""

    decided: int
    accepted: int
    stages: tuple[Stage, ...]
    """Filters in order; after them what refuses later, such as a person."""
    unreadable: dict[str, int]
    """Pieces of answers that were no candidates, by reason."""
    proposals_accepted: int
    proposals_refused: dict[str, int]
    """Instructions refused before anything was paid for their instances, by filter and reason."""


def funnel_of(counts: PoolCounts) -> Funnel:
    """Put the counts of a pool in the order of the filters."""
    refused: dict[str, dict[str, int]] = {}
    unreadable: dict[str, int] = {}
    for name, rows in counts.refused.items():
        stage, _, reason = name.partition(".")
        (unreadable if stage == "parse" else refused.setdefault(stage, {}))[reason] = rows
    stages, left = [], counts.decided
    for name in [*ORDER, *sorted(set(refused) - set(ORDER))]:
        reasons = _most_first(refused.get(name, {}))
        gone = sum(reasons.values())
        if reasons or name in ORDER:
            stages.append(Stage(filter=name, came=left, refused=gone, reasons=reasons))
        left -= gone
    return Funnel(
        decided=counts.decided,
        accepted=counts.accepted,
        stages=tuple(stages),
        unreadable=_most_first(unreadable),
        proposals_accepted=counts.proposals_accepted,
        proposals_refused=_most_first(counts.proposals_refused),
    )


def _most_first(reasons: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
