"""Does decontamination work here? The selftest as a command, and its figures for every report."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seedbed import __version__
from seedbed.core.files import read_json, sha256_of, write_json
from seedbed.core.filter_config import ContaminationConfig
from seedbed.service.workspace import Workspace

RULES = {"equal_item": "equal", "embedded_item": "within", "shared_ngram": "13-gram", "covered_item": "8-grams"}
STORED = "decontamination.json"


def run_selftest(paths: Sequence[Path], config: ContaminationConfig | None = None) -> dict[str, Any]:
    """Run the decontamination selftest: on references of the user's, or on one made of our own seeds.

    The shipped digests hold no text, so nothing of theirs can be planted by itself. A file that is named like one of
    them is planted against the digest, not against its own text; what that gave stands in `docs/benchmarks.md`.
    """
    from seedbed.filters.contamination import ContaminationFilter
    from seedbed.filters.digest import read_manifest
    from seedbed.filters.references import read_references
    from seedbed.filters.selftest import run_selftest as selftest
    from seedbed.filters.selftest import synthetic_reference
    from seedbed.seeds.load import PACKAGED_TASKS, load_seed_tasks

    seeds = load_seed_tasks(PACKAGED_TASKS)
    clean = [(seed.instruction, seed.input, seed.output) for seed in seeds]
    references = [reference for path in paths for reference in read_references(path)]
    is_synthetic = not references
    if is_synthetic:
        references = [synthetic_reference([seed.output for seed in seeds])]
    shipped = {entry.name for entry in read_manifest().digests}
    others = [reference for reference in references if reference.name not in shipped]
    table = selftest(ContaminationFilter(config or ContaminationConfig(), loaded=others), references, clean)
    return {
        "references": [reference.name for reference in references],
        "is_synthetic": is_synthetic,
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


def selftest_of(workspace: Workspace) -> dict[str, Any]:
    """Return the selftest's figures for a workspace's references, measured once for each state of them.

    They lie in `reports/decontamination.json`, beside the hash of what they were measured with.
    """
    config, paths = workspace.config.filters.contamination, workspace.references()
    path, state = workspace.reports / STORED, _state(config, paths)
    if path.is_file():
        stored: dict[str, Any] = read_json(path)
        if stored.get("state") == state:
            return stored
    found = {"state": state, **run_selftest(paths, config.model_copy(update={"references": ()}))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return found


def _state(config: ContaminationConfig, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{__version__} {config.model_dump_json()}".encode())
    for path in paths:
        for file in sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]:
            digest.update(f"{file.name} {sha256_of(file)}".encode())
    return digest.hexdigest()


def selftest_text(result: dict[str, Any]) -> Text:
    """Say in three lines what decontamination finds, by kind of canary, and how often it is wrong."""
    planted: dict[str, tuple[int, int]] = {}
    for one in result["recalls"]:
        known = planted.get(one["canary"], (0, 0))
        planted[one["canary"]] = (known[0] + one["found"], known[1] + one["planted"])
    shares = (f"{name} {found / total:.3f}" for name, (found, total) in planted.items() if total)
    of = "a reference made of seed tasks" if result["is_synthetic"] else ", ".join(result["references"])
    text = Text("decontamination selftest", style="bold")
    text.append(f", share of canaries found ({of}): ", style="not bold").append(" · ".join(shares), style="not bold")
    wrong = f"; false positives {result['false_positives']} of {result['clean_rows']} clean rows"
    return text.append(wrong, style="not bold")


def print_selftest(result: dict[str, Any], console: Console | None = None) -> None:
    """Print the selftest's tables for people, one a reference, each narrow enough for 80 columns."""
    console = console or Console(highlight=False)
    for table in _tables(result["recalls"]):
        console.print(table)
    console.print(f"false positives: {result['false_positives']} of {result['clean_rows']} clean rows (the seed tasks)")
    if result["is_synthetic"]:
        console.print(
            "The reference above was made at run time from seed tasks. The shipped digests hold no text to plant; "
            "give the benchmarks' own files with --reference to measure them."
        )


def _tables(recalls: Sequence[dict[str, Any]]) -> Iterator[Table]:
    for reference, rows in groupby(recalls, key=lambda one: str(one["reference"])):
        title = f"{reference}: canaries found, and by which rule"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("canary", no_wrap=True)
        for name in ("planted", "found", *RULES.values()):
            table.add_column(name, justify="right", no_wrap=True)
        for one in rows:
            share = f"{one['found'] / one['planted']:.3f}" if one["planted"] else ""
            cells = [str(one["by_rule"].get(rule, 0)) for rule in RULES]
            table.add_row(one["canary"], str(one["planted"]), share, *cells)
        yield table
