"""The two files that `seedbed filter` writes, and the mark from which an interrupted run goes on."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from seedbed.core.errors import InputError
from seedbed.core.files import read_json, sync_folder, write_json
from seedbed.core.records import Verdict
from seedbed.service.rows import BadRow, Row, parse_row

ACCEPTED, REFUSED, MARK = "accepted.jsonl", "refused.jsonl", "progress.json"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a run is."""

    after: int = 0
    """The number of the last row that was decided and written."""
    counts: dict[str, Any] = field(default_factory=dict)
    """The funnel up to there."""


class FilteredRows:
    """Appends decided rows; what stands after the last mark when a run is opened again is cut off.

    A mark is written after its rows are on disk, so it never counts one that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        record = read_json(folder / MARK)
        self._identity = record["identity"]
        self._sizes = {name: int(record["bytes"][name]) for name in (ACCEPTED, REFUSED)}
        self._streams = {name: (folder / name).open("r+b") for name in (ACCEPTED, REFUSED)}
        for name, stream in self._streams.items():
            self._cut(name, stream.seek(0, os.SEEK_END))
            stream.truncate(self._sizes[name])
            stream.seek(self._sizes[name])
        self.mark = Mark(record["after"], record["counts"])

    @classmethod
    def create(cls, folder: Path, identity: dict[str, Any]) -> None:
        """Make the folder of a new run, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            draft.chmod(0o755)
            (draft / ACCEPTED).touch()
            (draft / REFUSED).touch()
            write_json(draft / MARK, _record(identity, {ACCEPTED: 0, REFUSED: 0}, Mark()))
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync_folder(folder.parent)

    @staticmethod
    def identity_of(folder: Path) -> dict[str, Any] | None:
        """Return what run the folder was made for, None where it was made for none."""
        if not folder.is_dir() or not (folder / MARK).exists():
            return None
        identity = read_json(folder / MARK).get("identity")
        return identity if isinstance(identity, dict) else None

    def accepted_before(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the rows accepted before this process, with their numbers in the input."""
        with (self._folder / ACCEPTED).open("rb") as stream:
            remaining = self._sizes[ACCEPTED]
            while remaining > 0 and (line := stream.readline()):
                remaining -= len(line)
                row = parse_row(0, line)
                if not isinstance(row, Row) or not isinstance(row.value.get("verdict"), dict):
                    raise InputError(f"{self._folder / ACCEPTED} was changed since it was written; name a new folder")
                yield int(row.value["verdict"]["line"]), row.value

    def write(self, lines: Sequence[tuple[bool, bytes]], mark: Mark) -> None:
        """Append lines to the accepted (True) or refused (False), which brings the run to `mark`."""
        sizes = dict(self._sizes)
        for name, wanted in ((ACCEPTED, True), (REFUSED, False)):
            text = b"".join(line for is_accepted, line in lines if is_accepted is wanted)
            self._streams[name].write(text)
            sizes[name] += len(text)
        self._sizes, self.mark = sizes, mark

    def save(self) -> None:
        """Make everything up to the mark durable, then the mark itself."""
        for stream in self._streams.values():
            stream.flush()
            os.fsync(stream.fileno())
        write_json(self._folder / MARK, _record(self._identity, self._sizes, self.mark))

    def forget(self) -> None:
        """Remove the mark and the lock of a finished run."""
        (self._folder / MARK).unlink(missing_ok=True)
        (self._folder / ".lock").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams.values():
            stream.close()

    def _cut(self, name: str, size: int) -> None:
        if size < self._sizes[name]:
            raise InputError(f"{self._folder / name} is shorter than it was; name a new folder")


def accepted_line(row: Row, verdicts: Sequence[Verdict]) -> bytes:
    """Write a row with the verdict that came nearest to refusing it."""
    if not verdicts:
        return _line(row, Verdict(filter="", accepted=True))
    return _line(row, max(reversed(verdicts), key=_closeness))


def refused_line(row: Row, verdict: Verdict) -> bytes:
    """Write a row with the verdict that refused it."""
    return _line(row, verdict)


def unreadable_line(row: Row | BadRow, problem: str) -> bytes:
    """Write a row that could not be read: as it stands where it is an object, else its text."""
    verdict = Verdict(filter="read", accepted=False, reason="unreadable", evidence=(problem,))
    if isinstance(row, Row):
        return _line(row, verdict)
    return _dumped({"line": row.number, "text": row.text, "verdict": _verdict_record(verdict, row.number)}) + b"\n"


def _closeness(verdict: Verdict) -> float:
    """Tell how near an accepting verdict came to refusing: 1 is at the threshold, 0 where nothing was measured."""
    score, threshold = verdict.score, verdict.threshold
    if not score or not threshold:
        return 0.0
    return score / threshold if score <= threshold else threshold / score


def _line(row: Row, verdict: Verdict) -> bytes:
    """Put the verdict into a row, which otherwise stays as it is, to the byte where it came as JSON."""
    record = _verdict_record(verdict, row.number)
    if row.raw is not None and "verdict" not in row.value and row.value:
        return row.raw[:-1].rstrip() + b', "verdict": ' + _dumped(record) + b"}\n"
    value = {("verdict_input" if key == "verdict" else key): field for key, field in row.value.items()}
    return _dumped({**value, "verdict": record}) + b"\n"


def _verdict_record(verdict: Verdict, number: int) -> dict[str, Any]:
    return {**verdict.__dict__, "line": number}


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_plain)
    except (TypeError, ValueError):
        # Lone surrogates and integers past 64 bits; both are escaped or written out by the slower writer.
        return json.dumps(value, default=_plain).encode("ascii")


def _plain(value: Any) -> Any:
    """Turn what Parquet holds and JSON does not (bytes, decimals, times) into text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _record(identity: dict[str, Any], sizes: dict[str, int], mark: Mark) -> dict[str, Any]:
    return {"identity": identity, "after": mark.after, "bytes": sizes, "counts": mark.counts}
