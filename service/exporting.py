"""An export as the command line asks for it: which rows, in which form, to where, and for whose reader."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from seedbed.core.batches import batched
from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.files import write_atomic
from seedbed.core.records import Candidate, Snapshot
from seedbed.core.snapshots import frozen_snapshots, read_snapshot, stream_examples
from seedbed.pool.pool import Pool
from seedbed.service.card import card_text
from seedbed.service.export import TRAIN, VALIDATION, Format, export, export_folder, write_rows
from seedbed.service.readers import Reader, reader_config
from seedbed.service.workspace import Workspace

LATEST = "latest"
PAGE_ROWS = 1000
PARTS: dict[str, Literal["train", "val"]] = {TRAIN: "train", VALIDATION: "val"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: the pool as it stands, or a snapshot."""

    pool: Pool
    folder: Path | None = None
    """The snapshot's; None: the pool."""
    snapshot: Snapshot | None = None

    def rows(self, split: str = "") -> Iterator[Candidate]:
        """Yield accepted rows, of one split or of all; what was refused after the freeze is left out."""
        if self.folder is None:
            yield from self.pool.accepted()
            return
        for part in [PARTS[split]] if split else PARTS.values():
            for page in batched(stream_examples(self.folder, part), PAGE_ROWS):
                accepted = self.pool.accepted_of([example.id for example in page])
                yield from (accepted[example.id] for example in page if example.id in accepted)

    def frozen_rows(self, split: str = "") -> int | None:
        """Return how many rows the snapshot has, None for the pool."""
        if self.snapshot is None:
            return None
        sizes = {TRAIN: self.snapshot.train_rows, VALIDATION: self.snapshot.val_rows}
        return sizes[split] if split else sum(sizes.values())


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to."""

    rows: int
    refused_since: int
    """Rows of the snapshot that were refused after the freeze, and so left out."""
    files: tuple[Path, ...]


def source_of(workspace: Workspace, pool: Pool, snapshot: str) -> Source:
    """Find what to export: the pool for an empty name, else a snapshot by its id, an id's beginning, or `latest`.

    Raises:
        MissingFileError: There is no such snapshot.
        InputError: Several begin so.
    """
    if not snapshot:
        return Source(pool)
    found = [one.id for one in frozen_snapshots(workspace.snapshots)]
    if snapshot != LATEST:
        found = [identity for identity in found if identity.startswith(snapshot)]
        if len(found) > 1:
            raise InputError(f'{len(found)} snapshots begin with "{snapshot}"; give more of the id')
    if not found:
        which = "no snapshot" if snapshot == LATEST else f'no snapshot "{snapshot}"'
        raise MissingFileError(f"there is {which} in {workspace.snapshots}; `seedbed snapshot` freezes one")
    folder = workspace.snapshots / found[-1]
    return Source(pool, folder, read_snapshot(folder))


def export_to_file(
    source: Source, form: Format, path: Path, split: str = "", readers: Sequence[Reader] = ()
) -> Exported:
    """Write one file, and beside it what the named trainers need to find it."""
    beside = [reader_config(reader, form, path) for reader in readers]
    count = export(source.rows(split), form, path)
    for config in beside:
        write_atomic(config.path, config.text)
    return Exported(count, _missing(source, split, count), (path, *(config.path for config in beside)))


def export_to_stream(source: Source, form: Format, stream: IO[bytes], split: str = "") -> Exported:
    """Write one file's bytes to a stream."""
    count = write_rows(source.rows(split), form, stream)
    return Exported(count, _missing(source, split, count), ())


def export_data_set(workspace: Workspace, source: Source, path: Path) -> Exported:
    """Write a Hugging Face data set folder of a snapshot."""
    assert source.snapshot is not None
    snapshot = source.snapshot
    splits: dict[str, Iterable[Candidate]] = {name: source.rows(name) for name in PARTS}

    def card(counts: dict[str, int]) -> str:
        return card_text(workspace, source.pool, snapshot, counts, path.resolve().name)

    count = export_folder(splits, path, card)
    return Exported(count, _missing(source, "", count), (path,))


def _missing(source: Source, split: str, count: int) -> int:
    frozen = source.frozen_rows(split)
    return 0 if frozen is None else frozen - count
