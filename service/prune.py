"""Removing what is old, as `[retention]` says: texts in the pool, then checkpoints, then snapshots.

Killed anywhere it leaves a pool in order: texts go in transactions, and a folder is renamed before it is removed.
"""

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seedbed.core.errors import SeedbedError
from seedbed.core.files import sync_folder
from seedbed.core.records import Adapter, Promotion, RunState, TrainingRun
from seedbed.core.retention import RetentionConfig
from seedbed.core.snapshots import frozen_snapshots
from seedbed.pool.retention import Text
from seedbed.pool.translate import translated
from seedbed.service.context import Context
from seedbed.service.disk import CHECKPOINTS, in_bytes, size_of
from seedbed.service.exchanged import PrunedShown, RemovedShown
from seedbed.service.stopping import Stop
from seedbed.service.training import adapter_folder

DAY_S = 86_400.0
DOOMED = ".pruned-"
NOTED = "pruned_at"


@dataclass(slots=True)
class Removed:
    """What was removed of one kind."""

    items: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Pruned:
    """What a prune removed, or would remove."""

    is_dry: bool
    kinds: dict[str, Removed] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    """Relative to the workspace."""
    was_stopped: bool = False

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.kinds.values())


def prune_daily(context: Context, stop: Stop, now: Callable[[], float] = time.time) -> Pruned | None:
    """Prune where that was not done for a day; None where it was. What goes wrong is told, and stops nothing."""
    noted = context.pool.noted(NOTED)
    if noted is not None and now() - float(noted) < DAY_S:
        return None
    try:
        return prune_now(context, stop, now)
    except SeedbedError as error:
        context.events.emit("prune.failed", error=str(error))
        return None


def prune_now(context: Context, stop: Stop, now: Callable[[], float] = time.time) -> Pruned:
    """Prune, and note when."""
    done = prune(context, is_dry=False, stop=stop, now=now)
    if not done.was_stopped:
        context.pool.note(NOTED, str(now()))
    kinds = {kind: float(one.bytes) for kind, one in done.kinds.items()}
    context.events.emit("pool.pruned", bytes_freed=done.bytes, bytes_by_kind=kinds, folders=done.folders)
    return done


def prune(context: Context, *, is_dry: bool, stop: Stop, now: Callable[[], float] = time.time) -> Pruned:
    """Remove what is old, or only find it.

    Raises:
        PoolError: The database or the disk failed; what was removed before stays removed, and the next prune goes on.
    """
    config, done = context.workspace.config.retention, Pruned(is_dry)
    with translated(context.workspace.folder):
        if not is_dry:
            _sweep(context)
        for kind, days in _days(config).items():
            _prune_texts(context, kind, days, done, stop, now)
        _remove(context, "checkpoints", _old_checkpoints(context), done)
        _remove(context, "snapshots", _old_snapshots(context), done)
    return done


def _days(config: RetentionConfig) -> dict[Text, float]:
    return {
        Text.REFUSED_ROWS: config.refused_text_days,
        Text.REFUSED_PROPOSALS: config.refused_text_days,
        Text.UNREADABLE: config.refused_text_days,
        Text.COMPLETIONS: config.completion_days,
        Text.PROMPTS: config.prompt_days,
    }


def _prune_texts(context: Context, kind: Text, days: float, done: Pruned, stop: Stop, now: Callable[[], float]) -> None:
    removed = done.kinds.setdefault(kind.value, Removed())
    if not days:
        return
    for page in context.pool.old_texts(kind, now() - days * DAY_S):
        if stop.is_wanted:
            done.was_stopped = True
            return
        numbers = [one.number for one in page]
        removed.items += len(numbers) if done.is_dry else context.pool.blank(kind, numbers)
        removed.bytes += sum(one.bytes for one in page)


def _old_checkpoints(context: Context) -> list[Path]:
    """Return the checkpoints of trainings that will not go on, but for the newest so many trainings."""
    runs, trained = context.pool.runs(), {adapter.round for adapter in context.pool.adapters()}
    latest = max(trained, default=-1)
    found: list[list[Path]] = []
    for run in sorted(runs, key=lambda run: -run.round):
        folder = adapter_folder(context, run)
        is_over = run.round in trained or run.state is RunState.CANCELLED or run.round < latest
        if is_over and (paths := [folder / name for name in CHECKPOINTS if (folder / name).is_dir()]):
            found.append(paths)
    return [path for paths in found[context.workspace.config.retention.checkpoints :] for path in paths]


def _old_snapshots(context: Context) -> list[Path]:
    """Return the snapshots that nothing needs, but for the newest so many of all."""
    newest_first = frozen_snapshots(context.workspace.snapshots)[::-1]
    kept = needed_snapshots(context.pool.runs(), context.pool.adapters())
    kept |= {one.id for one in newest_first[: context.workspace.config.retention.snapshots]}
    return [context.workspace.snapshots / one.id for one in newest_first if one.id not in kept]


def needed_snapshots(runs: Sequence[TrainingRun], adapters: Collection[Adapter]) -> set[str]:
    """Return the snapshots of promoted and undecided adapters, and of rounds that may still make one."""
    is_left = {Promotion.HELD, Promotion.ROLLED_BACK}
    latest = max((adapter.round for adapter in adapters), default=-1)
    needed = {adapter.snapshot_id for adapter in adapters if adapter.promotion not in is_left}
    return needed | {run.snapshot_id for run in runs if run.round > latest and run.state is not RunState.CANCELLED}


def _remove(context: Context, kind: str, folders: Sequence[Path], done: Pruned) -> None:
    removed = done.kinds.setdefault(kind, Removed())
    for folder in folders:
        if done.was_stopped:
            return
        removed.items, removed.bytes = removed.items + 1, removed.bytes + size_of(folder)
        done.folders.append(str(folder.relative_to(context.workspace.folder)))
        if not done.is_dry:
            remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Take a folder out of sight at once, then remove it; after a kill `_sweep` ends that."""
    doomed = folder.with_name(f"{DOOMED}{folder.name}")
    folder.rename(doomed)
    sync_folder(folder.parent)
    shutil.rmtree(doomed)


def _sweep(context: Context) -> None:
    for left in _left_over(context):
        shutil.rmtree(left)


def _left_over(context: Context) -> Iterator[Path]:
    yield from context.workspace.snapshots.glob(f"{DOOMED}*")
    yield from context.workspace.adapters.glob(f"*/{DOOMED}*")


def prune_record(done: Pruned) -> PrunedShown:
    """Give a prune the shape it has over HTTP and with `--json`."""
    kinds = {kind: RemovedShown(items=one.items, bytes=one.bytes) for kind, one in done.kinds.items()}
    return PrunedShown(
        dry_run=done.is_dry,
        bytes=done.bytes,
        kinds=kinds,
        folders=tuple(done.folders),
        was_stopped=done.was_stopped,
    )


def print_pruned(done: PrunedShown) -> str:
    """Say it for people."""
    verb = "would be removed" if done.dry_run else "removed"
    lines = [
        f"{kind.replace('_', ' ')}: {one.items} {verb}, {in_bytes(one.bytes)}"
        for kind, one in done.kinds.items()
        if one.items
    ]
    lines += [f"  {folder}" for folder in done.folders]
    return "\n".join([*lines, f"{in_bytes(done.bytes)} in all {verb}" if lines else "nothing is old enough"])
