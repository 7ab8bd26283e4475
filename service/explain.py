"""`seedbed why ID`: a row, every verdict on it, and its neighbour side by side with the shared words marked."""

from collections.abc import Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from seedbed.core.errors import InputError
from seedbed.core.records import Candidate, Decision, Proposal, SeedTask
from seedbed.core.text import words
from seedbed.pool.pool import Pool
from seedbed.service.ancestry import ancestors_of
from seedbed.service.workspace import Workspace

FIELDS = ("instruction", "input", "output")


def explain(workspace: Workspace, identity: str) -> dict[str, Any]:
    """Gather what is known of a row or proposal.

    Raises:
        InputError: No id starts so, or several do.
    """
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        return explain_in(workspace.seeds, pool, identity)


def explain_in(seeds: Sequence[SeedTask], pool: Pool, identity: str) -> dict[str, Any]:
    """Gather what an open pool knows of a row or proposal.

    Raises:
        InputError: No id starts so, or several do.
    """
    found = the_one(pool, identity)
    subject = pool.candidate(found) or pool.proposal(found)
    assert subject is not None
    decisions = pool.decisions(found)
    neighbour = _neighbour(seeds, pool, decisions)
    return {
        "subject": subject.model_dump(mode="json"),
        "is_blanked": subject.is_blanked,
        "decisions": [decision.model_dump(mode="json") for decision in decisions],
        "neighbour": neighbour.model_dump(mode="json") if neighbour else None,
        "ancestors": [one.model_dump(mode="json") for one in ancestors_of(seeds, pool, subject.lineage)],
        "requests": [
            request.model_dump(mode="json")
            for request in map(pool.request, subject.lineage.request_ids)
            if request is not None
        ],
    }


def the_one(pool: Pool, identity: str) -> str:
    """Return the one id that begins so.

    Raises:
        InputError: None does, or several do.
    """
    found = pool.find(identity)
    if identity in found:
        return identity
    if not found:
        raise InputError(f'no row or proposal has an id that starts with "{identity}"')
    if len(found) > 1:
        raise InputError(f'several ids start with "{identity}": {", ".join(one[:16] for one in found[:5])}; give more')
    return found[0]


def _neighbour(
    tasks: Sequence[SeedTask], pool: Pool, decisions: list[Decision]
) -> Candidate | Proposal | SeedTask | None:
    """Return the text that the deciding verdict names, or the nearest that an accepting one does."""
    verdicts = [verdict for decision in reversed(decisions) for verdict in reversed(decision.verdicts)]
    for verdict in sorted(verdicts, key=lambda one: one.accepted):
        if verdict.neighbour_id:
            seeds = {seed.id: seed for seed in tasks}
            name = verdict.neighbour_id
            return seeds.get(name) or pool.candidate(name) or pool.proposal(name)
    return None


def print_explained(explained: dict[str, Any]) -> None:
    """Print it for people. Text of models is shown as text, never read as markup."""
    console = Console(highlight=False)
    subject, neighbour = explained["subject"], explained["neighbour"]
    panels = [_panel(subject, neighbour or {}, f"this: {subject['id']}")]
    if neighbour:
        panels.append(_panel(neighbour, subject, f"its neighbour: {neighbour['id']}"))
    console.print(Columns(panels, equal=True, expand=True))
    if explained["is_blanked"]:
        console.print("its text was removed since it is old (retention.refused_text_days)", markup=False)
    for decision in explained["decisions"]:
        console.print(_verdicts(decision))
    lineage = subject["lineage"]
    console.print(
        f"recipe {lineage['recipe']}, model {lineage['model'] or '?'}, depth {lineage['depth']}, "
        f"shown: {', '.join(lineage['demonstration_ids']) or 'nothing'}",
        markup=False,
    )


def _panel(row: dict[str, Any], other: dict[str, Any], title: str) -> Panel:
    body = Text()
    for field in FIELDS:
        if row.get(field):
            body.append(f"{field}: ", style="bold")
            body.append_text(marked(row[field], other.get(field, ""))).append("\n")
    return Panel(body, title=Text(title), title_align="left")


def marked(text: str, other: str) -> Text:
    """Return `text` with the words it shares with `other` marked."""
    shared, marked_text = set(words(other)), Text()
    for piece in text.replace("\n", " \n ").split(" "):
        is_shared = bool(shared) and any(word in shared for word in words(piece))
        marked_text.append(piece, style="black on yellow" if is_shared else "").append(" ")
    return marked_text


def _verdicts(decision: dict[str, Any]) -> Table:
    outcome = "accepted" if decision["accepted"] else "refused"
    note = f": {decision['note']}" if decision["note"] else ""
    table = Table(title=f"decision {decision['sequence']}: {outcome} by {decision['by']}{note}", title_justify="left")
    for name in ("filter", "verdict", "score", "threshold", "neighbour", "evidence"):
        table.add_column(name)
    for one in decision["verdicts"]:
        cells = (one["filter"], one["reason"] or "accepted", _number(one["score"]), _number(one["threshold"]))
        table.add_row(*cells, one["neighbour_id"] or "", Text(" ".join(one["evidence"])[:200]))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
