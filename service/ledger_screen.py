"""What `refilter` and `references` print, for people and as plain records."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from seedbed.core.records import Candidate, Lineage
from seedbed.service.adding import AddedReference
from seedbed.service.console import LINE_EVERY_S, Console
from seedbed.service.difference import Difference, print_difference
from seedbed.service.exchanged import RescannedShown
from seedbed.service.refilter import Refiltered, Tell
from seedbed.service.rescan import Hit, Rescanned
from seedbed.service.summary import clip
from seedbed.service.tainting import TaintedAdapter, Tainting


def shower(is_quiet: bool) -> Callable[[Difference], None]:
    """Return what shows a difference before it is stored."""
    if is_quiet:
        return lambda _: None
    return lambda difference: print_difference(difference, RichConsole(highlight=False))


def ticker(console: Console, now: Callable[[], float] = time.monotonic) -> Tell:
    """Return what says now and then how far the work is."""
    said_at = now()

    def tell(label: str, done: int, total: int) -> None:
        nonlocal said_at
        if now() - said_at >= LINE_EVERY_S:
            said_at = now()
            console.say(f"  {label}: {done} of {total} rows")

    return tell


def refilter_record(done: Refiltered, *, is_dry: bool) -> dict[str, Any]:
    """Give a refilter the shape it has with `--json`."""
    return {
        **done.difference.to_record(),
        "dry_run": is_dry,
        "stored": done.stored,
        "triggered_rounds": [run.round for run in done.runs],
        "adapters": asdict(done.tainting) if done.tainting else None,
        "was_stopped": done.was_stopped,
    }


def print_refiltered(done: Refiltered) -> None:
    """Print what was stored, after the difference was shown."""
    console = RichConsole(highlight=False)
    if done.was_stopped:
        console.print(f"stopped after storing {done.stored} decisions; run it again and it goes on")
        return
    console.print(f"{done.stored} new decisions are stored")
    for run in done.runs:
        console.print(f"the training of round {run.round} is due: {run.threshold} accepted rows are reached")
    if done.tainting:
        _print_tainting(done.tainting, console)


def rescan_record(added: Sequence[AddedReference], done: Rescanned) -> dict[str, Any]:
    """Give a rescan the shape it has with `--json`."""
    return {
        "references": [asdict(one) for one in added],
        "scanned": done.scanned,
        "quarantined": done.quarantined,
        "rules": dict(done.rules.most_common()),
        "by_reference": dict(done.references.most_common()),
        "examples": [
            {"id": hit.candidate.id, "instruction": hit.candidate.instruction, "verdict": hit.verdict.model_dump()}
            for hit in done.examples
        ],
        "accepted_by_a_person_all_the_same": done.overruled,
        "adapters": asdict(done.tainting),
        "was_stopped": done.was_stopped,
    }


def rescanned_of(shown: RescannedShown) -> tuple[list[AddedReference], Rescanned]:
    """Give what a service told of a rescan the shape of one done here."""
    added = [AddedReference(one.name, Path(one.file), one.items, one.fields, one.was_there) for one in shown.references]
    hits = []
    for one in shown.examples:
        row = Candidate(id=one.id, task_id=one.id, instruction=one.instruction, output="", lineage=Lineage(recipe=""))
        hits.append(Hit(row, one.verdict, 0))
    adapters = shown.adapters
    tainting = Tainting(
        tainted=[TaintedAdapter(one.id, one.rows, one.ids) for one in adapters.tainted],
        rolled_back=list(adapters.rolled_back),
        in_service=adapters.in_service,
        unknown=list(adapters.unknown),
    )
    return added, Rescanned(
        scanned=shown.scanned,
        quarantined=shown.quarantined,
        rules=Counter(shown.rules),
        references=Counter(shown.by_reference),
        examples=hits,
        overruled=shown.accepted_by_a_person_all_the_same,
        tainting=tainting,
        was_stopped=shown.was_stopped,
    )


def print_rescanned(added: Sequence[AddedReference], done: Rescanned) -> None:
    """Print what a rescan found. Text of models is shown as text, never read as markup."""
    console = RichConsole(highlight=False)
    for one in added:
        fields = f" in {', '.join(one.fields)}" if one.fields else ""
        console.print(f"{one.file}: {one.items} items{fields}{' (was there)' if one.was_there else ''}", markup=False)
    if done.quarantined:
        console.print(_found_table(done))
    if done.overruled:
        console.print(f"{done.overruled} overlapping rows stay: a person accepted them all the same")
    console.print(f"{done.scanned} accepted rows scanned, {done.quarantined} quarantined")
    if done.was_stopped:
        console.print("stopped on the way; run it again and it goes on")
        return
    if done.quarantined:
        console.print("rows refused as near-duplicates of these may enter now: see seedbed refilter --dry-run")
    _print_tainting(done.tainting, console)


def _found_table(done: Rescanned) -> Table:
    table = Table(title="quarantined", title_justify="left")
    for name in ("row", "rule", "item", "overlapping words", "instruction"):
        table.add_column(name)
    for hit in done.examples:
        verdict = hit.verdict
        cells = (
            hit.candidate.id[:12],
            verdict.reason,
            verdict.neighbour_id or "",
            clip(" ".join(verdict.evidence), 60),
        )
        table.add_row(*map(Text, cells), Text(clip(hit.candidate.instruction, 60)))
    rules = ", ".join(f"{count} by {rule}" for rule, count in done.rules.most_common())
    references = ", ".join(f"{count} of {name}" for name, count in done.references.most_common())
    table.caption = Text(f"{done.quarantined} rows: {rules}; {references}")
    return table


def _print_tainting(tainting: Tainting, console: RichConsole) -> None:
    for one in tainting.tainted:
        console.print(f"adapter {one.id} is tainted: {one.rows} of its training rows overlap", markup=False)
    for identity in tainting.rolled_back:
        console.print(
            f"adapter {identity} was in service and is rolled back; in service now: "
            f"{tainting.in_service or 'the base alone'}",
            markup=False,
        )
    for problem in tainting.unknown:
        console.print(f"could not be examined: {problem}", markup=False)
