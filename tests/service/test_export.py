"""Exports: whole or not there, from the pool or a snapshot, without what was refused."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from seedbed.core.errors import ConfigError, InputError, MissingFileError
from seedbed.core.records import Candidate
from seedbed.service.export import Format, export, export_folder, write_rows
from seedbed.service.export_command import run_export, wanted_export
from seedbed.service.exporting import export_to_file, source_of
from seedbed.service.readers import Reader, reader_config
from tests.service.exported import ROWS, SECRET, TEXTS, Filled, filled, triples

FILES = [one for one in Format if one is not Format.HF]


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with filled(tmp_path_factory.mktemp("pond") / "w") as found:
        yield found


def written(rows: Any, form: Format) -> bytes:
    stream = io.BytesIO()
    write_rows(rows, form, stream)
    return stream.getvalue()


def test_alpaca_and_sharegpt_are_one_json_array_and_the_others_lines() -> None:
    alpaca = json.loads(written(ROWS, Format.ALPACA))
    assert [(one["instruction"], one["input"], one["output"]) for one in alpaca] == triples(ROWS)
    lines = [json.loads(line) for line in written(ROWS, Format.ALPACA_LINES).split(b"\n")[:-1]]
    assert lines == alpaca
    sharegpt = json.loads(written(ROWS, Format.SHAREGPT))
    assert sharegpt[1] == {
        "conversations": [
            {"from": "human", "value": "Translate «ça».\n\nligne un\nligne deux"},
            {"from": "gpt", "value": "line one\nline two"},
        ]
    }
    assert [json.loads(line) for line in written(ROWS, Format.SHAREGPT_LINES).split(b"\n")[:-1]] == sharegpt
    messages = [json.loads(line) for line in written(ROWS, Format.MESSAGES).split(b"\n")[:-1]]
    assert messages[0] == {
        "messages": [{"role": "user", "content": "Name a bird."}, {"role": "assistant", "content": "A wren."}]
    }
    assert len(messages) == len(ROWS)


@pytest.mark.parametrize("form", [Format.ALPACA, Format.SHAREGPT])
def test_an_array_of_no_rows_is_an_empty_array(form: Format) -> None:
    assert json.loads(written([], form)) == []


@pytest.mark.parametrize("form", FILES)
def test_an_export_that_fails_leaves_no_file(form: Format, tmp_path: Path) -> None:
    def failing() -> Iterator[Candidate]:
        yield from ROWS[:3]
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError, match="went away"):
        export(failing(), form, tmp_path / "rows")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Candidate]:
        yield ROWS[0]
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError, match="went away"):
        export_folder({"train": ROWS[:2], "validation": failing()}, tmp_path / "set", lambda _: "card")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FILES)
def test_rows_are_streamed(form: Format) -> None:
    """No more than a page of rows is held: the first bytes are out long before the last row is asked for."""
    stream, out_at = io.BytesIO(), list[int]()

    def many() -> Iterator[Candidate]:
        for number in range(30_000):
            if stream.tell() > 100 and not out_at:
                out_at.append(number)
            yield ROWS[number % len(ROWS)]

    assert write_rows(many(), form, stream) == 30_000
    assert out_at[0] <= 10_000


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("snapshot", ["", "latest"])
def test_no_format_lets_a_refused_row_out(pond: Filled, form: Format, snapshot: str) -> None:
    data = written(source_of(pond.workspace, pond.pool, snapshot).rows(), form)
    if form is Format.PARQUET:  # its pages are compressed
        data = repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    assert b"Count to 39." in data
    assert SECRET.encode() not in data


def test_a_row_refused_after_the_freeze_is_left_out_and_told(tmp_path: Path) -> None:
    with filled(tmp_path / "w") as pond:
        pond.refuse(ROWS[0])
        source = source_of(pond.workspace, pond.pool, pond.snapshot.id[:8])
        exported = export_to_file(source, Format.ALPACA, tmp_path / "rows.json")
        assert (exported.rows, exported.refused_since) == (len(ROWS) - 1, 1)
        assert "A wren." not in (tmp_path / "rows.json").read_text()


def test_the_splits_of_a_snapshot_make_the_whole(pond: Filled) -> None:
    source = source_of(pond.workspace, pond.pool, "latest")
    train, validation = list(source.rows("train")), list(source.rows("validation"))
    assert (len(train), len(validation)) == (pond.snapshot.train_rows, pond.snapshot.val_rows)
    assert sorted(triples(train + validation)) == sorted(triples(ROWS))


def test_a_snapshot_that_is_not_there_is_named(pond: Filled) -> None:
    with pytest.raises(MissingFileError, match=r'no snapshot "zzz".*seedbed snapshot'):
        source_of(pond.workspace, pond.pool, "zzz")


def test_a_data_set_folder_is_not_made_without_a_snapshot(tmp_path: Path) -> None:
    with filled(tmp_path / "w") as pond:
        shutil.rmtree(pond.workspace.snapshots)
        with pytest.raises(MissingFileError, match="there is no snapshot"):
            run_export(pond.workspace, pond.pool, wanted_export(tmp_path / "set", "hf", "", "", ()))


def test_a_card_names_teacher_licence_seeds_and_figures(pond: Filled, tmp_path: Path) -> None:
    run_export(pond.workspace, pond.pool, wanted_export(tmp_path / "set", "hf", "", "", ()))
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| none | local | unknown, ask your provider | not given | 0 |" in card
    assert "written by hand for Seedbed" in card
    assert f"Of {len(ROWS) + 1} candidates {len(ROWS)} were accepted" in card
    assert "| rouge | near\\_duplicate | 1 |" in card


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("x", "yaml", "", "", ()), 'no format "yaml"; known: alpaca'),
        (("x", "alpaca", "", "train", ()), "name one with --snapshot"),
        (("x", "alpaca", "latest", "test", ()), 'no split "test"'),
        (("-", "hf", "", "", ()), "hf is a folder"),
        (("-", "alpaca", "", "", ("axolotl",)), "has no beside"),
        (("x", "alpaca", "", "", ("unsloth",)), 'no reader "unsloth"'),
    ],
)
def test_options_that_make_no_sense_are_refused(options: tuple[str, str, str, str, tuple[str, ...]], said: str) -> None:
    out, form, snapshot, split, readers = options
    with pytest.raises(ConfigError, match=said):
        wanted_export(Path(out), form, snapshot, split, readers)


def test_llama_factory_keeps_the_data_sets_it_had(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"theirs": {"file_name": "theirs.json"}}')
    told = json.loads(reader_config(Reader.LLAMA_FACTORY, Format.ALPACA, tmp_path / "ours.json").text)
    assert list(told) == ["theirs", "ours"]
    with pytest.raises(InputError, match='has a data set "theirs" already'):
        reader_config(Reader.LLAMA_FACTORY, Format.ALPACA, tmp_path / "theirs.jsonl")


@pytest.mark.parametrize(("form", "name"), [(Format.ALPACA, "rows.txt"), (Format.PARQUET, "rows.json")])
def test_a_name_that_a_trainer_would_misread_is_refused(form: Format, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must end in"):
        reader_config(Reader.AXOLOTL, form, tmp_path / name)


def test_a_file_that_no_trainer_reads_writes_nothing(pond: Filled, tmp_path: Path) -> None:
    source = source_of(pond.workspace, pond.pool, "")
    with pytest.raises(InputError, match="axolotl reads no csv"):
        export_to_file(source, Format.CSV, tmp_path / "rows.csv", readers=[Reader.AXOLOTL])
    assert list(tmp_path.iterdir()) == []


def test_an_export_goes_to_standard_output_and_its_count_beside(tmp_path: Path) -> None:
    with filled(tmp_path / "w"):
        pass
    command = [sys.executable, "-m", "seedbed", "-w", str(tmp_path / "w"), "export", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [tuple(one.values()) for one in json.loads(done.stdout)] == triples(ROWS)
    assert done.stderr.strip() == f"{len(ROWS)} rows"
    line = f"{' '.join(command)} --format csv | true"
    closed = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in closed.stderr


def test_texts_are_hard_to_write_down() -> None:
    """What the tests of all formats rest on: line ends of every kind, quotes, scripts, formulas, words of JSON."""
    together = "".join(text for one in TEXTS for text in one)
    assert all(mark in together for mark in ("\n", "\r\n", "\u2028", '"', "\\", "\t", "=", "</script>", "null"))
