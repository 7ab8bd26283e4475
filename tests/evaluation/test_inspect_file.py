"""The held-out tasks as a task of inspect-ai."""

import ast
import json
import os
from pathlib import Path

import anyio
import pytest

from seedbed.endpoints.scripted_server import serve_scripted
from seedbed.evaluation.checks import Check
from seedbed.evaluation.inspect_file import ROWS, TASK, write_inspect
from seedbed.evaluation.tasks import HeldOutTask

PYTHON = os.environ.get("INSPECT_PYTHON", "")


def task(number: int, category: str, **fields: object) -> HeldOutTask:
    values = {"id": f"row/{number}", "task": f"task {number % 3}", "category": category, "instruction": "Say it."}
    return HeldOutTask.model_validate(values | fields)


TASKS = (
    task(0, "labels", references=("Fine, thanks!",)),
    task(1, "labels", references=("yes",), is_classification=True, input="Is it?"),
    task(2, "checked", checks=(Check(name="change_case:english_lowercase"),)),
    task(3, "checked", checks=(Check(name="punctuation:no_comma"),)),
)


def test_rows_and_a_module_that_parses_are_written(tmp_path: Path) -> None:
    write_inspect(TASKS, tmp_path / "inspect", 77)
    rows = [json.loads(line) for line in (tmp_path / "inspect" / ROWS).read_text().splitlines()]
    assert [HeldOutTask.model_validate(row) for row in rows] == list(TASKS)
    source = (tmp_path / "inspect" / TASK).read_text()
    names = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert {"held_out", "as_seedbed", "sample"} <= names
    assert "max_tokens=77" in source


@pytest.mark.manual
@pytest.mark.skipif(not PYTHON, reason="INSPECT_PYTHON names no interpreter with seedbed and inspect-ai")
def test_inspect_runs_it_and_scores_as_seedbed_does(tmp_path: Path) -> None:
    """Every answer is "fine, thanks": one of two labels is right, and one of two checks holds."""
    write_inspect(TASKS, tmp_path / "inspect", 16)
    command = [PYTHON, "-m", "inspect_ai", "eval", TASK]
    command += ["--model", "openai-api/local/scripted", "--log-dir", str(tmp_path / "logs"), "--log-format", "json"]

    async def main() -> None:
        async with serve_scripted(lambda _: "fine, thanks", model="scripted") as url:
            environment = {**os.environ, "LOCAL_BASE_URL": url, "LOCAL_API_KEY": "none"}
            await anyio.run_process([*command, "--display", "none"], env=environment, cwd=tmp_path / "inspect")

    anyio.run(main)
    (found,) = (tmp_path / "logs").glob("*.json")
    (scores,) = json.loads(found.read_text())["results"]["scores"]
    values = {name: metric["value"] for name, metric in scores["metrics"].items()}
    assert (values["mean"], values["labels"], values["checked"]) == (0.5, 0.5, 0.5)
    assert values["stderr"] > 0
