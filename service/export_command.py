"""`seedbed export`: its options checked before anything is opened, and where the rows go."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.core.errors import ConfigError, InputError
from seedbed.pool.pool import Pool
from seedbed.service.export import Format
from seedbed.service.exporting import (
    LATEST,
    PARTS,
    Exported,
    export_data_set,
    export_to_file,
    export_to_stream,
    source_of,
)
from seedbed.service.readers import Reader
from seedbed.service.workspace import Workspace

STREAM = Path("-")


@dataclass(frozen=True, slots=True)
class WantedExport:
    """What the options say."""

    out: Path
    form: Format
    snapshot: str
    """Empty: the pool."""
    split: str
    """Empty: all."""
    readers: tuple[Reader, ...]

    @property
    def is_stream(self) -> bool:
        return self.out == STREAM


def wanted_export(out: Path, form: str, snapshot: str, split: str, readers: Sequence[str]) -> WantedExport:
    """Read the options.

    Raises:
        ConfigError: One of them, or their combination, makes no sense.
    """
    known: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "format": ([form], tuple(Format)),
        "split": ([split] if split else [], tuple(PARTS)),
        "reader": (readers, tuple(Reader)),
    }
    for kind, (given, choices) in known.items():
        for one in given:
            if one not in choices:
                raise ConfigError(f'there is no {kind} "{one}"; known: {", ".join(choices)}')
    wanted = WantedExport(out, Format(form), snapshot, split, tuple(map(Reader, readers)))
    if split and not snapshot:
        raise ConfigError("--split divides a snapshot; name one with --snapshot, or --snapshot latest")
    if wanted.form is Format.HF and (wanted.is_stream or split or readers):
        raise ConfigError("--format hf is a folder with both splits; leave out -, --split and --for")
    if wanted.is_stream and readers:
        raise ConfigError("--for writes a file beside the export; standard output has no beside")
    return wanted


def run_export(workspace: Workspace, pool: Pool, wanted: WantedExport) -> Exported:
    """Write the rows where they are wanted.

    Raises:
        InputError: The target exists, or the reader that follows a pipe has gone.
        MissingFileError: There is no such snapshot.
    """
    if wanted.form is Format.HF:
        return export_data_set(workspace, source_of(workspace, pool, wanted.snapshot or LATEST), wanted.out)
    source = source_of(workspace, pool, wanted.snapshot)
    if not wanted.is_stream:
        return export_to_file(source, wanted.form, wanted.out, wanted.split, wanted.readers)
    try:
        exported = export_to_stream(source, wanted.form, sys.stdout.buffer, wanted.split)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        raise InputError("standard output was closed before all rows were written") from None
    return exported
