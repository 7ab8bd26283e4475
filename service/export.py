"""Accepted rows in the forms that trainers read: Alpaca, ShareGPT, messages, Parquet."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from seedbed.core.errors import InputError
from seedbed.core.files import replacing
from seedbed.core.records import Candidate
from seedbed.prompts.training_text import chat_turns

PARQUET_ROWS = 10_000


class Format(StrEnum):
    """A form of export."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    MESSAGES = "messages"
    PARQUET = "parquet"


def export(rows: Iterable[Candidate], form: Format, path: Path) -> int:
    """Write rows to `path`, whole or not at all; returns how many. The three JSON forms are JSON lines.

    Raises:
        InputError: `path` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists; name a new file")
    with replacing(path) as stream:
        if form is Format.PARQUET:
            return _write_parquet(rows, stream)
        import orjson

        count = 0
        for row in rows:
            stream.write(orjson.dumps(SHAPES[form](row)) + b"\n")
            count += 1
    return count


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
    Format.SHAREGPT: _sharegpt,
    Format.MESSAGES: _messages,
}


def _write_parquet(rows: Iterable[Candidate], stream: Any) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "task_id", "category", "instruction", "input", "output", "recipe", "model")
    schema = pa.schema([(name, pa.string()) for name in names])
    count = 0
    with pq.ParquetWriter(stream, schema) as writer:
        for page in _pages(rows):
            records = [
                dict(
                    zip(
                        names,
                        (
                            row.id,
                            row.task_id,
                            row.category or row.requested_category,
                            row.instruction,
                            row.input,
                            row.output,
                            row.lineage.recipe,
                            row.lineage.model,
                        ),
                        strict=True,
                    )
                )
                for row in page
            ]
            writer.write_table(pa.Table.from_pylist(records, schema))
            count += len(records)
    return count


def _pages(rows: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    iterator = iter(rows)
    while page := list(islice(iterator, PARQUET_ROWS)):
        yield page
