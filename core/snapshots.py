"""Reading a frozen snapshot, for the rooms that may not know the pool."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from seedbed.core.errors import InputError, MissingFileError, SnapshotError
from seedbed.core.files import read_json, sha256_of
from seedbed.core.records import Example, Snapshot

MANIFEST = "manifest.json"


def read_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot's manifest and check that its files are the ones it names.

    Raises:
        MissingFileError: There is no manifest, so the snapshot was never finished.
        SnapshotError: The manifest cannot be read, or a file was changed after the freeze.
    """
    if not (folder / MANIFEST).exists():
        raise MissingFileError(f"{folder} is no finished snapshot: it has no {MANIFEST}")
    try:
        snapshot = Snapshot.model_validate(read_json(folder / MANIFEST))
    except ValidationError as error:
        raise SnapshotError(f"{folder / MANIFEST} is not a snapshot's manifest: {error}") from error
    for name, expected in snapshot.files.items():
        if sha256_of(folder / name) != expected:
            raise SnapshotError(f"{folder / name} was changed after the snapshot was frozen; freeze a new one")
    return snapshot


def frozen_snapshots(folder: Path) -> list[Snapshot]:
    """Return the finished snapshots under a folder, oldest first, without a look at their rows.

    What is no snapshot, or not under its own name (one that is being written, or removed), is left out.
    """
    found = []
    for path in folder.glob(f"*/{MANIFEST}"):
        try:
            snapshot = Snapshot.model_validate(read_json(path))
        except (InputError, ValidationError):
            continue
        if snapshot.id == path.parent.name:
            found.append(snapshot)
    return sorted(found, key=lambda one: (one.created_at, one.id))


def read_examples(folder: Path, part: Literal["train", "val"]) -> list[Example]:
    """Read one part of a snapshot, in its order."""
    return list(stream_examples(folder, part))


def stream_examples(folder: Path, part: Literal["train", "val"]) -> Iterator[Example]:
    """Yield one part of a snapshot, in its order, without holding it."""
    with (folder / f"{part}.jsonl").open("rb") as stream:
        for line in stream:
            yield Example.model_validate_json(line)
