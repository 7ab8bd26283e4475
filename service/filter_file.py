"""`seedbed filter FILE --out DIR`: the cascade on anyone's rows, without a workspace, a model or a network."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

from seedbed.core.batches import batched
from seedbed.core.errors import InputError, WorkspaceHeldError
from seedbed.core.files import locked, write_json
from seedbed.core.filter_config import FiltersConfig
from seedbed.core.records import Candidate, Verdict
from seedbed.filters.cascade import Cascade, build_cascade
from seedbed.service.filtered_rows import FilteredRows, Mark, accepted_line, refused_line, unreadable_line
from seedbed.service.row_shapes import KNOWN_SHAPES, ShapeError, candidate_of, has_known_shape
from seedbed.service.rows import BadRow, Row, RowFile

BATCH_ROWS = 256
CHECKPOINT_SECONDS = 5.0
FUNNEL = "funnel.json"
UNREADABLE = "read.unreadable"


@dataclass(frozen=True, slots=True)
class FilterFileSettings:
    """What to filter, with what, to where."""

    file: Path
    out: Path
    """A new folder, or one that an interrupted run of the same file and settings left."""
    filters: FiltersConfig = field(default_factory=FiltersConfig)
    only: tuple[str, ...] = ()
    """Names of the filters to use; empty: all that need no workspace."""
    references: tuple[Path, ...] = ()
    """Files and folders of benchmarks to keep out."""
    reference_fields: tuple[str, ...] = ()
    """Fields of the references to compare with; empty: all string fields."""
    digests: bool = True
    """Compare with the benchmarks' digests that come with Seedbed."""
    against: Callable[[], Iterator[Candidate]] | None = None
    """Rows that are in already, such as a pool's accepted ones."""
    against_name: str = ""
    """Says which those are, so that an interrupted run is not continued against others."""
    task_field: str = "task_id"
    """The field that rows of one task share: they are compared with each other by input, not by instruction."""


@dataclass(slots=True)
class FilterCount:
    """What one filter did."""

    checked: int = 0
    refused: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Funnel:
    """What became of the rows, over all parts of an interrupted run."""

    rows: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Refused rows by filter and reason: `rouge.near_duplicate`; unreadable ones as `read.unreadable`."""
    filters: dict[str, FilterCount] = field(default_factory=dict)
    """In the order of checking."""
    seconds: float = 0.0
    """Wall time."""
    damage: str = ""
    """Why the input could not be read to its end; empty where it could."""

    @property
    def refused_rows(self) -> int:
        return self.refused.total()


@dataclass(frozen=True, slots=True)
class FilterProgress:
    """How far a run is."""

    phase: Literal["loading", "filtering", "done"]
    """`loading`: rows that are in already are put into the indexes."""
    funnel: Funnel
    """Live: read it, do not keep it."""
    share: float
    """Of the input file, 0 to 1."""
    rows_per_s: float
    """In this process."""


class Progress(Protocol):
    """Is told after every batch."""

    def __call__(self, progress: FilterProgress) -> None: ...


def filter_file(
    settings: FilterFileSettings, progress: Progress | None = None, now: Callable[[], float] = time.monotonic
) -> Funnel:
    """Write the rows of a file to `accepted.jsonl` and `refused.jsonl`, each with its verdict.

    Interrupted anywhere (Ctrl-C, `kill -9`), the folder can be given again with the same file and settings: the run
    goes on after the last checkpoint, and the result is the same as without the interruption.

    Raises:
        InputError: The file has no rows we can read, or the folder is not one to continue.
        MissingFileError: The file or a reference is not there.
        ConfigError: A filter's name or setting is wrong.
        WorkspaceHeldError: Another process works in the folder.
        FilterError: A filter broke.
    """
    source = RowFile(settings.file)
    _check_shape(source)
    identity = _identity(settings)
    _check_out(settings.out, identity)
    cascade = _build(settings)
    with _held(settings.out, identity), FilteredRows(settings.out) as rows:
        run = _Run(settings, source, cascade, rows, progress, now)
        run.load()
        run.filter()
        run.finish()
    return run.funnel


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        settings: FilterFileSettings,
        source: RowFile,
        cascade: Cascade,
        rows: FilteredRows,
        progress: Progress | None,
        now: Callable[[], float],
    ) -> None:
        self._settings, self._source, self._cascade, self._rows = settings, source, cascade, rows
        self._progress, self._now = progress, now
        self._started = now()
        self.funnel = _funnel_of(rows.mark.counts)
        self._before = replace(self.funnel, filters={k: replace(v) for k, v in self.funnel.filters.items()})

    def load(self) -> None:
        """Put what is in already into the indexes."""
        self._tell("loading")
        known = self._settings.against() if self._settings.against else iter(())
        own = (candidate_of(value, line, self._settings.task_field) for line, value in self._rows.accepted_before())
        self._cascade.load((), chain(known, own))

    def filter(self) -> None:
        """Filter the rest of the file; whatever ends this, what was decided so far is checkpointed."""
        rows = self._source.rows(self._rows.mark.after)
        saved = self._now()
        try:
            for batch in batched(rows, BATCH_ROWS):
                self._filter_batch(batch)
                if self._now() - saved >= CHECKPOINT_SECONDS:
                    self._rows.save()
                    saved = self._now()
                self._tell("filtering")
        finally:
            self._rows.save()

    def finish(self) -> None:
        """Write the funnel: with it, the folder is whole."""
        write_json(self._settings.out / FUNNEL, funnel_record(self.funnel))
        self._rows.forget()
        self._tell("done")

    def _filter_batch(self, batch: Sequence[Row | BadRow]) -> None:
        candidates = [self._candidate(row) for row in batch]
        verdicts = iter(self._cascade.decide([one for one in candidates if isinstance(one, Candidate)]))
        self._cascade.confirm()
        lines = []
        for row, candidate in zip(batch, candidates, strict=True):
            if isinstance(row, Row) and isinstance(candidate, Candidate):
                lines.append(self._decided(row, next(verdicts)))
            else:
                assert isinstance(candidate, BadRow)
                lines.append((False, unreadable_line(row, candidate.problem)))
                self._count(UNREADABLE)
                self.funnel.damage = candidate.problem if candidate.is_end else self.funnel.damage
        self._update_filters()
        self._rows.write(lines, Mark(after=batch[-1].number, counts=funnel_record(self.funnel)))

    def _candidate(self, row: Row | BadRow) -> Candidate | BadRow:
        if isinstance(row, BadRow):
            return row
        try:
            return candidate_of(row.value, row.number, self._settings.task_field)
        except ShapeError as error:
            return BadRow(row.number, "", str(error))

    def _decided(self, row: Row, verdicts: tuple[Verdict, ...]) -> tuple[bool, bytes]:
        last = verdicts[-1] if verdicts else None
        if last is None or last.accepted:
            self._count("")
            return True, accepted_line(row, verdicts)
        self._count(f"{last.filter}.{last.reason}")
        return False, refused_line(row, last)

    def _count(self, reason: str) -> None:
        self.funnel.rows += 1
        if reason:
            self.funnel.refused[reason] += 1
        else:
            self.funnel.accepted += 1

    def _update_filters(self) -> None:
        for name, tally in self._cascade.tallies.items():
            before = self._before.filters.get(name, FilterCount())
            self.funnel.filters[name] = FilterCount(
                before.checked + tally.checked, before.refused + tally.refused, before.seconds + tally.seconds
            )
        self.funnel.seconds = self._before.seconds + self._now() - self._started

    def _tell(self, phase: Literal["loading", "filtering", "done"]) -> None:
        if self._progress is None:
            return
        elapsed = self._now() - self._started
        share = 1.0 if phase == "done" else self._source.share
        speed = (self.funnel.rows - self._before.rows) / elapsed if elapsed > 0 else 0.0
        self._progress(FilterProgress(phase, self.funnel, share, speed))


def funnel_record(funnel: Funnel) -> dict[str, Any]:
    """Give the funnel the shape it has in `funnel.json` and for `--json`: plain numbers, most frequent reason first."""
    return {**asdict(funnel), "refused": dict(funnel.refused.most_common())}


def _funnel_of(record: dict[str, Any]) -> Funnel:
    if not record:
        return Funnel()
    filters = {name: FilterCount(**count) for name, count in record["filters"].items()}
    return Funnel(**{**record, "refused": Counter(record["refused"]), "filters": filters})


def _build(settings: FilterFileSettings) -> Cascade:
    contamination = settings.filters.contamination.model_copy(
        update={"digests": settings.filters.contamination.digests and settings.digests, "references": ()}
    )
    return build_cascade(
        settings.filters.model_copy(update={"contamination": contamination}),
        references=settings.references,
        reference_fields=settings.reference_fields,
        only=settings.only,
    )


def _check_shape(source: RowFile) -> None:
    """Refuse a file none of whose first rows has a known shape: every row would be refused, for one mistake."""
    if source.kind == "parquet":
        shapes: list[Sequence[str]] = [source.columns]
    else:
        shapes = [tuple(row.value) for row in islice(source.rows(), 100) if isinstance(row, Row)]
    if shapes and not any(has_known_shape(keys) for keys in shapes):
        what = "columns" if source.kind == "parquet" else "keys"
        found = ", ".join(map(str, shapes[0])) or "none"
        raise InputError(f"{source.path} has no rows of {KNOWN_SHAPES}; its {what} are {found}. Rename them")


def _identity(settings: FilterFileSettings) -> dict[str, Any]:
    """Say what a run is, so that only the same one is continued."""
    return {
        "input": str(settings.file.resolve()),
        "input_bytes": settings.file.stat().st_size,
        "input_sample_sha256": _sample_hash(settings.file),
        "only": sorted(settings.only),
        "references": [f"{path.resolve()} {_size(path)}" for path in settings.references],
        "reference_fields": sorted(settings.reference_fields),
        "digests": settings.digests,
        "against": settings.against_name,
        "task_field": settings.task_field,
        "filters": hashlib.sha256(settings.filters.model_dump_json().encode()).hexdigest(),
    }


def _sample_hash(path: Path, sample_bytes: int = 2**20) -> str:
    """Hash the first and the last mebibyte, which with the size tell files apart without reading them twice."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(sample_bytes))
        file.seek(max(0, path.stat().st_size - sample_bytes))
        digest.update(file.read())
    return digest.hexdigest()


def _size(path: Path) -> int:
    if not path.exists():
        raise InputError(f"there is no reference {path}")
    return sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size


def _check_out(out: Path, identity: dict[str, Any]) -> None:
    """Refuse a folder that is there and is not an interrupted run of this."""
    if not out.exists():
        return
    if (out / FUNNEL).exists():
        raise InputError(f"{out} holds a finished run; name a new folder, or remove it")
    left = FilteredRows.identity_of(out)
    if left is None:
        raise InputError(f"{out} exists and is no interrupted run of `seedbed filter`; name a new folder")
    other = [key for key in identity if left.get(key) != identity[key]]
    if other:
        raise InputError(
            f"{out} holds an interrupted run of something else ({', '.join(other)} differ); name a new folder"
        )


@contextmanager
def _held(out: Path, identity: dict[str, Any]) -> Iterator[None]:
    """Make the folder where it is not there, and hold it for the run."""
    if not out.exists():
        FilteredRows.create(out, identity)
    holder = json.dumps({"pid": os.getpid()})
    lock = locked(out / ".lock", holder)
    try:
        lock.__enter__()
    except BlockingIOError as error:
        raise WorkspaceHeldError(f"{out} is being written by another process ({error}); wait for it") from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)
