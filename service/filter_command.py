"""What `seedbed filter` does between the command line and the functions."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from seedbed.core.filter_config import FiltersConfig
from seedbed.core.records import Candidate
from seedbed.pool.pool import Pool
from seedbed.service.filter_file import FilterFileSettings, FilterProgress, filter_file, funnel_record
from seedbed.service.workspace import Workspace

LINE_EVERY_ROWS = 50_000


def settings_of(
    file: Path,
    out: Path,
    references: Sequence[Path],
    fields: tuple[str, ...],
    only: tuple[str, ...],
    *,
    digests: bool,
    task_field: str,
    workspace: Workspace | None,
) -> FilterFileSettings:
    """Make the settings; a workspace lends its filter settings and its pool."""
    return FilterFileSettings(
        file=file,
        out=out,
        filters=workspace.config.filters if workspace else FiltersConfig(),
        only=only,
        references=tuple(references),
        reference_fields=fields,
        digests=digests,
        task_field=task_field,
        against=(lambda: _accepted(workspace)) if workspace else None,
        against_name=str(workspace.folder.resolve()) if workspace else "",
    )


def _accepted(workspace: Workspace) -> Iterator[Candidate]:
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        yield from pool.accepted()


def run_filter(settings: FilterFileSettings, *, is_quiet: bool) -> dict[str, Any]:
    """Run it with a progress display; returns the funnel."""
    if is_quiet:
        return funnel_record(filter_file(settings))
    console = Console(stderr=True, highlight=False)
    if not sys.stderr.isatty():
        return funnel_record(filter_file(settings, _Lines(console)))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[notes]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("filtering", total=1.0, notes="")

        def show(progress: FilterProgress) -> None:
            bar.update(task, description=progress.phase, completed=progress.share, notes=_notes(progress))

        return funnel_record(filter_file(settings, show))


class _Lines:
    """Progress as lines, where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console, self._next = console, LINE_EVERY_ROWS

    def __call__(self, progress: FilterProgress) -> None:
        if progress.funnel.rows >= self._next or progress.phase == "done":
            self._next = progress.funnel.rows + LINE_EVERY_ROWS
            self._console.print(f"  {progress.share:.0%}: {_notes(progress)}", markup=False)


def _notes(progress: FilterProgress) -> str:
    funnel = progress.funnel
    return f"{funnel.rows:,} rows, {funnel.accepted:,} accepted, {progress.rows_per_s:,.0f} rows/s"


def print_funnel(funnel: dict[str, Any], out: Path) -> None:
    """Print a funnel for people."""
    console = Console(highlight=False)
    table = Table(title=f"{funnel['rows']:,} rows", title_justify="left")
    for name in ("filter", "checked", "refused", "seconds"):
        table.add_column(name, justify="left" if name == "filter" else "right")
    for name, one in funnel["filters"].items():
        table.add_row(name, f"{one['checked']:,}", f"{one['refused']:,}", f"{one['seconds']:.1f}")
    console.print(table)
    total = max(1, funnel["rows"])
    for reason, count in funnel["refused"].items():
        console.print(f"  {count:>10,}  {count / total:6.2%}  {reason}", markup=False)
    console.print(f"  {funnel['accepted']:>10,}  {funnel['accepted'] / total:6.2%}  accepted", markup=False)
    if funnel["damage"]:
        console.print(f"the input could not be read to its end: {funnel['damage']}", markup=False)
    console.print(f"{out / 'accepted.jsonl'}\n{out / 'refused.jsonl'}", markup=False)
