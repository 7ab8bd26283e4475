"""No bytes from outside crash a reader, hang it, or take more memory than their size warrants."""

import gzip
import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from seedbed.core.errors import InputError
from seedbed.filters.references import read_reference
from seedbed.service.rows import BadRow, Row, RowFile
from tests.faults.fuzzing import TARGETS

LONG = 50_000
"""Characters: the parser took more than a second for 5,000 asterisks before it was mended, and hours for these."""

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**40, -(10**400), 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=20)
KEYS = st.text(max_size=8) | st.sampled_from(
    ["instruction", "input", "output", "messages", "conversations", "role", "content", "from", "value", "id",
     "category", "task", "difficulty", "is_classification", "turns", "instances", "question", "text", "references",
     "definition", "checks", "choices", "message", "usage", "prompt_tokens", "error", "model", "finish_reason", "files"]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=8)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


JSON_LINES = st.lists(OBJECTS.map(as_json) | st.binary(max_size=40), max_size=6).map(b"\n".join)
TOML_KEYS = st.sampled_from(
    ["pool", "teacher", "endpoints", "generation", "recipes", "categories", "share", "held_out", "name", "model",
     "base_url", "filters", "rouge", "threshold", "training", "rank", "x"]
)  # fmt: skip
TOML_VALUES = st.sampled_from(
    ["1", "-1", "1e400", "nan", "true", '"a"', "[]", "[1, [2]]", "{a = 1}", "2026-01-01", "9" * 50, '"""\n"""', "[[]]"]
)
TOML = st.lists(
    st.one_of(
        st.builds("{} = {}".format, TOML_KEYS, TOML_VALUES),
        st.builds("[{}]".format, TOML_KEYS),
        st.builds("[[{}]]".format, TOML_KEYS),
        st.builds("[{}.{}]".format, TOML_KEYS, TOML_KEYS),
        st.builds("{}.{} = {}".format, TOML_KEYS, TOML_KEYS, TOML_VALUES),
        st.text(max_size=20),
    ),
    max_size=10,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))
CSV = st.lists(st.lists(st.text(max_size=8), max_size=4).map(",".join), max_size=5).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)
ANY = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    VALUES.map(as_json),
    JSON_LINES,
    st.lists(OBJECTS, max_size=4).map(as_json),
    TOML,
    CSV,
    JSON_LINES.map(gzip.compress),
    st.builds(lambda data, cut: gzip.compress(data)[:-cut], JSON_LINES, st.integers(1, 12)),
    st.builds(
        lambda data, place, byte: _changed(gzip.compress(data), place, byte),
        JSON_LINES,
        st.integers(10, 400),
        st.integers(0, 255),
    ),
)


def _changed(data: bytes, place: int, byte: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([byte]) + data[place + 1 :]


@pytest.mark.parametrize("target", TARGETS)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=ANY)
@example(data=b"")
def test_no_bytes_break_a_reader(target: str, data: bytes) -> None:
    TARGETS[target](data)


NESTED = [
    b"[" * 100_000,
    b'{"instruction": ' * 20_000,
    b'{"a":' * 500 + b'{"instruction": "a", "output": "b"}' + b"}" * 500,
    b"[" * 900 + b'{"instruction": "a", "output": "b"}' + b"]" * 900,
    b'{"instruction": "a", "output": ' + b"[" * 900 + b"]" * 900 + b"}",
    b"{" + b'"clarity":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"a = " + b"[" * 5000 + b"]" * 5000,
    b"a" + b".a" * 5000 + b" = 1",
    b"a = " + b"9" * 5000,
    b'{"id": ' + b"9" * 5000 + b"}",
    b"[" + b"9" * 5000 + b"]",
    b"<a>" * 5000,
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">' + b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">' * 3 + b"]><a>&c;</a>",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("data", NESTED, ids=range(len(NESTED)))
def test_no_depth_and_no_number_breaks_a_reader(target: str, data: bytes) -> None:
    TARGETS[target](data)


UNITS = [
    "* ", "*", "**", "- ", "_", "#", "1. ", "</s>", "<|im_end|>", "\n", "\nb", " ", "\t", '"', "{", "[", '{"', '",',
    "\\", "```", "```\n", "---\n", "<think>", ",", ", ", ":", "task ", "Task: ", "Instruction: ", "Output: x\n",
    "###\n", '"a":', '{"instruction": "a"}', "( ", "1+1=2 ", "(", "/", " or ", "a, ", "\r\n", "\x00", "é",
]  # fmt: skip
AROUND = [("", ""), ("1. a", 'x"'), ("Instruction: a\nOutput: b", ""), ('{"instruction": "a', '"x'), ("[", '"x')]


@pytest.mark.parametrize("unit", UNITS)
def test_no_repetition_makes_the_parser_slow(unit: str) -> None:
    for before, after in AROUND:
        TARGETS["completions"](f"{before}{unit * (LONG // len(unit))}{after}".encode())


def test_a_small_gzip_file_takes_no_large_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.filters.references.MAX_UNPACKED_BYTES", 2**20)
    monkeypatch.setattr("seedbed.service.rows.MAX_ROW_BYTES", 2**20)
    path = tmp_path / "bomb.txt.gz"
    with gzip.open(path, "wb") as stream:
        for _ in range(64):
            stream.write(b" " * 2**20)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        TARGETS["rows"](path.read_bytes())
        with pytest.raises(InputError, match="unpacks to more than 1,048,576 bytes"):
            read_reference(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 * 2**20


def columns_python_has_no_value_for() -> dict[str, pa.Array]:
    broken = [pa.py_buffer(struct.pack("<3i", 0, 2, 3)), pa.py_buffer(b"\xff\xfea")]
    return {
        "a text that is no UTF-8": pa.Array.from_buffers(pa.string(), 2, [None, *broken]),
        "a day in the year 5881580": pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32()),
    }


@pytest.mark.parametrize("kind", columns_python_has_no_value_for())
def test_a_cell_that_python_cannot_hold_costs_its_row_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "rows.parquet"
    column = columns_python_has_no_value_for()[kind]
    parquet.write_table(pa.table({"instruction": ["one", "two"], "output": column}), path)
    bad, good = RowFile(path).rows()
    assert isinstance(bad, BadRow)
    assert bad.number == 1
    assert not bad.is_end
    assert isinstance(good, Row)
    assert (good.number, good.value["instruction"]) == (2, "two")
    with pytest.raises(InputError, match=r"rows\.parquet"):
        read_reference(path)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("mt_bench.jsonl", {"turns": 3}),
        ("self_instruct_user_oriented.jsonl", {"instruction": "a", "instances": [{"output": "b"}]}),
        ("self_instruct_user_oriented.jsonl", {"instruction": "a", "instances": "b"}),
    ],
)
def test_a_row_that_is_not_as_its_files_name_says_is_named(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    (tmp_path / name).write_bytes(as_json(row))
    with pytest.raises(InputError, match=r"row 1 is not as its name says: .* name it otherwise, or its fields"):
        read_reference(tmp_path / name)


@pytest.mark.parametrize("name", ["empty.txt", "blank.md"])
def test_a_reference_without_a_text_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n \n")
    with pytest.raises(InputError, match="has no text to compare with"):
        read_reference(tmp_path / name)
