import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import ConfigError, InputError, MissingFileError
from seedbed.core.records import SeedTask
from seedbed.seeds.load import Categories, SeedProblem, check_seed_tasks, load_categories, load_seed_tasks

CATEGORIES = """
[categories.coding]
share = 0.4
description = "Code."
[categories.open_qa]
share = 0.6
[categories.translation]
held_out = true
"""


def _task(**changes: Any) -> dict[str, Any]:
    task = {"id": "coding-001", "category": "coding", "instruction": "Print one.", "input": "", "output": "print(1)"}
    return {**task, **changes}


def _seed_file(folder: Path, *lines: Any) -> Path:
    path = folder / "seed_tasks.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def _category_file(folder: Path, content: str) -> Path:
    path = folder / "categories.toml"
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def categories(tmp_path: Path) -> Categories:
    return load_categories(_category_file(tmp_path, CATEGORIES))


def test_categories_tell_trained_from_held_out(categories: Categories) -> None:
    assert categories.names == ("coding", "open_qa", "translation")
    assert [category.name for category in categories.held_out] == ["translation"]
    assert categories.shares() == {"coding": 0.4, "open_qa": 0.6}
    assert categories.all[0].description == "Code."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[categories.a]\nshare = 0.5\n", "add up to 1, they make 0.5"),
        ("[categories.a]\nshare = 1.5\n", "category a: share must be a number from 0 to 1, not 1.5"),
        ("[categories.a]\nshare = true\n", "share must be a number from 0 to 1, not True"),
        ("[categories.a]\nshare = 1\nheld = 1\n", 'category a has an unknown key "held"; did you mean "held_out"?'),
        ("[categories.a]\nshare = 1\nheld_out = true\n", "category a is held out, so it has no share"),
        ("[categories.a]\nheld_out = 1\n", "held_out must be true or false, not 1"),
        ("[categories.a]\nshare = 1\ndescription = 3\n", "description must be text, not 3"),
        ("[categories.a]\n", "category a needs a share, or held_out = true"),
        ("[categories.A-b]\nshare = 1\n", "category A-b: a name is lower-case letters"),
        ("[categories]\na = 1\n", r"category a must be a table \[categories.a\], not 1"),
        ("[kinds.a]\nshare = 1\n", r"must hold tables \[categories.NAME\]"),
        ("[categories\n", "is not TOML"),
    ],
)
def test_a_wrong_category_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = _category_file(tmp_path, content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_categories(path)
    assert str(path) in str(caught.value)


def test_a_category_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no category file"):
        load_categories(tmp_path / "categories.toml")


def test_a_good_seed_file_is_read_in_its_order(tmp_path: Path, categories: Categories) -> None:
    second = _task(id="b", category="open_qa", output="two", is_classification=True, difficulty="hard")
    path = _seed_file(tmp_path, _task(), "", second)
    assert load_seed_tasks(path, categories) == (SeedTask(**_task()), SeedTask(**second))


def test_input_classification_and_difficulty_may_be_left_out(tmp_path: Path) -> None:
    task = _task()
    del task["input"]
    (loaded,) = load_seed_tasks(_seed_file(tmp_path, task))
    assert (loaded.input, loaded.is_classification, loaded.difficulty) == ("", False, "medium")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object but list"),
        ({"id": "a", "category": "coding", "output": "x"}, "instruction is missing"),
        (_task(output=""), "output is empty"),
        (_task(instruction=" \n"), "instruction is empty"),
        (_task(output=3), "output must be text, not a number"),
        (_task(input=None), "input must be text, not null"),
        (_task(instruction=["a"]), "instruction must be text, not a list"),
        (_task(output="\ud83d"), "output holds half a character"),
        (_task(category="codng"), 'category "codng" is unknown; did you mean "coding"?'),
        (_task(is_classification="yes"), "is_classification must be true or false, not 'yes'"),
        (_task(difficulty="tough"), "difficulty must be one of easy, medium, hard, not 'tough'"),
        (_task(outputs="x"), 'unknown field "outputs"; did you mean "output"?'),
    ],
)
def test_a_wrong_line_says_what_is_wrong(tmp_path: Path, categories: Categories, line: Any, problem: str) -> None:
    good = _task(id="good", output="other")
    (found,) = check_seed_tasks(_seed_file(tmp_path, good, line), categories)
    assert found.line == 2
    assert problem in found.problem


def test_every_problem_is_found_by_its_line(tmp_path: Path, categories: Categories) -> None:
    path = _seed_file(tmp_path, _task(output=""), "nonsense", _task(id="", category="x"), _task(id="d", output="x"))
    assert [problem.line for problem in check_seed_tasks(path, categories)] == [1, 2, 3, 3]


def test_an_id_given_twice_names_the_first_line(tmp_path: Path) -> None:
    path = _seed_file(tmp_path, _task(), _task(instruction="Print two."))
    assert check_seed_tasks(path, None) == [SeedProblem(2, 'id "coding-001" was given on line 1')]


def test_a_triple_that_stands_twice_names_the_first_line(tmp_path: Path) -> None:
    path = _seed_file(tmp_path, _task(), "", _task(id="b", output="print(1)\r\n"))
    assert check_seed_tasks(path, None) == [SeedProblem(3, "the same instruction, input and output stand on line 1")]


def test_without_categories_any_category_passes(tmp_path: Path) -> None:
    assert check_seed_tasks(_seed_file(tmp_path, _task(category="knitting")), None) == []


def test_an_empty_seed_file_is_a_problem(tmp_path: Path) -> None:
    path = _seed_file(tmp_path)
    assert check_seed_tasks(path, None) == [SeedProblem(0, "there are no seed tasks in it")]
    with pytest.raises(InputError, match=r"seed_tasks.jsonl: there are no seed tasks"):
        load_seed_tasks(path)


def test_loading_names_file_and_line_and_how_many_more(tmp_path: Path) -> None:
    task = _task()
    del task["instruction"]
    path = _seed_file(tmp_path, _task(), task, _task(id="c", output=""))
    with pytest.raises(InputError) as caught:
        load_seed_tasks(path)
    # The second line repeats the id of the first, so two problems follow the one that is named.
    assert str(caught.value) == f"{path} line 2: instruction is missing (and 2 more problems)"


FIELDS = ("id", "category", "instruction", "input", "output", "is_classification", "difficulty", "note")
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.just("easy")


@given(lines=st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES) | VALUES | st.builds(_task, output=VALUES)))
def test_a_file_loads_exactly_when_nothing_is_wrong_with_it(lines: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _seed_file(Path(folder), *lines)
        if check_seed_tasks(path, None):
            with pytest.raises(InputError):
                load_seed_tasks(path)
        else:
            assert [task.output for task in load_seed_tasks(path)] == [line["output"] for line in lines]


def test_a_seed_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_seed_tasks(tmp_path / "none.jsonl")
