"""Files are whole or not there."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.files import BadLine, Line, locked, parse_line, read_json, read_json_lines, replacing, write_atomic


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "kept.txt"
    write_atomic(target, "old")
    with pytest.raises(TypeError), replacing(target) as stream:
        stream.write("text, where bytes are wanted")  # type: ignore[call-overload]
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_mode_is_set_before_the_file_appears(tmp_path: Path) -> None:
    write_atomic(tmp_path / "secret", "x", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_unreadable_lines_are_told_with_their_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\nnot json\n[1]\n{"b": "\xff"}\n')
    lines = list(read_json_lines(path))
    assert [line.number for line in lines] == [1, 3, 4, 5]
    assert lines[0] == Line(1, {"a": 1})
    assert all(isinstance(line, BadLine) for line in lines[1:])


@given(st.binary())
def test_no_line_raises(raw: bytes) -> None:
    assert parse_line(1, raw).number == 1


def test_missing_and_broken_json_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_json(tmp_path / "broken.json")


HOLD = """
import sys, time
from pathlib import Path
from seedbed.core.files import locked
with locked(Path(sys.argv[1]), "the other one"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="the other one"), locked(tmp_path / "lock", "me"):
            pass
        other.kill()
    with locked(tmp_path / "lock", "me"):
        assert (tmp_path / "lock").read_text() == "me"
