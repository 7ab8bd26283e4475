"""Accepted rows in the forms that trainers read: Alpaca, ShareGPT, messages, Parquet, CSV, a data set folder."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, TypeVar

from seedbed.core.batches import batched
from seedbed.core.errors import InputError
from seedbed.core.files import new_folder, replacing, sync_folder, write_atomic
from seedbed.core.records import Candidate
from seedbed.prompts.training_text import chat_turns

T = TypeVar("T")

PARQUET_ROWS = 10_000
PARQUET_COLUMNS = ("id", "task_id", "category", "instruction", "input", "output", "recipe", "model")
CSV_COLUMNS = ("id", "category", "instruction", "input", "output", "recipe", "model")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
TRAIN, VALIDATION = "train", "validation"


class Format(StrEnum):
    """A form of export."""

    ALPACA = "alpaca"
    """One JSON array."""
    ALPACA_LINES = "alpaca-jsonl"
    """The same rows as JSON lines."""
    SHAREGPT = "sharegpt"
    """One JSON array."""
    SHAREGPT_LINES = "sharegpt-jsonl"
    MESSAGES = "messages"
    """JSON lines, as OpenAI and TRL have them."""
    PARQUET = "parquet"
    CSV = "csv"
    """For spreadsheets; a cell that one would run as a formula begins with an apostrophe."""
    HF = "hf"
    """A folder: a card and Parquet files for training and validation."""


ARRAYS = frozenset({Format.ALPACA, Format.SHAREGPT})


def export(rows: Iterable[Candidate], form: Format, path: Path) -> int:
    """Write rows to the file `path`, whole or not at all; returns how many.

    Raises:
        InputError: `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists; name a new file")
    with replacing(path) as stream:
        return write_rows(rows, form, stream)


def write_rows(rows: Iterable[Candidate], form: Format, stream: IO[bytes]) -> int:
    """Write rows to a stream as they come; returns how many. For every format that is one file."""
    if form is Format.PARQUET:
        return _write_parquet(rows, stream)
    count = 0

    def counted() -> Iterator[Candidate]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    stream.writelines(pieces_of(counted(), form))
    return count


def export_folder(splits: dict[str, Iterable[Candidate]], path: Path, card: Callable[[dict[str, int]], str]) -> int:
    """Write a data set folder, whole or not at all: `data/SPLIT.parquet` and, last, `README.md`.

    Args:
        splits: The rows of each split, read once.
        path: The new folder.
        card: Makes the text of the card from the rows of each split.

    Raises:
        InputError: `path` exists.
    """
    counts: dict[str, int] = {}
    with new_folder(path) as folder:
        for name, rows in splits.items():
            with replacing(folder / "data" / f"{name}.parquet") as stream:
                counts[name] = _write_parquet(rows, stream)
            if not counts[name]:
                (folder / "data" / f"{name}.parquet").unlink()
        sync_folder(folder / "data")
        write_atomic(folder / "README.md", card({name: count for name, count in counts.items() if count}))
    return sum(counts.values())


def _alpaca(row: Candidate) -> dict[str, Any]:
    return {"instruction": row.instruction, "input": row.input, "output": row.output}


def _messages(row: Candidate) -> dict[str, Any]:
    turns = [turn.model_dump() for turn in chat_turns(row.instruction, row.input)]
    return {"messages": [*turns, {"role": "assistant", "content": row.output}]}


def _sharegpt(row: Candidate) -> dict[str, Any]:
    asked = "\n\n".join(turn.content for turn in chat_turns(row.instruction, row.input))
    return {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": row.output}]}


SHAPES: dict[Format, Callable[[Candidate], dict[str, Any]]] = {
    Format.ALPACA: _alpaca,
    Format.ALPACA_LINES: _alpaca,
    Format.SHAREGPT: _sharegpt,
    Format.SHAREGPT_LINES: _sharegpt,
    Format.MESSAGES: _messages,
}


def json_pieces(rows: Iterable[Candidate], form: Format) -> Iterator[bytes]:
    """Yield rows as JSON, as they come: an array where the format is one, else lines."""
    import orjson

    shape, is_array = SHAPES[form], form in ARRAYS
    before = b"[\n" if is_array else b""
    for row in rows:
        yield before + orjson.dumps(shape(row)) + (b"" if is_array else b"\n")
        before = b",\n" if is_array else b""
    if is_array:
        yield b"[]\n" if before == b"[\n" else b"\n]\n"


def csv_lines(rows: Iterable[Candidate]) -> Iterator[str]:
    """Yield rows as CSV; a cell that a spreadsheet would run as a formula begins with an apostrophe (OWASP)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        category, lineage = row.category or row.requested_category, row.lineage
        cells = (row.id, category, row.instruction, row.input, row.output, lineage.recipe, lineage.model)
        writer.writerow([f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def pieces_of(rows: Iterable[Candidate], form: Format) -> Iterator[bytes]:
    """Yield the bytes of a text format as rows come."""
    if form is Format.CSV:
        return (text.encode() for text in csv_lines(rows))
    return json_pieces(rows, form)


def _write_parquet(rows: Iterable[Candidate], stream: IO[bytes]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in PARQUET_COLUMNS])
    count = 0
    with pq.ParquetWriter(stream, schema) as writer:
        for page in batched(rows, PARQUET_ROWS):
            cells = [_cells(row) for row in page]
            columns = dict(zip(PARQUET_COLUMNS, zip(*cells, strict=True), strict=True))
            writer.write_table(pa.Table.from_pydict(columns, schema))
            count += len(cells)
    return count


def _cells(row: Candidate) -> tuple[str, ...]:
    category, lineage = row.category or row.requested_category, row.lineage
    return (row.id, row.task_id, category, row.instruction, row.input, row.output, lineage.recipe, lineage.model)
