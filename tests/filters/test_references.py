"""Reading references: one row is one item, and labels, answers and ids are none."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seedbed.core.errors import InputError, MissingFileError
from seedbed.filters.references import Item, read_reference, read_references


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_line_of_a_text_file_is_an_item(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("First question?\n\nSecond question?\n")
    found = read_reference(path)
    assert (found.name, found.items) == ("mine", (Item(1, "First question?"), Item(3, "Second question?")))


def test_every_text_field_of_unknown_json_lines_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [{"q": "Why?", "passage": "Because it rains so often here.", "score": 3}])
    assert [item.text for item in read_reference(path).items] == ["Why?", "Because it rains so often here."]


def test_short_ids_labels_and_answers_are_no_items(tmp_path: Path) -> None:
    row: dict[str, object] = {"id": "12", "label": "Fine", "answer": "B", "task_id": "x/1", "question": "Why?"}
    assert [item.text for item in read_reference(write(tmp_path / "own.jsonl", [row])).items] == ["Why?"]


def test_a_long_answer_is_an_item(tmp_path: Path) -> None:
    answer = "Because the river carries more water in spring."
    path = write(tmp_path / "own.jsonl", [{"question": "Why?", "answer": answer}])
    assert answer in [item.text for item in read_reference(path).items]


def test_a_short_value_in_many_rows_is_a_label(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"q": f"Question {number}?", "verdict": "good"} for number in range(11)]
    assert {item.text for item in read_reference(write(tmp_path / "own.jsonl", rows)).items} == {
        f"Question {number}?" for number in range(11)
    }


def test_named_fields_are_read_as_they_are_with_lists_entry_by_entry(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [{"turns": ["One?", "Two?"], "answer": "B", "note": "no"}])
    assert [item.text for item in read_reference(path, ("turns", "answer")).items] == ["One?", "Two?", "B"]


def test_a_field_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [{"question": "Why?"}])
    with pytest.raises(InputError, match=r'row 1 has no field "prompt"; its fields are question'):
        read_reference(path, ("prompt",))


def test_known_benchmarks_give_their_questions_only(tmp_path: Path) -> None:
    asked = "Where does it stand?\nChoices:\nA. here"
    path = write(tmp_path / "commonsense_qa.jsonl", [{"question": asked, "choices": ["here"], "answer": 0}])
    assert [item.text for item in read_reference(path).items] == ["Where does it stand?"]
    path = write(tmp_path / "mt_bench.jsonl", [{"turns": ["Compose.", "Rewrite."], "category": "writing"}])
    assert [item.text for item in read_reference(path).items] == ["Compose.", "Rewrite."]
    path = write(tmp_path / "mmlu-test.jsonl", [{"question": "How?", "choices": ["Fine"], "subject": "a long subject"}])
    assert [item.text for item in read_reference(path).items] == ["How?"]


def test_csv_json_gzip_and_parquet_are_read_alike(tmp_path: Path) -> None:
    rows = [{"question": "Why, then?"}, {"question": "How?"}]
    (tmp_path / "a.csv").write_text('question\n"Why, then?"\nHow?\n')
    (tmp_path / "b.json").write_text(json.dumps({"version": 1, "data": rows}))
    (tmp_path / "c.json").write_text(json.dumps([row["question"] for row in rows]))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    found = read_references(tmp_path)
    assert [one.name for one in found] == ["a", "b", "c", "d", "e"]
    assert all(one.items == (Item(1, "Why, then?"), Item(2, "How?")) for one in found)


def test_a_broken_line_is_an_error_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"q": "Why?"}\n{"q": \n')
    with pytest.raises(InputError, match=r"own\.jsonl: line 2 is not JSON"):
        read_reference(path)


@pytest.mark.parametrize("name", ["own.parquet", "own.jsonl.gz", "own.csv"])
def test_a_file_that_is_not_what_its_name_says_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xfe\x00 nothing of the kind")
    with pytest.raises(InputError, match=name):
        read_reference(path)


def test_a_file_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no text to compare with; its fields are score"):
        read_reference(write(tmp_path / "own.jsonl", [{"score": 1}]))


def test_a_missing_reference_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no reference"):
        read_references(tmp_path / "none")
