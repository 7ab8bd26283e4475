"""What a refilter changes: counted by filter and reason, with a few examples of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seedbed.core.records import Candidate, Decision
from seedbed.pool.records import ProposalsLeft
from seedbed.pool.rows import refusal_of
from seedbed.service.filter_file import FilterCount
from seedbed.service.summary import clip

EXAMPLES = 5
_KEPT_CHARACTERS = 300


class Change(StrEnum):
    """How a row's new decision differs from the one that held."""

    NEWLY_REFUSED = "accepted_to_refused"
    NEWLY_ACCEPTED = "refused_to_accepted"
    REFUSED_OTHERWISE = "refused_otherwise"
    """For another reason, or for another neighbour because the former one is no longer in."""


TITLES = {
    Change.NEWLY_REFUSED: "accepted → refused, by what refuses them now",
    Change.NEWLY_ACCEPTED: "refused → accepted, by what refused them before",
    Change.REFUSED_OTHERWISE: "still refused, by what refuses them now",
}


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row whose decision changes, with the numbers of the verdict that it is counted under."""

    id: str
    instruction: str
    score: float | None
    threshold: float | None
    neighbour_id: str | None


@dataclass(slots=True)
class Group:
    """Rows that change in one way for one reason."""

    rows: int = 0
    examples: list[ChangedRow] = field(default_factory=list)
    """The first few."""


@dataclass(slots=True)
class Kept:
    """Rows that a person decided; they stay as they are."""

    accepted: int = 0
    refused: int = 0
    overruling: int = 0
    """Of both together: those the filters would decide otherwise."""


@dataclass(slots=True)
class Difference:
    """What a refilter changes."""

    rows: int = 0
    accepted_before: int = 0
    accepted_after: int = 0
    changes: dict[Change, dict[str, Group]] = field(default_factory=lambda: {change: {} for change in Change})
    """By filter and reason: `rouge.near_duplicate`."""
    kept: Kept = field(default_factory=Kept)
    proposals: ProposalsLeft = field(default_factory=lambda: ProposalsLeft(0, 0))
    """Those without an instance: no setting brings them rows, only asking the model does."""
    blanked: int = 0
    """Refused rows that were not replayed, since their text was removed."""
    filters: dict[str, FilterCount] = field(default_factory=dict)
    """In the order of checking."""

    def changed(self, change: Change) -> int:
        """Return how many rows change in a way."""
        return sum(group.rows for group in self.changes[change].values())

    @property
    def changed_rows(self) -> int:
        return sum(self.changed(change) for change in Change)

    def note(self, change: Change, candidate: Candidate, former: Decision, fresh: Decision) -> None:
        """Count a changed row under what refuses it, or, where nothing does any more, what refused it."""
        told = former if change is Change.NEWLY_ACCEPTED else fresh
        group = self.changes[change].setdefault(".".join(refusal_of(told)), Group())
        group.rows += 1
        if len(group.examples) < EXAMPLES:
            verdict = told.deciding
            measured = (verdict.score, verdict.threshold, verdict.neighbour_id) if verdict else (None, None, None)
            group.examples.append(ChangedRow(candidate.id, candidate.instruction[:_KEPT_CHARACTERS], *measured))

    def note_kept(self, *, is_accepted: bool, cascade_accepts: bool) -> None:
        """Count a row that a person decided."""
        self.kept.accepted += is_accepted
        self.kept.refused += not is_accepted
        self.kept.overruling += is_accepted != cascade_accepts

    def to_record(self) -> dict[str, Any]:
        """Give it the shape it has with `--json`."""
        return {
            "rows": self.rows,
            "accepted_before": self.accepted_before,
            "accepted_after": self.accepted_after,
            **{
                change.value: {name: asdict(group) for name, group in _sorted(self.changes[change])}
                for change in Change
            },
            "kept_by_a_person": asdict(self.kept),
            "proposals_without_instance": asdict(self.proposals),
            "without_text": self.blanked,
            "filters": {name: asdict(count) for name, count in self.filters.items()},
        }


def print_difference(difference: Difference, console: Console) -> None:
    """Print it for people. Text of models is shown as text, never read as markup."""
    for change, title in TITLES.items():
        if difference.changed(change):
            console.print(_table(f"{title}: {difference.changed(change)} rows", difference.changes[change]))
    kept, left = difference.kept, difference.proposals
    console.print(
        f"{difference.rows} rows replayed: {difference.accepted_before} accepted before, "
        f"{difference.accepted_after} after; {difference.changed_rows} decisions change"
    )
    if kept.accepted or kept.refused:
        console.print(
            f"a person's decisions stay: {kept.accepted} accepted, {kept.refused} refused "
            f"({kept.overruling} against the filters)"
        )
    if difference.blanked:
        console.print(
            f"{difference.blanked} refused rows stay refused: their text was removed (retention.refused_text_days)"
        )
    if left.accepted or left.refused:
        console.print(
            f"proposals without an instance: {left.accepted} accepted, {left.refused} refused at screening; "
            "only asking the model would make rows of them"
        )


def _table(title: str, groups: Mapping[str, Group]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column("filter and reason")
    table.add_column("rows", justify="right")
    table.add_column("for example")
    for name, group in _sorted(groups):
        table.add_row(Text(name), str(group.rows), Text("\n".join(map(_line, group.examples))))
    return table


def _line(row: ChangedRow) -> str:
    measured = "" if row.score is None or row.threshold is None else f" {row.score:.2f} against {row.threshold:g}"
    near = f" to {row.neighbour_id[:20]}" if row.neighbour_id else ""
    return f"{row.id[:12]}{measured}{near}: {clip(row.instruction, 70)}"


def _sorted(groups: Mapping[str, Group]) -> list[tuple[str, Group]]:
    return sorted(groups.items(), key=lambda item: -item[1].rows)
