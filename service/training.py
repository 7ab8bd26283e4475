"""The training phase: one snapshot through the trainer process, to an adapter in the pool."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seedbed.core.errors import MissingFileError, TrainingError
from seedbed.core.files import read_json, write_json
from seedbed.core.records import Adapter, RunState, TrainingRun
from seedbed.service.children import run_module
from seedbed.service.context import Context
from seedbed.service.stopping import Stop
from seedbed.service.tainting import overlapping_rows
from seedbed.weights.resolve import cache_folder


def adapter_folder(context: Context, run: TrainingRun) -> Path:
    """Return where a round's trainer writes; versioned by round, since a served name must never be reused."""
    return context.workspace.adapters / adapter_id(run)


def adapter_id(run: TrainingRun) -> str:
    """Return the name of a round's adapter."""
    return f"round-{run.round:04d}"


async def train(context: Context, run: TrainingRun, stop: Stop, now: Callable[[], float] = time.time) -> Adapter | None:
    """Train a round's adapter, or go on where an earlier attempt left off.

    Returns:
        The adapter, or None where a stop came first; the next call resumes from the checkpoint.

    Raises:
        TrainingError: The trainer failed; the message has its exit code and its log's tail.
    """
    out = adapter_folder(context, run)
    if not (out / "manifest.json").exists():
        context.events.emit("training.started", round=run.round, snapshot=run.snapshot_id, adapter=out.name)
        await _attempt(context, run, out, stop)
        if not (out / "manifest.json").exists():
            context.events.emit("training.interrupted", round=run.round)
            return None
    _end_attempts(context, run, RunState.SUCCEEDED)
    # A kill between the two writes leaves the adapter stored and the run unaware of it.
    stored = {adapter.id: adapter for adapter in context.pool.adapters()}
    adapter = stored.get(out.name) or _adapter(context, run, out, now())
    context.pool.add_adapter(adapter)
    done = {"state": RunState.SUCCEEDED, "adapter_id": adapter.id, "last_error": ""}
    context.pool.update_run(run.model_copy(update=done))
    context.events.emit("training.ended", round=run.round, adapter=adapter.id)
    return adapter


async def _attempt(context: Context, run: TrainingRun, out: Path, stop: Stop) -> None:
    """Run the trainer once; an attempt is a row of its own, so that giving up is counted over restarts."""
    limit = context.workspace.config.training.max_attempts
    failures = sum(attempt.state == RunState.FAILED for attempt in context.pool.attempts(run.round))
    if failures >= limit:
        raise TrainingError(
            f"round {run.round} failed {failures} times and is given up (training.max_attempts = {limit}); the last "
            f"error: {run.last_error.strip().splitlines()[-1] if run.last_error else 'unknown'}; mend the cause and "
            "raise training.max_attempts (seedbed.toml)"
        )
    _end_attempts(context, run, RunState.CANCELLED, "the service ended before it")
    attempt = context.pool.add_attempt(run.round)
    log, hung_after_s = training_log(context, run), context.workspace.config.training.hung_after_s
    arguments = _arguments(context, run, out)
    ended = await run_module("seedbed.trainer", arguments, log=log, stop=stop, out=out, hung_after_s=hung_after_s)
    if (out / "manifest.json").exists():
        context.pool.end_attempt(attempt, RunState.SUCCEEDED)
        return
    message = ended.told("the trainer", "training.hung_after_s")
    context.pool.end_attempt(attempt, RunState.CANCELLED if ended.was_stopped else RunState.FAILED, message)
    if not ended.was_stopped:
        context.pool.update_run(run.model_copy(update={"state": RunState.FAILED, "last_error": message}))
        context.events.emit("training.failed", round=run.round, attempt=attempt.number, error=message)
        raise TrainingError(message)


def _end_attempts(context: Context, run: TrainingRun, state: RunState, error: str = "") -> None:
    """Store how attempts ended whose service was killed: a trainer ends with its service (`service/children.py`)."""
    for attempt in context.pool.attempts(run.round):
        if attempt.state == RunState.RUNNING:
            context.pool.end_attempt(attempt, state, error)


def _arguments(context: Context, run: TrainingRun, out: Path) -> list[str]:
    workspace = context.workspace
    out.mkdir(parents=True, exist_ok=True)
    settings = out / "training.json"
    write_json(settings, workspace.config.training.model_dump(mode="json"))
    arguments = [str(workspace.snapshots / run.snapshot_id), str(out), "--student", workspace.config.student]
    arguments += ["--config", str(settings), "--cache", str(cache_folder())]
    arguments += ["--prompts", str(workspace.prompts.resolve())]
    for licence in workspace.config.accept_licence:
        arguments += ["--accept-licence", licence]
    return arguments


def training_log(context: Context, run: TrainingRun) -> Path:
    """Return where a round's trainer says what it does."""
    return context.workspace.logs / f"training-{run.round:04d}.log"


def _adapter(context: Context, run: TrainingRun, out: Path, created_at: float) -> Adapter:
    manifest = read_json(out / "manifest.json")
    return Adapter(
        id=out.name,
        round=run.round,
        snapshot_id=run.snapshot_id,
        base=manifest["base"],
        base_sha256=manifest["base_sha256"],
        path=str((out / "adapter").relative_to(context.workspace.folder)),
        is_tainted=bool(overlapping_rows(context.pool, context.workspace.snapshots / run.snapshot_id)),
        created_at=created_at,
    )


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read a training's metrics; a last line that is still being written is left out.

    Raises:
        MissingFileError: Training has not begun.
    """
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError as error:
        raise MissingFileError(f"{folder} has no metrics yet") from error
    return [json.loads(line) for line in lines if line.endswith("\n")]
