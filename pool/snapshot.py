"""Freezing accepted rows into a folder that never changes: what a training run reads."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed import __version__
from seedbed.core.errors import SnapshotError
from seedbed.core.files import replacing, sha256_of, sync_folder, write_json
from seedbed.core.records import Candidate, Example, Snapshot
from seedbed.core.snapshots import MANIFEST, read_snapshot
from seedbed.core.text import content_id
from seedbed.pool.pool import Pool
from seedbed.pool.translate import translated

Check = Callable[[Sequence[Example]], None]


@dataclass(frozen=True, slots=True)
class _Parts:
    train: list[Example]
    val: list[Example]


def freeze(
    pool: Pool,
    folder: Path,
    *,
    round: int,
    limit: int | None = None,
    held_out: Collection[str] = (),
    validation_share: float = 0.1,
    seed: int = 0,
    config_fingerprint: str = "",
    check: Check = lambda _: None,
    now: Callable[[], float] = time.time,
) -> Snapshot:
    """Write accepted rows to `folder`/ID as `train.jsonl`, `val.jsonl` and, last, `manifest.json`.

    Equal rows with an equal split have an equal id, so freezing them again returns the snapshot that is there. A
    folder without a manifest is what a crash left; it is replaced.

    Args:
        pool: Where the rows are.
        folder: The folder of all snapshots.
        round: The training round it is for.
        limit: The first so many accepted rows; None: all.
        held_out: Categories whose rows are left out.
        validation_share: Share of tasks that go to `val.jsonl`; at least one does where there are two.
        seed: Of the split. A task stays on its side as the pool grows.
        config_fingerprint: Of the settings, for the manifest.
        check: Raises where a row must not be in a snapshot (`LeakError`).
        now: The clock, in seconds since 1970.

    Raises:
        SnapshotError: There is nothing to freeze, or a finished snapshot of this id was changed by hand.
        PoolFullError: The disk is full; the unfinished folder is replaced by the next freeze.
    """
    examples = _examples(pool.accepted(), frozenset(held_out), limit)
    if not examples:
        raise SnapshotError("nothing to freeze: the pool has no accepted row outside the held-out categories")
    check(examples)
    parts = _split(examples, validation_share, seed)
    identity = content_id(["train", *map(_line, parts.train), "val", *map(_line, parts.val)])
    target = folder / identity
    with translated(target):
        if (target / MANIFEST).exists():
            return read_snapshot(target)
        files = _write_parts(target, parts)
        snapshot = Snapshot(
            id=identity,
            round=round,
            train_rows=len(parts.train),
            val_rows=len(parts.val),
            categories=dict(sorted(Counter(example.category for example in examples).items())),
            held_out_categories=tuple(sorted(held_out)),
            config_fingerprint=config_fingerprint,
            files=files,
            created_at=now(),
            seedbed_version=__version__,
        )
        write_json(target / MANIFEST, snapshot.model_dump(mode="json"))
        sync_folder(folder)
    return snapshot


def _examples(accepted: Iterable[Candidate], held_out: frozenset[str], limit: int | None) -> list[Example]:
    examples: list[Example] = []
    for candidate in accepted:
        if limit is not None and len(examples) >= limit:
            break
        category = candidate.category or candidate.requested_category
        if category not in held_out:
            examples.append(
                Example(
                    id=candidate.id,
                    task_id=candidate.task_id,
                    category=category,
                    instruction=candidate.instruction,
                    input=candidate.input,
                    output=candidate.output,
                )
            )
    return examples


def _split(examples: Sequence[Example], validation_share: float, seed: int) -> _Parts:
    """Put whole tasks on one side, by a hash that knows nothing of the other tasks."""
    places = {example.task_id: _place(example.task_id, seed) for example in examples}
    validation = {task for task, place in places.items() if place < validation_share}
    if len(places) > 1 and not validation:
        validation = {min(places, key=lambda task: places[task])}
    if len(validation) == len(places):
        validation.discard(max(places, key=lambda task: places[task]))
    return _Parts(
        [example for example in examples if example.task_id not in validation],
        [example for example in examples if example.task_id in validation],
    )


def _place(task_id: str, seed: int) -> float:
    """Return a number in [0, 1) that looks random."""
    return int(content_id([str(seed), task_id])[:13], 16) / 16**13


def _line(example: Example) -> str:
    return example.model_dump_json()


def _write_parts(target: Path, parts: _Parts) -> dict[str, str]:
    """Write both files and return their SHA-256."""
    shutil.rmtree(target, ignore_errors=True)
    for name, examples in (("train.jsonl", parts.train), ("val.jsonl", parts.val)):
        with replacing(target / name) as stream:
            stream.writelines(_line(example).encode() + b"\n" for example in examples)
    return {name: sha256_of(target / name) for name in ("train.jsonl", "val.jsonl")}
