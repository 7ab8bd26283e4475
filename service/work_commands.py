"""Commands that change a workspace: init, generate, run, serve, snapshot, train, evaluate, promote, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seedbed.service.cli import Here, Json, emit

if TYPE_CHECKING:
    from seedbed.service.client import Client
    from seedbed.service.context import Context
    from seedbed.service.live import Live
    from seedbed.service.running import Serve
    from seedbed.service.stopping import Stop

INTERRUPTED = 130


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    base_url: Annotated[str, typer.Option(help="A server of yours: http://127.0.0.1:8000/v1")] = "",
    model: Annotated[str, typer.Option(help="The model it serves.")] = "",
    api_key_env: Annotated[str, typer.Option(help="The NAME of the variable that holds its key.")] = "",
    preset: Annotated[str, typer.Option(help="Ready-made settings: first-run.")] = "",
    keep: Annotated[bool, typer.Option(help="Leave a workspace that is already there as it is.")] = False,
    as_json: Json = False,
) -> None:
    """Make a workspace.

    It gets a commented seedbed.toml, the seeds and the folders.
    """
    from seedbed.service.init import create_workspace

    create_workspace(folder, preset=preset, base_url=base_url, model=model, api_key_env=api_key_env, keep=keep)
    emit(as_json, {"workspace": str(folder)}, f"workspace {folder} is ready; settings in {folder / 'seedbed.toml'}")


def generate(
    target: Annotated[int, typer.Option(help="Stop at so many accepted rows in the pool.")],
    as_json: Json = False,
) -> None:
    """Generate rows; trains nothing.

    Stops when the pool holds --target accepted ones.
    """
    from seedbed.core.errors import ConfigError
    from seedbed.service.generation import generate as generate_rows

    if target < 1:
        raise ConfigError(f"--target must be at least 1, got {target}")

    async def job(context: Context, stop: Stop, live: Live) -> dict[str, Any]:
        outcome = await generate_rows(context, target=target, stop=stop, live=live)
        return generation_result(context, outcome, was_stopped=stop.is_wanted)

    result = work(job, as_json)
    emit(as_json, result, f"{result['accepted']} rows accepted in the pool; {result['ended']}")
    finish(was_stopped=result["was_stopped"], is_complete=result["accepted"] >= target)


def run(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to bring to a decision.")] = 1,
    as_json: Json = False,
) -> None:
    """Do the whole job, without the service.

    Generate, freeze, train, evaluate, promote or hold.
    """
    result = run_rounds(rounds, None, as_json)
    finish(was_stopped=result["was_stopped"], is_complete=result["rounds"] >= rounds)


def serve(
    host: Annotated[str | None, typer.Option(help="A loopback address; service.host by default.")] = None,
    port: Annotated[int | None, typer.Option(help="service.port by default; 0 takes a free one.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="End after so many rounds.")] = None,
    as_json: Json = False,
) -> None:
    """Run as a service until stopped.

    Round after round, answering /healthz, /readyz and /v1/status.
    """
    from seedbed.service.running import Serve
    from seedbed.service.workspace import open_workspace

    settings = open_workspace(Here.workspace).config.service
    where = Serve(host or settings.host, settings.port if port is None else port)
    result = run_rounds(rounds, where, as_json)
    finish(was_stopped=result["was_stopped"] and rounds is not None, is_complete=True)


def snapshot(as_json: Json = False) -> None:
    """Freeze what the pool has accepted."""
    from seedbed.service.rounds import freeze_snapshot

    async def job(context: Context, *_: object) -> dict[str, Any]:
        frozen = freeze_snapshot(context, len(context.pool.runs()))
        return frozen.model_dump(mode="json") | {"folder": str(context.workspace.snapshots / frozen.id)}

    if service := running_service():
        from seedbed.service.remote import new_key

        with service:
            frozen = service.freeze(key=new_key())
        folder = f"snapshots/{frozen.id}" if Here.url else str(Here.workspace / "snapshots" / frozen.id)
        result = frozen.model_dump(mode="json") | {"folder": folder}
    else:
        result = work(job, as_json)
    emit(
        as_json,
        result,
        f"{result['train_rows']} training and {result['val_rows']} validation rows in {result['folder']}",
    )


def train(
    round: Annotated[int | None, typer.Option(help="The round; the latest triggered one by default.")] = None,
    as_json: Json = False,
) -> None:
    """Train the adapter of a triggered round.

    Goes on where an earlier attempt was cut off.
    """
    from seedbed.service.by_hand import train_round

    if service := running_service():
        from seedbed.core.errors import InputError
        from seedbed.service.remote import new_key

        if round is not None:
            raise InputError("--round is for a workspace that no service holds: a service trains what is accepted now")
        with service:
            started = service.start_training(key=new_key())
        text = f"the service trains round {started.round} on {started.threshold} accepted rows"
        emit(as_json, started.model_dump(mode="json"), text)
        return
    result = work(lambda context, stop, live: train_round(context, stop, live, round), as_json)
    emit(as_json, result, f"adapter {result['adapter'] or '(stopped before it was whole)'}")
    finish(was_stopped=not result["adapter"], is_complete=bool(result["adapter"]))


def evaluate(
    adapter: Annotated[str, typer.Argument(help="An adapter; the latest by default.")] = "",
    as_json: Json = False,
) -> None:
    """Evaluate an adapter on held-out tasks."""
    if service := running_service():
        with service:
            _evaluate_remotely(service, adapter, as_json)
        return
    from seedbed.service.by_hand import evaluate_adapter

    result = work(lambda context, stop, live: evaluate_adapter(context, stop, live, adapter), as_json)
    emit(as_json, result, f"{result.get('decision', 'stopped')}: {result.get('reason', '')}")
    finish(was_stopped="decision" not in result, is_complete="decision" in result)


def promote(
    adapter: Annotated[str, typer.Argument(help="An adapter, such as round-0000.")],
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    as_json: Json = False,
) -> None:
    """Put an adapter into service by hand.

    Whatever its evaluation said.
    """
    from seedbed.service.by_hand import promote_by_hand

    if service := running_service():
        from seedbed.service.remote import new_key

        with service:
            result = service.promote(adapter, note, key=new_key()).done
    else:
        result = work(lambda context, *_: promote_by_hand(context, adapter, note), as_json)
    emit(as_json, result, f"{result['adapter']} is in service ({result['published']}); {result['said']}")


def rollback(
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    as_json: Json = False,
) -> None:
    """Take the adapter in service out.

    The one promoted before it takes its place.
    """
    from seedbed.service.by_hand import roll_back_by_hand

    if service := running_service():
        from seedbed.service.remote import new_key

        with service:
            result = service.roll_back(note, key=new_key()).done
    else:
        result = work(lambda context, *_: roll_back_by_hand(context, note), as_json)
    emit(as_json, result, f"in service now: {result['adapter'] or 'the base alone'}; {result['said']}")


def _evaluate_remotely(service: Client, adapter: str, as_json: bool) -> None:
    """Ask a service for an evaluation; it is done when what runs has drained, so this does not wait for it."""
    from seedbed.core.errors import InputError
    from seedbed.service.remote import new_key

    known = [one.id for one in service.adapters()]
    if not known:
        raise InputError("no adapter has been trained yet; `seedbed train` has the service train one")
    found = service.evaluate(adapter or known[-1], key=new_key())
    text = f"the service evaluates {found.adapter_id} when what runs has drained; then the report stands in reports/"
    if found.report is not None:
        text = f"{found.report.decision}: {found.report.reason}"
    emit(as_json, found.model_dump(mode="json"), text)


def running_service() -> Client | None:
    """Return a client of the service that holds the workspace, or that `--url` names; None where none runs."""
    from seedbed.service.remote import service_of

    return service_of(Here.workspace, Here.url)


def work(job: Any, is_quiet: bool) -> dict[str, Any]:
    """Run a job on the workspace."""
    from seedbed.service.console import Console
    from seedbed.service.running import run_job
    from seedbed.service.workspace import open_workspace

    result: dict[str, Any] = run_job(open_workspace(Here.workspace), Console(is_quiet=is_quiet), job)
    return result


def run_rounds(rounds: int | None, where: Serve | None, as_json: bool) -> dict[str, Any]:
    """Run the lifecycle, and print its last screen or its result."""
    from seedbed.service.console import Console
    from seedbed.service.control import may_run
    from seedbed.service.rounds import Rounds
    from seedbed.service.running import run_job
    from seedbed.service.status import read_status
    from seedbed.service.summary import print_summary
    from seedbed.service.workspace import open_workspace

    workspace = open_workspace(Here.workspace)
    console = Console(is_quiet=as_json)

    async def job(context: Context, stop: Stop, live: Live) -> dict[str, Any]:
        if where is None:
            may_run(context.pool, rounds or 1)
        done = await Rounds(context, stop, live).run(rounds)
        if not as_json:
            print_summary(context, console.out)
        status = read_status(context.workspace, context.pool)
        return {"rounds": done, "was_stopped": stop.is_wanted, "status": status.model_dump(mode="json")}

    result: dict[str, Any] = run_job(workspace, console, job, where, stands_by=True)
    emit(as_json, result, "")
    return result


def generation_result(context: Context, outcome: Any, *, was_stopped: bool) -> dict[str, Any]:
    """Sum a generation up."""
    result = {"accepted": context.pool.accepted_count(), "was_stopped": was_stopped, "ended": "nothing was left to do"}
    if outcome is not None:
        counters = outcome.counters
        result |= {
            "ended": f"{outcome.ended.value}{': ' + outcome.message if outcome.message else ''}",
            "requests": counters.requests,
            "candidates": counters.candidates,
            "newly_accepted": counters.accepted,
            "refused": dict(counters.refused),
            "prompt_tokens": counters.prompt_tokens,
            "completion_tokens": counters.completion_tokens,
            "unfinished_requests": outcome.unfinished,
        }
    return result


def finish(*, was_stopped: bool, is_complete: bool) -> None:
    """Choose the exit code: 0 done, 130 interrupted, 1 ended early for another reason (the budget)."""
    if not is_complete:
        raise typer.Exit(INTERRUPTED if was_stopped else 1)
