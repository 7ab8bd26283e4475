"""Commands on files: filter, export, seeds check, contamination selftest, pool check and backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seedbed.service.cli import Here, Json, emit


def filter_rows(
    file: Annotated[Path, typer.Argument(help="JSON lines, JSON or Parquet of Alpaca, ShareGPT or messages rows.")],
    out: Annotated[Path, typer.Option(help="A new folder, or the one an interrupted run of the same left.")],
    reference: Annotated[list[Path] | None, typer.Option(help="A benchmark to keep out; may be repeated.")] = None,
    fields: Annotated[
        str, typer.Option(help="Fields of the references, comma-separated; all strings by default.")
    ] = "",
    only: Annotated[str, typer.Option(help="Filters to use, comma-separated; all by default.")] = "",
    no_digests: Annotated[bool, typer.Option("--no-digests", help="Leave out the packaged benchmarks.")] = False,
    task_field: Annotated[
        str, typer.Option(help="The field that rows of one task share; they are compared by input, not instruction.")
    ] = "task_id",
    against_pool: Annotated[
        bool, typer.Option("--against-pool", help="Compare with the workspace's pool too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Filter any file of rows.

    Malformed rows, duplicates, near-duplicates, benchmark overlap; needs no workspace and no model.
    """
    from seedbed.service.filter_command import print_funnel, run_filter, settings_of
    from seedbed.service.workspace import open_workspace

    workspace = open_workspace(Here.workspace) if against_pool else None
    settings = settings_of(
        file,
        out,
        reference or [],
        names(fields),
        names(only),
        digests=not no_digests,
        task_field=task_field,
        workspace=workspace,
    )
    funnel = run_filter(settings, is_quiet=as_json)
    if as_json:
        emit(True, funnel, "")
    else:
        print_funnel(funnel, out)
    if funnel["damage"]:
        raise typer.Exit(1)


def contamination_selftest(
    reference: Annotated[list[Path] | None, typer.Option(help="A reference to plant; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Plant canaries of each reference beside clean text, and print what each rule finds of them."""
    from seedbed.service.decontamination import print_selftest, run_selftest

    table = run_selftest(reference or [])
    if as_json:
        emit(True, table, "")
    else:
        print_selftest(table)


def export_rows(
    out: Annotated[Path, typer.Argument(help="A new file, or a new folder for hf; - writes to standard output.")],
    form: Annotated[
        str,
        typer.Option("--format", help="alpaca, alpaca-jsonl, sharegpt, sharegpt-jsonl, messages, parquet, csv or hf."),
    ] = "alpaca",
    snapshot: Annotated[
        str, typer.Option(help="A snapshot's id or its beginning, or latest; the pool by default, for hf the latest.")
    ] = "",
    split: Annotated[str, typer.Option(help="train or validation, of a snapshot; both by default.")] = "",
    readers: Annotated[
        list[str] | None,
        typer.Option("--for", help="llamafactory or axolotl: write beside it what they need to read it; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the accepted rows.

    In a form that trainers read, from the pool or from a snapshot.
    """
    from seedbed.pool.pool import Pool
    from seedbed.service.export_command import run_export, wanted_export
    from seedbed.service.workspace import open_workspace

    wanted = wanted_export(out, form, snapshot, split, names(",".join(readers or [])))
    workspace = open_workspace(Here.workspace)
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        exported = run_export(workspace, pool, wanted)
    left = f"; {exported.refused_since} refused since the freeze were left out" if exported.refused_since else ""
    if wanted.is_stream:
        typer.echo(f"{exported.rows} rows{left}", err=True)
        return
    files = [str(one) for one in exported.files]
    value = {"rows": exported.rows, "refused_since": exported.refused_since, "file": str(out), "files": files}
    emit(as_json, value, f"{exported.rows} rows in {', '.join(files)}{left}")


def convert(
    adapter: Annotated[str, typer.Argument(help="An adapter, such as round-0000.")],
    out: Annotated[Path, typer.Argument(help="The GGUF file to write.")],
    as_json: Json = False,
) -> None:
    """Write an adapter as llama.cpp takes it.

    A GGUF file, for `llama-server --lora` or a managed server's arguments.
    """
    from seedbed.service.converting import convert_adapter
    from seedbed.service.workspace import open_workspace

    result = convert_adapter(open_workspace(Here.workspace), adapter, out)
    emit(as_json, result, f"{result['matrices']} adapted matrices in {out}; its base: {result['base']}")


def seeds_check(
    file: Annotated[Path, typer.Argument(help="JSON lines of id, category, instruction, input, output.")],
    categories: Annotated[Path | None, typer.Option(help="A categories.toml; the packaged one by default.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what is wrong with a file of seed tasks, by line.

    And how well the categories can be told apart by them.
    """
    from seedbed.seeds.load import PACKAGED_CATEGORIES, check_seed_tasks, load_categories
    from seedbed.service.seed_agreement import agreement_text, agreement_values

    kinds = load_categories(categories or PACKAGED_CATEGORIES)
    problems = check_seed_tasks(file, kinds)
    lines: list[dict[str, Any]] = [{"line": one.line, "problem": one.problem} for one in problems]
    if problems:
        emit(
            as_json,
            {"file": str(file), "problems": lines},
            "\n".join(f"{file} line {one['line']}: {one['problem']}" for one in lines),
        )
        raise typer.Exit(1)
    told = agreement_values(file, kinds)
    emit(
        as_json,
        {"file": str(file), "problems": lines, "agreement": told},
        f"{file} is in order\n{agreement_text(told)}",
    )


def pool_check(as_json: Json = False) -> None:
    """Verify the database, its counts and the snapshots' hashes; an older pool is upgraded first, with a backup."""
    from seedbed.pool.check import check
    from seedbed.pool.pool import Pool
    from seedbed.service.copies import upgrade
    from seedbed.service.workspace import open_workspace

    workspace = open_workspace(Here.workspace)
    before = upgrade(workspace)
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        problems = check(pool, workspace.snapshots)
    told = [f"the pool was upgraded from schema version {before}; backups/ has it as it was"] if before else []
    text = "\n".join([*told, *(problems or ["the pool is in order"])])
    emit(as_json, {"problems": problems, "upgraded_from": before}, text)
    if problems:
        raise typer.Exit(1)


def pool_backup(
    out: Annotated[Path, typer.Argument(help="A new file.")],
    as_json: Json = False,
) -> None:
    """Copy the pool into an SQLite file, also while a service writes it."""
    from seedbed.service.copies import back_up

    back_up(Here.workspace, out)
    emit(as_json, {"file": str(out)}, f"the pool is copied to {out}")


def pool_restore(
    file: Annotated[Path, typer.Argument(help="A file that `pool backup` wrote.")],
    as_json: Json = False,
) -> None:
    """Make a backup the workspace's pool; the pool that was there is kept beside it."""
    from seedbed.service.copies import put_back

    before = put_back(file, Here.workspace)
    kept = f"; the pool that was there is now {before}" if before else ""
    emit(as_json, {"before": str(before or "")}, f"the pool is restored from {file}{kept}")


def warm() -> None:
    """Compile the filters' and the classifier's kernels.

    Into the cache, so that the first run does not wait; for images.
    """
    from seedbed.core.filter_config import FiltersConfig
    from seedbed.filters.cascade import build_cascade
    from seedbed.filters.category import compiled_scores
    from seedbed.seeds.classifier import CategoryClassifier
    from seedbed.seeds.load import PACKAGED_CATEGORIES, PACKAGED_TASKS, load_categories, load_seed_tasks

    build_cascade(FiltersConfig()).warm()
    CategoryClassifier(load_seed_tasks(PACKAGED_TASKS, load_categories(PACKAGED_CATEGORIES)), (), compiled_scores)
    typer.echo("kernels are compiled")


def names(text: str) -> tuple[str, ...]:
    """Split a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
