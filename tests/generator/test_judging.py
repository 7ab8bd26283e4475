"""A judge's marks on rows."""

import json

import pytest

from seedbed.core.errors import EndpointTimeoutError
from seedbed.core.records import Candidate, Completion, Lineage, Request
from seedbed.generator.judging import Judge, read_marks
from seedbed.prompts.library import PromptLibrary
from tests.generator.parts import Workbench, completion, counting_ids

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def row(number: int) -> Candidate:
    return Candidate.of(f"Say {number}.", "", str(number), lineage=Lineage(recipe="alpaca"), requested_category="qa")


def marks(clarity: object = 5, fit: object = 5, correctness: object = 5) -> str:
    return json.dumps({"fault": "none", "clarity": clarity, "fit": fit, "correctness": correctness})


async def test_marks_are_put_on_the_row_they_are_for_and_all_that_was_asked_is_written_down() -> None:
    bench = Workbench(lambda request: marks(correctness=2) if "Say 1." in request.messages[0].content else marks())

    async def ask(request: Request) -> Completion:
        return completion(request, bench.answer(request))

    judge = Judge(ask, PromptLibrary(), counting_ids(), use_json_schema=True, books=None)
    rows = await judge.graded([row(0), row(1), row(2)])
    assert [one.grades["judge.correctness"] for one in rows] == [5, 2, 5]
    assert [one.id for one in rows] == [row(number).id for number in range(3)]


async def test_the_judge_is_asked_at_temperature_0_with_the_row_and_the_rubric() -> None:
    asked: list[Request] = []

    async def ask(request: Request) -> Completion:
        asked.append(request)
        return completion(request, marks())

    judge = Judge(ask, PromptLibrary(), counting_ids(), use_json_schema=True, books=None)
    await judge.graded([row(7)])
    (request,) = asked
    assert request.sampling.temperature == 0
    assert request.sampling.json_schema is not None
    assert request.purpose == "judge"
    assert "Instruction: Say 7.\nInput: (none)\nOutput: 7\n" in request.messages[0].content
    assert request.prompt_sha256 == PromptLibrary().get("judging/row").sha256


async def test_a_row_that_the_judge_failed_on_stays_without_marks() -> None:
    async def ask(request: Request) -> Completion:
        if "Say 1." in request.messages[0].content:
            raise EndpointTimeoutError("too late")
        return completion(request, "I like it" if "Say 2." in request.messages[0].content else marks())

    judge = Judge(ask, PromptLibrary(), counting_ids(), use_json_schema=False, books=None)
    rows = await judge.graded([row(0), row(1), row(2)])
    assert [bool(one.grades) for one in rows] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (marks(4, 3, 2), {"clarity": 4.0, "fit": 3.0, "correctness": 2.0}),
        (f"Here you are:\n```json\n{marks(1, 1, 1)}\n```", {"clarity": 1.0, "fit": 1.0, "correctness": 1.0}),
        (f"{marks(1, 1, 1)} no, rather {marks(2, 2, 2)}", {"clarity": 2.0, "fit": 2.0, "correctness": 2.0}),
        (marks(6), None),
        (marks(0), None),
        (marks(True), None),
        (marks("5"), None),
        (marks(4.5), None),
        ('{"clarity": 5, "fit": 5}', None),
        ("{" * 10_000, None),
        ("", None),
    ],
)
def test_marks_are_read_or_they_are_none(text: str, found: dict[str, float] | None) -> None:
    assert read_marks(text) == found
