"""Reading the texts to keep out: the user's own files and folders, and the known benchmarks among them.

One row is one item: a line of a text file, an object of a JSON or JSON-lines file, a row of a CSV or Parquet file
(each may be compressed with gzip, but Parquet). Of a file whose name starts with that of a known benchmark, and that
has its fields, only the question or prompt is read; of any other, every text field, or those that `fields` names.
Two things that are no items are left out where nothing was named: short values of fields called `id`, `label`,
`answer` and the like, and short values that stand in many rows, which are labels under another name.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from seedbed.core.errors import InputError, MissingFileError
from seedbed.filters.normal_form import normal_words

SHORT_WORDS = 6
"""A value with fewer words is short: it counts only as a whole field, and never where it is a label."""
LABEL_ROWS = 10
"""A short value in more rows than this is a label."""
MAX_UNPACKED_BYTES = 2**30
"""Of a file in gzip, whose size says little of how much memory it takes."""
SUFFIXES = (".txt", ".md", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")

_IDS = ("id", "ids", "key", "index", "idx", "uuid", "guid", "hash", "number", "row")
_LABELS = ("label", "labels", "category", "categories", "subject", "topic", "type", "source", "split", "role", "focus")
_ANSWERS = ("answer", "answers", "answer_key", "target", "targets", "gold", "choice", "choices", "option", "options")
_NOT_ITEMS = frozenset((*_IDS, *_LABELS, *_ANSWERS, "language", "lang", "difficulty", "level", "entry_point", "note"))


@dataclass(frozen=True, slots=True)
class Item:
    """A text to keep out."""

    row: int
    """The line or row it stands in, from 1."""
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The items of one file."""

    name: str
    """The file's name without its suffixes; verdicts name `name/row`."""
    items: tuple[Item, ...]
    fields: tuple[str, ...] = ()
    """Where they were taken from."""


Row: TypeAlias = Mapping[str, Any]
Texts: TypeAlias = Callable[[Row], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class _Known:
    fields: tuple[str, ...]
    texts: Texts


def _field(name: str) -> _Known:
    return _Known((name,), lambda row: (row[name],))


KNOWN: dict[str, _Known] = {
    "bbh": _field("input"),
    "commonsense_qa": _Known(("question",), lambda row: (str(row["question"]).split("\nChoices:")[0],)),
    "gsm8k": _field("question"),
    "humaneval": _field("prompt"),
    "ifeval": _field("prompt"),
    "mmlu": _field("question"),
    "mt_bench": _Known(("turns",), lambda row: row["turns"]),
    "openbook_qa": _field("question"),
    "piqa": _field("question"),
    "self_instruct_user_oriented": _Known(
        ("instruction", "instances"), lambda row: (row["instruction"], *(one["input"] for one in row["instances"]))
    ),
    "strongreject": _field("prompt"),
    "svamp": _field("context"),
    "xstest": _field("prompt"),
}
"""For known benchmarks, where their questions or prompts stand: never choices, answers, labels or ids."""


def read_references(path: Path, fields: Sequence[str] = ()) -> list[Reference]:
    """Read a file, or every file of a known kind in a folder and the folders below it.

    Raises:
        MissingFileError: There is no such file or folder.
        InputError: A file cannot be read, or has no text in it; the message says where.
    """
    if not path.exists():
        raise MissingFileError(f"there is no reference {path}")
    if not path.is_dir():
        return [read_reference(path, fields)]
    return [read_reference(one, fields) for one in sorted(path.rglob("*")) if one.is_file() and is_reference(one.name)]


def is_reference(name: str) -> bool:
    """Say whether a file of this name is read where it lies in a folder of references."""
    return _suffix(Path(name)) in SUFFIXES and not name.lower().startswith(("readme", "."))


def fields_file(path: Path) -> Path:
    """Return the file beside a reference that says which of its fields count, one a line; without it the reader does.

    It lets a folder of references carry the choice that was made when one was added.
    """
    return path.with_name(f"{path.name}.fields")


def chosen_fields(path: Path) -> tuple[str, ...]:
    """Return what stands in a reference's `fields_file`; nothing where it has none."""
    chosen = fields_file(path)
    try:
        return tuple(filter(None, chosen.read_text(encoding="utf-8").split("\n"))) if chosen.is_file() else ()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{chosen} cannot be read: {error}") from error


def read_reference(path: Path, fields: Sequence[str] = ()) -> Reference:
    """Read the items of one file; of the fields named here, else of those its `fields_file` names.

    Raises:
        InputError: It cannot be read, lacks a field that was named, or has no text.
    """
    fields = fields or chosen_fields(path)
    rows = list(_rows(path))
    if _suffix(path) in (".txt", ".md"):
        lines = [Item(number, row["text"]) for number, row in rows if row["text"].strip()]
        return _with_items(path, lines, ("line",))
    known = None if fields else _known(path, rows)
    names = known.fields if known else tuple(fields) or _text_fields(rows)
    items: list[Item] = []
    for number, row in rows:
        texts: Iterable[Any] = _named(path, number, row, fields or names, is_strict=bool(fields))
        if known:
            texts = _known_texts(path, number, row, known)
        items += [Item(number, text) for text in texts if isinstance(text, str) and text.strip()]
    if not fields and not known:
        items = _without_labels(items)
    return _with_items(path, items, names, _all_fields(rows))


def _with_items(path: Path, items: Sequence[Item], names: tuple[str, ...], known: Sequence[str] = ()) -> Reference:
    if not items:
        raise InputError(f"{path} has no text to compare with; its fields are {', '.join(known) or 'none'}")
    return Reference(_name(path), tuple(items), names)


def _known_texts(path: Path, number: int, row: Row, known: _Known) -> tuple[Any, ...]:
    """Return the questions of a benchmark's row, or refuse one that is not as that benchmark's are."""
    try:
        return tuple(known.texts(row))
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{path} row {number} is not as its name says: {', '.join(known.fields)} hold something else ({error!r}); "
            "name it otherwise, or its fields"
        ) from error


def _known(path: Path, rows: Sequence[tuple[int, Row]]) -> _Known | None:
    stem = _name(path).lower().replace("-", "_")
    for name in sorted(KNOWN, key=len, reverse=True):
        if stem.startswith(name) and rows and all(all(f in row for f in KNOWN[name].fields) for _, row in rows):
            return KNOWN[name]
    return None


def _text_fields(rows: Iterable[tuple[int, Row]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, row in rows for name, value in row.items() if isinstance(value, str)))


def _all_fields(rows: Iterable[tuple[int, Row]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, row in rows for name in row))


def _named(path: Path, number: int, row: Row, names: Iterable[str], *, is_strict: bool) -> Iterator[Any]:
    """Yield the values of fields; a list's entries one by one; short ones of id-like fields only where named."""
    for name in names:
        if name not in row:
            if is_strict:
                known = ", ".join(row) or "none"
                raise InputError(f'{path} row {number} has no field "{name}"; its fields are {known}')
            continue
        value = row[name]
        if is_strict or not _is_label(name, value):
            yield from value if isinstance(value, list | tuple) else (value,)


def _is_label(name: str, value: object) -> bool:
    is_named_so = name.lower() in _NOT_ITEMS or name.lower().endswith("_id")
    return is_named_so and isinstance(value, str) and len(normal_words(value)) < SHORT_WORDS


def _without_labels(items: Sequence[Item]) -> list[Item]:
    short = {item: tuple(normal_words(item.text)) for item in items if len(item.text) < 200}
    short = {item: found for item, found in short.items() if len(found) < SHORT_WORDS}
    counts = Counter(short.values())
    return [item for item in items if item not in short or counts[short[item]] <= LABEL_ROWS]


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        match _suffix(path):
            case ".parquet":
                yield from enumerate(_parquet_rows(path), 1)
            case ".jsonl" | ".ndjson":
                yield from _json_lines(path)
            case ".json":
                yield from enumerate(_json_rows(path), 1)
            case ".csv" | ".tsv":
                yield from enumerate(_csv_rows(path), 1)
            case _:
                yield from ((number, {"text": line}) for number, line in enumerate(_text(path).splitlines(), 1))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            content = stream.read(MAX_UNPACKED_BYTES + 1)
        if len(content) > MAX_UNPACKED_BYTES:
            raise InputError(f"{path} unpacks to more than {MAX_UNPACKED_BYTES:,} bytes; split it, or unpack it first")
    return content.decode("utf-8-sig")


def _json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield number, _object(_parsed(path, line, f"line {number}"), path, f"line {number}")


def _json_rows(path: Path) -> Iterator[Row]:
    value = _parsed(path, _text(path), "it")
    if isinstance(value, dict):  # {"data": […]}, {"examples": […]}: the one list of rows
        lists = [entry for entry in value.values() if isinstance(entry, list)]
        value = lists[0] if len(lists) == 1 else [value]
    for number, row in enumerate(value if isinstance(value, list) else [value], 1):
        yield _object(row, path, f"row {number}")


def _parsed(path: Path, text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {place} is not JSON: {error}") from error


def _object(value: Any, path: Path, place: str) -> Row:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise InputError(f"{path} {place} is neither an object nor a text but {type(value).__name__}")
    return value


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    delimiter = "\t" if _suffix(path) == ".tsv" else ","
    for row in csv.DictReader(io.StringIO(_text(path), newline=""), delimiter=delimiter):
        yield {name: value for name, value in row.items() if name is not None}


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:  # the last two: what Python has no value for
        raise InputError(f"{path} is not a Parquet file that can be read: {error}") from error
