"""What `seedbed filter` and `seedbed contamination selftest` do between the command line and the functions."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from seedbed.core.config import FiltersConfig
from seedbed.core.records import Candidate
from seedbed.pool.pool import Pool
from seedbed.service.filter_file import FilterFileSettings, FilterProgress, filter_file, funnel_record
from seedbed.service.workspace import Workspace

LINE_EVERY_ROWS = 50_000
RULES = {"equal_item": "equal", "embedded_item": "within", "shared_ngram": "13-gram", "covered_item": "8-grams"}


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


def run_selftest(paths: Sequence[Path]) -> dict[str, Any]:
    """Run the decontamination selftest: on references of the user's, or on one made of our own seeds.

    The shipped digests hold no text, so nothing of theirs can be planted by itself. A file that is named like one of
    them is planted against the digest, not against its own text; what that gave stands in `docs/benchmarks.md`.
    """
    from seedbed.core.config import ContaminationConfig
    from seedbed.filters.contamination import ContaminationFilter
    from seedbed.filters.digest import read_manifest
    from seedbed.filters.references import read_references
    from seedbed.filters.selftest import run_selftest as selftest
    from seedbed.filters.selftest import synthetic_reference
    from seedbed.seeds.load import PACKAGED_TASKS, load_seed_tasks

    seeds = load_seed_tasks(PACKAGED_TASKS)
    clean = [(seed.instruction, seed.input, seed.output) for seed in seeds]
    references = [reference for path in paths for reference in read_references(path)]
    if not references:
        references = [synthetic_reference([seed.output for seed in seeds])]
    shipped = {entry.name for entry in read_manifest().digests}
    others = [reference for reference in references if reference.name not in shipped]
    table = selftest(ContaminationFilter(ContaminationConfig(), loaded=others), references, clean)
    return {
        "references": [reference.name for reference in references],
        "is_synthetic": not paths,
        "clean_rows": table.clean_rows,
        "false_positives": table.false_positives,
        "false_by_rule": table.false_by_rule,
        "recalls": [
            {
                "reference": one.reference,
                "canary": str(one.canary),
                "planted": one.planted,
                "found": one.found,
                "by_rule": one.by_rule,
            }
            for one in table.recalls
        ],
    }


def print_selftest(result: dict[str, Any]) -> None:
    """Print the selftest's table for people."""
    console = Console(highlight=False)
    rules = list(RULES)
    table = Table(title="canaries found by any rule, and by each", title_justify="left")
    for name in ("reference", "canary"):
        table.add_column(name, no_wrap=name == "canary")
    for name in ("planted", "found", *RULES.values()):
        table.add_column(name, justify="right")
    for one in result["recalls"]:
        share = f"{one['found'] / one['planted']:.3f}" if one["planted"] else ""
        cells = [str(one["by_rule"].get(rule, 0)) for rule in rules]
        table.add_row(one["reference"], one["canary"], str(one["planted"]), share, *cells)
    console.print(table)
    console.print(f"false positives: {result['false_positives']} of {result['clean_rows']} clean rows (the seed tasks)")
    if result["is_synthetic"]:
        console.print(
            "The reference above was made at run time from seed tasks. The shipped digests hold no text to plant; "
            "give the benchmarks' own files with --reference to measure them."
        )
