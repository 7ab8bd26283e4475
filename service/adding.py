"""Putting reference files into a workspace: checked, whole or not at all, never over another of the name."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.core.errors import ConfigError, InputError, MissingFileError
from seedbed.core.files import replacing, sha256_of, write_atomic
from seedbed.filters.references import SUFFIXES, chosen_fields, fields_file, is_reference, read_reference
from seedbed.pool.translate import translated
from seedbed.service.exchanged import ReferenceShown
from seedbed.service.workspace import Workspace

FOLDER = "references"


@dataclass(frozen=True, slots=True)
class AddedReference:
    """A reference file of the workspace."""

    name: str
    """As verdicts call it."""
    file: Path
    items: int
    fields: tuple[str, ...]
    """Where the items stand."""
    was_there: bool
    """The same file had been added before."""


def add_references(workspace: Workspace, files: Sequence[Path], fields: Sequence[str] = ()) -> list[AddedReference]:
    """Copy files into the workspace's `references/`, with the choice of fields beside them. All are checked first.

    Args:
        workspace: The workspace, held for writing.
        files: Files with benchmark items.
        fields: The fields that hold them; empty: the reader's choice.

    Raises:
        MissingFileError: There is no such file.
        InputError: It cannot be read, has no items, or another reference has its name.
        ConfigError: The workspace's settings leave its references out.
        PoolFullError, PoolError: It could not be written.
    """
    _require_used(workspace)
    added = list(_checked(workspace, files, fields))
    for source, one in zip(files, added, strict=True):
        if not one.was_there:
            _copy(source, one.file, tuple(fields) or chosen_fields(source))
    return added


def added_references(workspace: Workspace) -> list[ReferenceShown]:
    """List the files of the workspace's `references/`, by name."""
    folder = workspace.folder / FOLDER
    files = sorted(path for path in folder.glob("*") if path.is_file() and is_reference(path.name))
    return [
        ReferenceShown(
            name=path.name.removesuffix(".gz").rsplit(".", 1)[0],
            file=f"{FOLDER}/{path.name}",
            bytes=path.stat().st_size,
            fields=chosen_fields(path),
        )
        for path in files
    ]


def _require_used(workspace: Workspace) -> None:
    config = workspace.config.filters.contamination
    if not config.enabled:
        raise ConfigError("filters.contamination.enabled is false, so references are not looked at; set it to true")
    folder = (workspace.folder / FOLDER).resolve()
    if folder not in {(workspace.folder / name).resolve() for name in config.references}:
        raise ConfigError(
            f'filters.contamination.references must name "{FOLDER}", where references are added; '
            f"it names {', '.join(config.references) or 'nothing'}"
        )


def _checked(workspace: Workspace, files: Sequence[Path], fields: Sequence[str]) -> Iterator[AddedReference]:
    named: dict[str, Path] = {}
    for source in files:
        _require_readable(source)
        if source.name in named:
            raise InputError(f"{source} and {named[source.name]} have one name; rename one of them")
        named[source.name] = source
        reference = read_reference(source, fields)
        target = workspace.folder / FOLDER / source.name
        was_there = target.exists()
        if was_there:
            _require_same(source, target, tuple(fields) or chosen_fields(source))
        yield AddedReference(reference.name, target, len(reference.items), reference.fields, was_there)


def _require_readable(source: Path) -> None:
    if not source.exists():
        raise MissingFileError(f"there is no file {source}")
    if not source.is_file():
        raise InputError(f"{source} is a folder; name the files in it")
    if not is_reference(source.name):
        raise InputError(
            f"{source} has not the name of a reference: it must end in {', '.join(SUFFIXES)} (or these with .gz), "
            'and not begin with "readme" or "."'
        )


def _require_same(source: Path, target: Path, fields: tuple[str, ...]) -> None:
    if sha256_of(source) != sha256_of(target):
        raise InputError(f"{target} is there and differs from {source}; rename the new one, or remove the old one")
    if chosen_fields(target) != fields:
        there = ", ".join(chosen_fields(target)) or "the reader's choice"
        raise InputError(f"{target} is there with other fields ({there}); remove it and its .fields file first")


def _copy(source: Path, target: Path, fields: tuple[str, ...]) -> None:
    """Copy a file, last, since with it the reference is there."""
    with translated(target):
        if fields:
            write_atomic(fields_file(target), "\n".join(fields) + "\n")
        else:
            fields_file(target).unlink(missing_ok=True)  # left by an addition that was cut off
        with source.open("rb") as stream, replacing(target) as copy:
            shutil.copyfileobj(stream, copy)
