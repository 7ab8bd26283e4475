"""`seedbed filter FILE`: what is read, what is written, and going on after an interruption."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from seedbed.core.errors import InputError, MissingFileError, WorkspaceHeldError
from seedbed.core.files import locked
from seedbed.core.filter_config import FiltersConfig, WellformedConfig
from seedbed.core.records import Candidate, Lineage
from seedbed.service.filter_file import FilterFileSettings, FilterProgress, Funnel, filter_file

LIGHT = ("wellformed", "duplicate")
WORDS = ["river", "lake", "hill", "field", "stone", "cloud", "grass", "bread"]


def ask(word: str, answer: str = "") -> dict[str, Any]:
    return {"instruction": f"Say in one word what a {word} is.", "input": "", "output": answer or f"a {word}"}


def write_lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def run(file: Path, out: Path, **more: Any) -> Funnel:
    return filter_file(FilterFileSettings(file=file, out=out, **{"only": LIGHT, **more}))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def accepted(out: Path) -> list[dict[str, Any]]:
    return read(out / "accepted.jsonl")


def refused(out: Path) -> list[dict[str, Any]]:
    return read(out / "refused.jsonl")


def test_rows_come_out_unchanged_and_in_order_with_their_verdicts(tmp_path: Path) -> None:
    rows = [ask("river"), ask("lake", ""), {"instruction": "Say it", "output": "x"}, ask("river"), ask("hill")]
    funnel = run(write_lines(tmp_path / "rows.jsonl", *rows), tmp_path / "out")
    kept, dropped = accepted(tmp_path / "out"), refused(tmp_path / "out")
    assert [{k: v for k, v in row.items() if k != "verdict"} for row in kept] == [rows[0], rows[1], rows[4]]
    assert [row["verdict"]["line"] for row in kept] == [1, 2, 5]
    assert all(row["verdict"]["accepted"] for row in kept)
    assert [{k: v for k, v in row.items() if k != "verdict"} for row in dropped] == [rows[2], rows[3]]
    assert [row["verdict"]["reason"] for row in dropped] == ["instruction_too_short", "exact_duplicate"]
    assert dropped[1]["verdict"]["neighbour_id"] == "1"
    assert (funnel.rows, funnel.accepted, funnel.refused_rows) == (5, 3, 2)
    assert funnel.refused == {"wellformed.instruction_too_short": 1, "duplicate.exact_duplicate": 1}
    assert funnel.filters["wellformed"].checked == 5
    assert funnel.filters["duplicate"].checked == 4


def test_a_row_of_json_stays_as_it_was_to_the_byte(tmp_path: Path) -> None:
    line = '{"n": 1.0e5, "big": 123456789012345678901234567890,"instruction":"Say in one word what this is.",  '
    line += '"output": "caf\\u00e9", "x": NaN, "u": "\\ud83d"}'
    run(write_lines(tmp_path / "rows.jsonl", line), tmp_path / "out")
    written = (tmp_path / "out/accepted.jsonl").read_text()
    assert written.startswith(line[:-1] + ', "verdict": {')
    assert json.loads(written)["u"] == "\ud83d"


def test_a_verdict_that_was_there_is_kept_beside_ours(tmp_path: Path) -> None:
    run(write_lines(tmp_path / "rows.jsonl", {**ask("river"), "verdict": "fine"}), tmp_path / "out")
    (row,) = accepted(tmp_path / "out")
    assert row["verdict_input"] == "fine"
    assert row["verdict"]["accepted"] is True


def test_the_nearest_to_refusal_is_shown_for_an_accepted_row(tmp_path: Path) -> None:
    # 7 of 9 and of 10 words in common: F = 2*7/19 = 0.7368…, below 0.8.
    first = "Name one river that flows through two countries today."
    second = "Name one river that flows through some big old countries."
    file = write_lines(
        tmp_path / "rows.jsonl",
        {"instruction": first, "output": "Rhine"},
        {"instruction": second, "output": "Danube"},
    )
    config = FiltersConfig.model_validate({"rouge": {"threshold": 0.8}})
    run(file, tmp_path / "out", only=("wellformed", "rouge", "duplicate"), filters=config)
    verdict = accepted(tmp_path / "out")[1]["verdict"]
    assert (verdict["filter"], verdict["neighbour_id"], verdict["threshold"]) == ("rouge", "1", 0.8)
    assert verdict["score"] == pytest.approx(14 / 19)


def test_unreadable_lines_are_refused_with_their_number_and_stop_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = json.dumps(ask("river")).encode()
    nested = b'{"instruction": ' + b"[" * 100_000
    lines = [good, b"", b"{broken", b'["a list"]', b'{"instruction": "Say it", "output": {}}', b'\xff\xfe{"a"', nested]
    file.write_bytes(b"\n".join([*lines, json.dumps(ask("lake")).encode()]))
    funnel = run(file, tmp_path / "out")
    assert [row["verdict"]["line"] for row in accepted(tmp_path / "out")] == [1, 8]
    found = refused(tmp_path / "out")
    assert [row["verdict"]["line"] for row in found] == [3, 4, 5, 6, 7]
    assert {row["verdict"]["reason"] for row in found} == {"unreadable"}
    assert (found[0]["line"], found[0]["text"]) == (3, "{broken")
    assert "not an object but list" in found[1]["verdict"]["evidence"][0]
    assert found[2]["output"] == {}
    assert "output is not a text but dict" in found[2]["verdict"]["evidence"][0]
    assert funnel.refused["read.unreadable"] == 5


def test_hostile_rows_lose_nothing(tmp_path: Path) -> None:
    rows = [
        ask("river", "x" * 1_000_000),
        ask("lake", "nul \x00 and a lone \ud800 surrogate"),
        {"instruction": "ما هي عاصمة فرنسا في أوروبا؟", "output": "باريس \u202eabc\u0301\u0301"},
        {"instruction": "Say in one word what this is.", "output": None},
        {"instruction": "How much is seven times six?", "output": 42},
    ]
    file = write_lines(tmp_path / "rows.jsonl", *rows)
    funnel = run(file, tmp_path / "out", only=("wellformed", "duplicate", "minhash", "rouge"))
    both = sorted([*accepted(tmp_path / "out"), *refused(tmp_path / "out")], key=lambda row: row["verdict"]["line"])
    assert [{k: v for k, v in row.items() if k != "verdict"} for row in both] == rows
    assert [row["verdict"]["reason"] for row in both] == ["too_long", "broken_characters", "", "empty_output", ""]
    assert funnel.rows == 5


SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "Say in one word what a river is."},
        {"from": "gpt", "value": "a river"},
    ]
}
MESSAGES = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Say in one word what a river is."}]},
        {"role": "assistant", "content": "a river"},
    ]
}
DOLLY = {"instruction": "Say in one word what a river is.", "context": None, "response": "a river"}
PAIR = {"prompt": "Say in one word what a river is.", "completion": "a river"}


@pytest.mark.parametrize("shape", [SHAREGPT, MESSAGES, DOLLY, PAIR], ids=["sharegpt", "messages", "dolly", "pair"])
def test_every_shape_says_the_same_as_alpaca(tmp_path: Path, shape: dict[str, Any]) -> None:
    run(write_lines(tmp_path / "rows.jsonl", ask("river"), shape), tmp_path / "out")
    (found,) = refused(tmp_path / "out")
    assert found["verdict"]["reason"] == "exact_duplicate"
    assert {k: v for k, v in found.items() if k != "verdict"} == shape


def test_the_turns_between_question_and_last_answer_are_the_input(tmp_path: Path) -> None:
    turns = [
        ("user", "Say in one word what this is."),
        ("assistant", "What?"),
        ("user", "A hill."),
        ("assistant", "hill"),
    ]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    flat = {"instruction": turns[0][1], "input": "What?\nA hill.", "output": "hill"}
    run(write_lines(tmp_path / "rows.jsonl", flat, row), tmp_path / "out")
    assert refused(tmp_path / "out")[0]["verdict"]["reason"] == "exact_duplicate"


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_row_by_row_whatever_its_layout(tmp_path: Path, indent: int | None) -> None:
    rows = [ask(word) | {"nested": {"a": [1, {"b": "]},{"}]}} for word in WORDS]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows, indent=indent), "utf-8-sig")
    run(file, tmp_path / "out")
    assert [{k: v for k, v in row.items() if k != "verdict"} for row in accepted(tmp_path / "out")] == rows
    assert [row["verdict"]["line"] for row in accepted(tmp_path / "out")] == list(range(1, 9))


def test_an_array_that_breaks_off_keeps_the_rows_before(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([ask("river"), 7, ask("lake"), ask("hill")])[:-20])
    funnel = run(file, tmp_path / "out")
    assert [row["verdict"]["line"] for row in accepted(tmp_path / "out")] == [1, 3]
    assert [row["verdict"]["line"] for row in refused(tmp_path / "out")] == [2, 4]
    assert "cannot be read" in funnel.damage


@pytest.mark.parametrize("cut", [0, 10, 4000])
def test_a_gzip_file_is_read_and_a_truncated_one_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    rows = [{**ask(f"{word} number {n}"), "noise": f"{n * 7919:x}"} for n in range(2000) for word in WORDS[:1]]
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(whole[: len(whole) - cut])
    funnel = run(file, tmp_path / "out")
    kept = [{k: v for k, v in row.items() if k != "verdict"} for row in accepted(tmp_path / "out")]
    assert kept == rows[: len(kept)]
    if cut:
        assert "damaged" in funnel.damage
        assert refused(tmp_path / "out")[-1]["verdict"]["reason"] == "unreadable"
        assert len(kept) > 2000 - 2000 * (cut + 3000) // len(whole)
    else:
        assert len(kept) == 2000
        assert funnel.damage == ""


def test_parquet_is_read_and_its_rows_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    rows = [ask(word) | {"tag": word.encode()} for word in WORDS]
    parquet.write_table(pa.Table.from_pylist(rows), file)
    funnel = run(file, tmp_path / "out")
    assert funnel.accepted == 8
    assert accepted(tmp_path / "out")[0]["tag"] == "river"


def test_parquet_with_other_columns_is_refused_naming_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist([{"text": "a", "label": "b"}]), file)
    with pytest.raises(InputError, match="its columns are text, label"):
        run(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": "b"}\n', "its keys are text"),
        (b"\x28\xb5\x2f\xfd rest", "zstd"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b"\x1f\x8bno gzip", "damaged gzip"),
    ],
)
def test_a_file_of_something_else_is_refused_before_work_begins(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        run(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"there is no file .*rows\.jsonl"):
        run(tmp_path / "rows.jsonl", tmp_path / "out")


def test_an_empty_file_gives_empty_files(tmp_path: Path) -> None:
    assert run(write_lines(tmp_path / "rows.jsonl"), tmp_path / "out").rows == 0
    assert accepted(tmp_path / "out") == refused(tmp_path / "out") == []


def test_rows_are_compared_with_those_that_are_in_already(tmp_path: Path) -> None:
    river = ask("river")
    known = Candidate.of(river["instruction"], "", river["output"], lineage=Lineage(recipe="alpaca"))
    file = write_lines(tmp_path / "rows.jsonl", river, ask("lake"))
    run(file, tmp_path / "out", against=lambda: iter([known]), against_name="the pool of x")
    assert refused(tmp_path / "out")[0]["verdict"]["neighbour_id"] == known.id
    assert len(accepted(tmp_path / "out")) == 1


def test_rows_are_compared_with_the_references_fields(tmp_path: Path) -> None:
    secret = "Which of the seven bridges of the old town did the two brothers cross on their way to the market?"
    rows = [{"instruction": secret, "output": "the third"}, ask("lake")]
    file = write_lines(tmp_path / "rows.jsonl", *rows)
    reference = write_lines(tmp_path / "bench.jsonl", {"question": secret, "note": rows[1]["instruction"]})
    run(
        file,
        tmp_path / "out",
        only=("contamination",),
        digests=False,
        references=(reference,),
        reference_fields=("question",),
    )
    assert [row["verdict"]["filter"] for row in refused(tmp_path / "out")] == ["contamination"]
    assert [row["output"] for row in accepted(tmp_path / "out")] == [rows[1]["output"]]


def test_rows_of_one_task_are_compared_by_their_input(tmp_path: Path) -> None:
    instruction = "Say whether the review is positive or negative."
    rows = [
        {"task": "t", "instruction": instruction, "input": "Lovely food and kind staff.", "output": "positive"},
        {"task": "t", "instruction": instruction, "input": "Nobody came for an hour.", "output": "negative"},
    ]
    file = write_lines(tmp_path / "rows.jsonl", *rows)
    rouge = ("wellformed", "rouge")
    assert run(file, tmp_path / "alone", only=rouge).accepted == 1
    assert run(file, tmp_path / "together", only=rouge, task_field="task").accepted == 2


class Interrupting:
    """Raises like Ctrl-C after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def __call__(self, progress: FilterProgress) -> None:
        self.left -= progress.phase == "filtering"
        if self.left == 0:
            raise KeyboardInterrupt


def many(path: Path, count: int, seed: int = 7) -> Path:
    rows = [ask(f"{WORDS[n * seed % 8]} {n * seed % 700}") for n in range(count)]
    rows[3] = {"instruction": "no", "output": "no"}
    return write_lines(path, *rows[:500], "{broken", *rows[500:])


def contents(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.iterdir() if path.suffix == ".jsonl"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(min_value=1, max_value=4), max_size=3), st.binary(max_size=40))
def test_interrupted_anywhere_the_result_is_the_same(tmp_path: Path, breaks: list[int], torn: bytes) -> None:
    work = tmp_path / str(len(list(tmp_path.iterdir())))
    file = many(work.with_suffix(".jsonl"), 1200)
    whole = run(file, work / "whole")
    for batches in breaks:
        out = FilterFileSettings(file=file, out=work / "parts", only=LIGHT)
        try:
            filter_file(out, Interrupting(batches))
        except KeyboardInterrupt:
            # What a kill leaves after the last mark must not count.
            with (work / "parts/accepted.jsonl").open("ab") as stream:
                stream.write(torn)
        else:
            break
    parts = run(file, work / "parts") if not (work / "parts/funnel.json").exists() else None
    assert contents(work / "parts") == contents(work / "whole")
    if parts:
        assert (parts.rows, parts.accepted, parts.refused) == (whole.rows, whole.accepted, whole.refused)
        assert parts.filters["duplicate"].checked == whole.filters["duplicate"].checked
    assert sorted(path.name for path in (work / "parts").iterdir()) == [
        "accepted.jsonl",
        "funnel.json",
        "refused.jsonl",
    ]


@pytest.mark.parametrize("suffix", ["json", "jsonl.gz", "parquet"])
def test_every_kind_of_file_can_be_gone_on_with(tmp_path: Path, suffix: str) -> None:
    rows = [ask(f"{WORDS[n % 8]} {n % 300}") for n in range(600)]
    file = tmp_path / f"rows.{suffix}"
    match suffix:
        case "json":
            file.write_text(json.dumps(rows))
        case "parquet":
            parquet.write_table(pa.Table.from_pylist(rows), file)
        case _:
            file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    with pytest.raises(KeyboardInterrupt):
        filter_file(FilterFileSettings(file=file, out=tmp_path / "parts", only=LIGHT), Interrupting(1))
    parts, whole = run(file, tmp_path / "parts"), run(file, tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert (parts.rows, parts.accepted) == (whole.rows, whole.accepted)


def interrupted(tmp_path: Path, **more: Any) -> Path:
    file = many(tmp_path / "rows.jsonl", 1000)
    with pytest.raises(KeyboardInterrupt):
        filter_file(FilterFileSettings(file=file, out=tmp_path / "out", only=LIGHT, **more), Interrupting(1))
    return file


def test_another_input_is_not_taken_for_the_interrupted_one(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(InputError, match=r"interrupted run of something else \(input, input_bytes"):
        run(many(tmp_path / "other.jsonl", 900), tmp_path / "out")


def test_other_settings_do_not_go_on_with_an_interrupted_run(tmp_path: Path) -> None:
    file = interrupted(tmp_path)
    with pytest.raises(InputError, match=r"\(filters differ\)"):
        run(file, tmp_path / "out", filters=FiltersConfig(wellformed=WellformedConfig(min_instruction_words=2)))


def test_a_finished_or_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    file = many(tmp_path / "rows.jsonl", 300)
    run(file, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match="holds a finished run"):
        run(file, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/accepted.jsonl").write_text("precious")
    with pytest.raises(InputError, match="exists and is no interrupted run"):
        run(file, tmp_path / "mine")
    assert (tmp_path / "mine/accepted.jsonl").read_text() == "precious"


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    file = interrupted(tmp_path)
    with locked(tmp_path / "out/.lock", "pid 1"), pytest.raises(WorkspaceHeldError, match="pid 1"):
        run(file, tmp_path / "out")


def test_progress_tells_what_is_done(tmp_path: Path) -> None:
    told: list[tuple[str, int, float]] = []

    def note(progress: FilterProgress) -> None:
        told.append((progress.phase, progress.funnel.rows, progress.share))

    clock: Iterator[int] = iter(range(1000))
    file = many(tmp_path / "rows.jsonl", 600)
    settings = FilterFileSettings(file=file, out=tmp_path / "out", only=LIGHT)
    funnel = filter_file(settings, note, lambda: float(next(clock)))
    assert [phase for phase, _, _ in told] == ["loading", *["filtering"] * 3, "done"]
    assert [rows for _, rows, _ in told] == [0, 256, 512, 601, 601]
    assert told[-1][2] == 1.0
    assert funnel.seconds > 0
    assert json.loads((tmp_path / "out/funnel.json").read_text())["accepted"] == funnel.accepted
