"""Commands on what was decided: refilter, references add and rescan, pool prune, judge agreement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seedbed.service.cli import Here, Json, emit
from seedbed.service.file_commands import names
from seedbed.service.work_commands import finish, running_service, work

if TYPE_CHECKING:
    from seedbed.filters.contamination import ContaminationFilter
    from seedbed.service.adding import AddedReference
    from seedbed.service.client import By, Client
    from seedbed.service.context import Context
    from seedbed.service.exchanged import RescannedShown
    from seedbed.service.live import Live
    from seedbed.service.refilter import Tell
    from seedbed.service.stopping import Stop


def refilter(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change; writes nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Decide all stored rows again."""
    from seedbed.service.ledger_screen import refilter_record

    done = _dry_refilter(as_json) if dry_run else work(_refilter_job(as_json), as_json)["refiltered"]
    if as_json:
        emit(True, refilter_record(done, is_dry=dry_run), "")
    finish(was_stopped=done.was_stopped, is_complete=not done.was_stopped)


def references_add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSONL, JSON, CSV, Parquet or plain text.")],
    fields: Annotated[
        str, typer.Option(help="Fields that hold the items, comma-separated; all strings by default.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Copy benchmarks into references/, and quarantine the rows and mark the adapters that overlap with them."""
    from seedbed.service.adding import add_references
    from seedbed.service.rescan import added_filter

    if service := running_service():
        with service:
            _add_remotely(service, files, fields, as_json)
        return

    def prepare(context: Context) -> tuple[ContaminationFilter, list[AddedReference]]:
        added = add_references(context.workspace, files, names(fields))
        for one in added:
            context.events.emit("reference.added", reference=one.name, file=str(one.file), items=one.items)
        return added_filter(context, added), added

    _rescan(prepare, as_json)


def references_rescan(as_json: Json = False) -> None:
    """Look for all references there are in the whole pool, as after putting files into references/ by hand."""
    from seedbed.service.rescan import whole_filter

    if service := running_service():
        from seedbed.service.remote import new_key

        with service:
            _tell_rescanned(service.rescan(key=new_key()), as_json)
        return
    _rescan(lambda context: (whole_filter(context), []), as_json)


def pool_prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what is old.

    Refused text, raw completions, prompts, checkpoints and snapshots past what [retention] says. A service does so by
    itself, daily at most; what is accepted or in service stays.
    """
    from seedbed.service.context import reading
    from seedbed.service.prune import print_pruned, prune, prune_record
    from seedbed.service.stopping import Stop
    from seedbed.service.workspace import open_workspace

    if service := running_service():
        from seedbed.service.remote import new_key

        with service:
            done = service.prune(dry_run=dry_run, key=new_key())
    elif dry_run:
        with reading(open_workspace(Here.workspace)) as context:
            done = prune_record(prune(context, is_dry=True, stop=Stop()))
    else:
        done = prune_record(work(_prune_job, as_json)["pruned"])
    emit(as_json, done.model_dump(mode="json"), print_pruned(done))
    finish(was_stopped=done.was_stopped, is_complete=not done.was_stopped)


async def _prune_job(context: Context, stop: Stop, _: Live) -> dict[str, Any]:
    import anyio.to_thread

    from seedbed.service.prune import prune_now

    return {"pruned": await anyio.to_thread.run_sync(prune_now, context, stop)}


def _add_remotely(service: Client, files: list[Path], fields: str, as_json: bool) -> None:
    from seedbed.service.remote import as_reference, new_key

    for file in files:
        with as_reference(file) as (name, form, content):
            _tell_rescanned(service.add_reference(name, content, form, fields, key=new_key()), as_json)


def _tell_rescanned(done: RescannedShown, as_json: bool) -> None:
    from seedbed.service.ledger_screen import print_rescanned, rescanned_of

    if as_json:
        emit(True, done.model_dump(mode="json"), "")
    else:
        print_rescanned(*rescanned_of(done))
    finish(was_stopped=done.was_stopped, is_complete=not done.was_stopped)


def import_rows(
    file: Annotated[Path, typer.Argument(help="JSON lines: Alpaca, Dolly, ShareGPT, messages, prompt and completion.")],
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="Accept all whose category is verified, and mark them so.")
    ] = False,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "imported",
    as_json: Json = False,
) -> None:
    """Take an existing set into the pool.

    The cascade decides each row, unless --by-hand; rows of categories that cannot be verified wait for a person.
    """
    from seedbed.core.errors import MissingFileError
    from seedbed.service.importing import import_rows as take_in
    from seedbed.service.remote import new_key

    if not file.is_file():
        raise MissingFileError(f"there is no file {file}")
    if service := running_service():
        with service:
            done = service.import_rows(file, "by_hand" if by_hand else "cascade", note, key=new_key())
    else:

        async def job(context: Context, _: Stop, live: Live) -> dict[str, Any]:
            decide: By = "by_hand" if by_hand else "cascade"
            return {"imported": await take_in(context, live, file, decide=decide, note=note)}

        done = work(job, as_json)["imported"]
    refused = ", ".join(f"{count} {name}" for name, count in done.refused.items())
    lines = [f"{done.rows} rows read, {done.accepted} accepted{'; refused: ' if refused else ''}{refused}"]
    lines += [f"{file} line {one.line}: {one.problem}" for one in done.malformed]
    if done.malformed_lines > len(done.malformed):
        lines.append(f"and {done.malformed_lines - len(done.malformed)} more lines that are no rows")
    emit(as_json, done.model_dump(mode="json"), "\n".join(lines))


def _rescan(prepare: Any, as_json: bool) -> None:
    import anyio.to_thread

    from seedbed.service.ledger_screen import print_rescanned, rescan_record
    from seedbed.service.rescan import rescan
    from seedbed.service.serving import bring_into_service

    async def job(context: Context, stop: Stop, live: Live) -> dict[str, Any]:
        def in_thread() -> dict[str, Any]:
            contamination, added = prepare(context)
            return {"added": added, "done": rescan(context, contamination, tell=_gauge(live), stop=stop)}

        done = await anyio.to_thread.run_sync(in_thread)
        await bring_into_service(context)
        return done

    result = work(job, as_json)
    added, done = result["added"], result["done"]
    if as_json:
        emit(True, rescan_record(added, done), "")
    else:
        print_rescanned(added, done)
    finish(was_stopped=done.was_stopped, is_complete=not done.was_stopped)


def _refilter_job(as_json: bool) -> Any:
    import anyio.to_thread

    from seedbed.service.ledger_screen import print_refiltered, shower
    from seedbed.service.refilter import refilter as refilter_rows
    from seedbed.service.serving import bring_into_service

    async def job(context: Context, stop: Stop, live: Live) -> dict[str, Any]:
        def in_thread() -> Any:
            return refilter_rows(context, is_dry=False, show=shower(as_json), tell=_gauge(live), stop=stop)

        done = await anyio.to_thread.run_sync(in_thread)
        await bring_into_service(context)
        if not as_json:
            print_refiltered(done)
        return {"refiltered": done}

    return job


def _dry_refilter(as_json: bool) -> Any:
    """Replay without holding the workspace, so also beside a service that runs in it."""
    from seedbed.service.console import Console
    from seedbed.service.context import reading
    from seedbed.service.ledger_screen import shower, ticker
    from seedbed.service.refilter import refilter as refilter_rows
    from seedbed.service.stopping import Stop
    from seedbed.service.workspace import open_workspace

    with reading(open_workspace(Here.workspace)) as context:
        tell = ticker(Console(is_quiet=as_json))
        return refilter_rows(context, is_dry=True, show=shower(as_json), tell=tell, stop=Stop())


def _gauge(live: Live) -> Tell:
    from seedbed.service.console import Figures

    def tell(label: str, done: int, total: int) -> None:
        live.gauge = lambda: Figures(label, done, total, "rows")

    return tell


def judge_agreement(
    file: Annotated[Path, typer.Argument(help="JSON lines of rows with marks clarity, fit, correctness, 1 to 5.")],
    as_json: Json = False,
) -> None:
    """Compare the judge's marks with a person's.

    The endpoint that `judge` names marks the rows of the file; nothing goes into the pool.
    """
    from seedbed.service.judge_agreement import agreement_table
    from seedbed.service.judge_agreement import judge_agreement as compare

    result = work(lambda context, *_: compare(context, file), as_json)
    emit(as_json, result, agreement_table(result))
