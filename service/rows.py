"""Reading rows from files of others: JSON lines, a JSON array, Parquet; the first two also in gzip.

What a file is, is told by its first bytes and not by its name. It is read as a stream: memory is bounded by the
largest row. A row that cannot be read becomes a `BadRow` and the next one is read.
"""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from seedbed.core.errors import InputError, MissingFileError

MAX_ROW_BYTES = 64 * 2**20
"""A longer line or array element is unreadable."""
_KEPT_TEXT = 1_000_000
"""Characters of an unreadable row that are kept with it."""
_CHUNK_BYTES = 2**20
_PARQUET_ROWS = 1024

Kind = Literal["json lines", "json array", "parquet"]


class _Bytes(Protocol):
    """A file, or a gzip file: what is needed of either."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A row that could be read."""

    number: int
    """Line of a JSON-lines file, otherwise the row's place; from 1."""
    value: dict[str, Any]
    raw: bytes | None
    """The object as it stands in the file, on one line; None where the file holds no JSON."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not."""

    number: int
    text: str
    problem: str
    is_end: bool = False
    """Nothing after it can be read: the file is damaged or cut off."""


class RowFile:
    """A file of rows.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is no file of rows that Seedbed can read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise MissingFileError(f"there is no file {path}")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; give one file of rows")
        self.path = path
        self.size_bytes = path.stat().st_size
        self._is_gzip, self.kind = _kind_of(path)
        self._share = 0.0

    @property
    def share(self) -> float:
        """How much of the file the current reading has behind it, 0 to 1."""
        return self._share

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a Parquet file; of any other the keys of its first readable row."""
        if self.kind == "parquet":
            return tuple(_open_parquet(self.path).schema_arrow.names)
        first = next((row for row in islice(self.rows(), 100) if isinstance(row, Row)), None)
        return tuple(first.value) if first else ()

    def rows(self, after: int = 0) -> Iterator[Row | BadRow]:
        """Yield the rows whose number is greater than `after`."""
        if self.kind == "parquet":
            yield from self._parquet_rows(after)
            return
        with self.path.open("rb") as file:
            stream = gzip.GzipFile(fileobj=file) if self._is_gzip else file
            rows = _line_rows(stream, after) if self.kind == "json lines" else _array_rows(stream, after)
            for row in rows:
                self._share = file.tell() / max(self.size_bytes, 1)
                yield row

    def _parquet_rows(self, after: int) -> Iterator[Row | BadRow]:
        import pyarrow as pa

        file = _open_parquet(self.path)
        total, number = file.metadata.num_rows, 0
        try:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                if number + batch.num_rows <= after:
                    number += batch.num_rows
                    continue
                for value in _parquet_values(batch):
                    number += 1
                    self._share = number / total
                    if number > after:
                        yield BadRow(number, "", value) if isinstance(value, str) else Row(number, value, None)
        except (pa.ArrowException, OSError) as error:
            yield BadRow(number + 1, "", f"the Parquet file is damaged from here on: {error}", is_end=True)


def _kind_of(path: Path) -> tuple[bool, Kind]:
    """Return whether the file is gzip, and what it is (inside)."""
    with path.open("rb") as file:
        head = file.read(4)
        if head == b"PAR1":
            return False, "parquet"
        if head == b"\x28\xb5\x2f\xfd":
            raise InputError(f"{path} is compressed with zstd; unpack it first (gzip is read as it is)")
        if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            raise InputError(f"{path} is UTF-16; convert it to UTF-8 first")
        file.seek(0)
        is_gzip = head[:2] == b"\x1f\x8b"
        stream = gzip.GzipFile(fileobj=file) if is_gzip else file
        try:
            start = stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} is a damaged gzip file: {error}") from error
    return is_gzip, "json array" if start.startswith(b"[") else "json lines"


def _line_rows(stream: _Bytes, after: int) -> Iterator[Row | BadRow]:
    number = 0
    try:
        while line := stream.readline(MAX_ROW_BYTES):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            is_whole = _skip_to_line_end(stream, line)
            if number <= after or not line.strip():
                continue
            yield parse_row(number, line) if is_whole else _too_long(number, line)
    except (EOFError, OSError, zlib.error) as error:
        yield BadRow(number + 1, "", f"the file is damaged from here on: {error}", is_end=True)


def _skip_to_line_end(stream: _Bytes, line: bytes) -> bool:
    """Read on to the end of a line that was too long; return whether it was not."""
    if len(line) < MAX_ROW_BYTES or line.endswith(b"\n"):
        return True
    while (rest := stream.readline(MAX_ROW_BYTES)) and not rest.endswith(b"\n"):
        pass
    return False


def _too_long(number: int, line: bytes) -> BadRow:
    return BadRow(number, _kept(line), f"longer than {MAX_ROW_BYTES} bytes")


def parse_row(number: int, raw: bytes) -> Row | BadRow:
    """Read one JSON object; lone surrogates, NaN and huge numbers pass, as in Python's own reader."""
    raw = raw.strip()
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            return BadRow(number, _kept(raw), f"not JSON: {error}")
    if not isinstance(value, dict):
        return BadRow(number, _kept(raw), f"not an object but {type(value).__name__}")
    return Row(number, value, raw)


def _kept(raw: bytes) -> str:
    return raw[:_KEPT_TEXT].decode("utf-8", "backslashreplace").rstrip("\r\n")


def _array_rows(stream: _Bytes, after: int) -> Iterator[Row | BadRow]:
    """Read the elements of a JSON array one by one."""
    number, reader = 0, _ArrayReader(stream)
    while (element := reader.next_element()) is not None:
        number += 1
        if element.problem:
            yield BadRow(number, element.text[:_KEPT_TEXT], element.problem, is_end=True)
        elif number > after:
            # Line ends stand between the tokens of JSON only, never inside a string.
            yield parse_row(number, element.text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class _Element:
    text: str
    problem: str = ""


class _ArrayReader:
    """Cuts a JSON array into its elements, holding one chunk or one element in memory."""

    def __init__(self, stream: _Bytes) -> None:
        self._stream = stream
        self._decoder = json.JSONDecoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._buffer, self._place = "", 0
        self._end = ""
        """Why nothing more comes; empty while something may."""
        self._more(_CHUNK_BYTES)
        self._place = self._buffer.index("[") + 1

    def next_element(self) -> _Element | None:
        """Return the next element; None after the array's end. One with a problem is the last."""
        self._skip_blanks()
        if self._place >= len(self._buffer):
            problem, self._buffer, self._place = self._end, "]", 0
            return _Element("", f"the array has no end: {problem}")
        if self._buffer[self._place] == "]":
            return None
        step = _CHUNK_BYTES
        while True:
            try:
                _, end = self._decoder.raw_decode(self._buffer, self._place)
            except (ValueError, RecursionError) as error:
                problem = f"not JSON: {error}"
            else:
                if end < len(self._buffer) or self._end:
                    text, self._place = self._buffer[self._place : end], end
                    return _Element(text)
                problem = ""
            if self._end or len(self._buffer) - self._place > MAX_ROW_BYTES:
                text, self._buffer, self._place = self._buffer[self._place :], "]", 0
                return _Element(text, f"{problem}; the rest of the array cannot be read")
            self._more(step)
            step *= 2

    def _skip_blanks(self) -> None:
        while True:
            while self._place < len(self._buffer) and self._buffer[self._place] in " \t\r\n,":
                self._place += 1
            if self._place < len(self._buffer) or self._end:
                return
            self._more(_CHUNK_BYTES)

    def _more(self, size: int) -> None:
        try:
            chunk = self._stream.read(size)
        except (EOFError, OSError, zlib.error) as error:
            chunk, self._end = b"", f"the file is damaged ({error})"
        if not chunk:
            self._end = self._end or "the file ends before it"
        self._buffer = self._buffer[self._place :] + self._utf8.decode(chunk, final=not chunk)
        self._place = 0


def _parquet_values(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Yield the rows of a batch; for one that Python cannot hold (a broken text, a date far off), what is wrong."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for place in range(batch.num_rows):
            try:
                yield batch.slice(place, 1).to_pylist()[0]
            except (ValueError, OverflowError) as error:
                yield f"not to be read: {error}"


def _open_parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
