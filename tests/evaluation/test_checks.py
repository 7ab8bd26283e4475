"""Rows whose instructions a program checks."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.errors import ConfigError, InputError
from seedbed.evaluation.asking import Hashes
from seedbed.evaluation.checks import Check, Checked, follows
from seedbed.evaluation.run import evaluate
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.evaluation.tasks import HeldOutTask, read_set

NO_COMMA = Check(name="punctuation:no_comma")
LOWER = Check(name="change_case:english_lowercase")


def commas(prompt: str, checks: Sequence[Check], answer: str) -> Checked:
    """Stand for the package: each check wants no comma; loosely, commas of the first line do not count."""
    strict, loose = "," not in answer, "," not in answer.split("\n", 1)[-1]
    return Checked((strict,) * len(checks), (loose,) * len(checks))


def test_rows_with_checks_are_scored_strictly_and_reported_both_ways(
    spec: EvaluationSpec, tmp_path: Path, scripted: Callable[..., Any]
) -> None:
    tasks = tuple(
        HeldOutTask(
            id=str(number),
            task=str(number),
            category="following",
            instruction=f"Say {number}",
            checks=(NO_COMMA,) if number else (NO_COMMA, LOWER),
        )
        for number in range(4)
    )
    model = scripted(lambda is_on, question: "fine" if is_on and question.instruction != "Say 1" else "well,\nfine")
    report = evaluate(
        spec.model_copy(update={"tasks": tasks}), model, tmp_path / "out", hashes=Hashes("a", "b"), checker=commas
    )
    found = {one.arm: one for one in report.checks}
    # The adapter fails row 1 of four, so one of five checks; loosely its first line does not count.
    assert (found["adapter"].prompt_strict, found["adapter"].instruction_strict) == (0.75, 0.8)
    assert (found["adapter"].prompt_loose, found["adapter"].instruction_loose) == (1.0, 1.0)
    assert (found["base"].prompt_strict, found["base"].prompt_loose) == (0.0, 1.0)
    assert found["adapter"].intervals["instruction_strict"].n == 5
    assert report.differences[-1].mean == 0.75
    assert "## Instructions that a program checks" in (tmp_path / "out" / "report.md").read_text()


def test_a_row_of_a_set_carries_checks_or_references(tmp_path: Path) -> None:
    row: dict[str, Any] = {"task": "t", "category": "c", "definition": "Say it."}
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps({**row, "checks": [{"name": "punctuation:no_comma"}]}))
    (task,) = read_set(path, 10)
    assert task.checks == (NO_COMMA,)
    path.write_text(json.dumps(row))
    with pytest.raises(InputError, match=r"line 1: .*references, or checks"):
        list(read_set(path, 10))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.evaluation.checks.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"seedbed\[ifeval\]"):
        follows("Say it.", (NO_COMMA,), "fine")


def test_the_packages_checkers_are_asked() -> None:
    assert follows("Say it.", (NO_COMMA,), "a, b") == Checked((False,), (False,))
    assert follows("Say it.", (NO_COMMA,), "Sure, here:\na b") == Checked((False,), (True,))
    assert follows("Say it.", (NO_COMMA, NO_COMMA), "") == Checked((False, False), (False, False))
    words = Check(name="length_constraints:number_words", arguments={"num_words": 3, "relation": "at least"})
    assert follows("Say it.", (words,), "one two three").strict == (True,)
    assert follows("Say it.", (words,), "one two").strict == (False,)


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (Check(name="punctuation:none"), "no check punctuation:none"),
        (Check(name="punctuation:no_comma", arguments={"bogus": 1}), "arguments of a check of punctuation:no_comma"),
        (Check(name="length_constraints:number_words", arguments={"num_words": 3}), "needs a value for relation"),
    ],
)
def test_a_check_that_cannot_run_is_refused_when_its_set_is_read(tmp_path: Path, check: Check, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        follows("Say it.", (check,), "a")
    rows = [
        {"task": "t", "category": "c", "definition": "Say it.", "checks": [one.model_dump()]}
        for one in (NO_COMMA, check)
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"set\.jsonl line 2: .*{problem}"):
        list(read_set(path, 10))
