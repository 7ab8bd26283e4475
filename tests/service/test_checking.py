"""What is found out about rows before they are decided."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from seedbed.core.records import Candidate, Completion, Lineage, Request
from seedbed.generator.judging import Judge
from seedbed.prompts.library import PromptLibrary
from seedbed.service.checking import checker
from seedbed.service.generation import seeded_cascade
from seedbed.service.init import create_workspace
from seedbed.service.workspace import Workspace, open_workspace
from tests.generator.parts import completion, counting_ids

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    create_workspace(tmp_path / "w", base_url="http://unused/v1", model="m")
    return open_workspace(tmp_path / "w")


def row(category: str, instruction: str, input: str, output: str) -> Candidate:
    lineage = Lineage(recipe="alpaca")
    return Candidate.of(instruction, input, output, lineage=lineage, requested_category=category)


ROWS = (
    row("classification", 'Choose the mood of the line: "glad" or "sad".', "We won the cup!", "angry"),
    row("structured_output", "Write the order as a JSON object with its number.", "Order 7, two chairs", '{"order": 7'),
    row("brainstorming", "Suggest four names for a bakery by a canal.", "", "- Lock & Loaf\n- The Towpath Oven"),
)


async def test_formats_and_labels_are_graded_and_wrong_rows_refused_by_their_check(workspace: Workspace) -> None:
    found = await checker(workspace)(ROWS)
    assert [one.grades for one in found] == [{"check.labels": 0.0}, {"check.format": 0.0}, {}]
    assert [one.category for one in found] == ["classification", "structured_output", "brainstorming"]
    verdicts = seeded_cascade(workspace).decide(found)
    assert [one[-1].reason for one in verdicts] == ["wrong_labels", "wrong_format", ""]


async def test_only_rows_that_the_other_filters_would_accept_are_paid_to_be_marked(workspace: Workspace) -> None:
    asked: list[str] = []

    async def ask(request: Request) -> Completion:
        asked.append(request.messages[0].content)
        return completion(request, json.dumps({"fault": "none", "clarity": 5, "fit": 5, "correctness": 3}))

    async def worth(rows: Sequence[Candidate]) -> list[bool]:
        return seeded_cascade(workspace).would_pass(rows, without=("quality",))

    judge = Judge(ask, PromptLibrary(), counting_ids(), use_json_schema=True, books=None)
    found = await checker(workspace, judge, worth)(ROWS)
    assert len(asked) == 1
    assert "Suggest four names for a bakery" in asked[0]
    assert [one.grades.get("judge.correctness") for one in found] == [None, None, 3.0]
