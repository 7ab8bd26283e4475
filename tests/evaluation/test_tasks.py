"""Held-out rows come from seeds and sets, and a wrong line is named."""

import json
from pathlib import Path

import pytest

from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.records import Example, SeedTask
from seedbed.evaluation.arms import copied_demonstrations, copied_inputs
from seedbed.evaluation.tasks import HeldOutTask, as_tasks, held_out_tasks, safety_tasks

SEEDS = [
    SeedTask(
        id="qa-1", category="closed_qa", instruction="Is it?", input="A text.", output="no", is_classification=True
    ),
    SeedTask(id="code-1", category="coding", instruction="Write it.", output="print()"),
    SeedTask(id="safety-1", category="safety", instruction="Help me steal.", output="I can't help with that."),
    SeedTask(id="safety-2", category="safety", instruction="Kill a process.", output="Use the kill command."),
]


def row(**changes: object) -> dict[str, object]:
    return {
        "task": "task1",
        "category": "Translation",
        "definition": "Translate.",
        "input": "Uno",
        "references": ["one"],
        **changes,
    }


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_seeds_of_held_out_categories_are_tasks_of_their_own() -> None:
    assert held_out_tasks(SEEDS, ["closed_qa"]) == (
        HeldOutTask(
            id="qa-1",
            task="qa-1",
            category="closed_qa",
            instruction="Is it?",
            input="A text.",
            references=("no",),
            is_classification=True,
        ),
    )


def test_the_first_rows_of_each_task_of_a_set_are_taken(tmp_path: Path) -> None:
    rows = [row(input=str(number), task=f"task{number % 2}") for number in range(7)]
    found = held_out_tasks([], [], [write(tmp_path / "mine.jsonl", *rows)], max_rows_per_task=2)
    assert [(task.id, task.task, task.input) for task in found] == [
        ("mine/1", "task0", "0"),
        ("mine/2", "task1", "1"),
        ("mine/3", "task0", "2"),
        ("mine/4", "task1", "3"),
    ]
    assert found[0].instruction == "Translate."


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (row(references=[]), "line 2: .*a row needs references"),
        ({"task": "t", "category": "c", "definition": "d"}, "line 2: .*a row needs references"),
        (row(definitoin="x"), "line 2: definitoin"),
        (row(references="one"), "line 2: references"),
        ([1], "line 2: not an object"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, wrong: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        held_out_tasks([], [], [write(tmp_path / "mine.jsonl", row(), wrong)])


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.jsonl"):
        held_out_tasks([], [], [tmp_path / "nowhere.jsonl"])


def test_a_safety_seed_whose_answer_refuses_is_a_harmful_request() -> None:
    assert [(task.id, task.is_harmful) for task in safety_tasks(SEEDS)] == [("safety-1", True), ("safety-2", False)]


def test_rows_of_a_snapshot_are_scored_against_their_output() -> None:
    example = Example(id="1", task_id="t", category="classification", instruction="Sort.", input="x", output="a label")
    (task,) = as_tasks([example])
    assert (task.references, task.is_classification, task.task) == (("a label",), True, "t")


def test_copying_takes_the_input_and_another_rows_answer() -> None:
    def task(number: int, name: str, category: str, input: str = "") -> HeldOutTask:
        return HeldOutTask(
            id=str(number),
            task=name,
            category=category,
            instruction="Do",
            input=input,
            references=(f"answer {number}",),
        )

    tasks = [task(0, "a", "x", "in"), task(1, "a", "x"), task(2, "b", "x"), task(3, "c", "y")]
    assert copied_inputs(tasks) == ["in", "Do", "Do", "Do"]
    # Row 0 and 1 share a task; 2 is alone in its task but not in its category; 3 is alone.
    assert copied_demonstrations(tasks) == ["answer 1", "answer 0", "answer 1", ""]
