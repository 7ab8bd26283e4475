"""Letting a model mark rows: clarity of the instruction, fit of the input, correctness of the output, each 1 to 5.

The judge is asked at temperature 0, so that its answers are stored and a row that comes again costs nothing.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import anyio

from seedbed.core.errors import EndpointError, SeedbedError
from seedbed.core.records import Candidate, Completion, Message, Request, Sampling
from seedbed.generator.recipe import Ask
from seedbed.prompts.library import PromptLibrary

ASPECTS = ("clarity", "fit", "correctness")
TEMPLATE = "judging/row"
MAX_TOKENS = 128
LEAST, MOST = 1, 5

_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)


class Books(Protocol):
    """Where what is asked and answered is written down, as in the engine's ledger."""

    async def asked(self, request: Request) -> None: ...

    async def answered(self, completion: Completion) -> None: ...

    async def failed(self, request: Request, error: SeedbedError) -> None: ...

    async def unreadable(self, request: Request, reason: str, text: str) -> None: ...


class Judge:
    """Marks rows by asking an endpoint."""

    def __init__(
        self, ask: Ask, prompts: PromptLibrary, new_id: Callable[[], str], *, use_json_schema: bool, books: Books | None
    ) -> None:
        """Take what is asked, and how; `books` of None writes nothing down."""
        self._ask, self._template, self._new_id = ask, prompts.get(TEMPLATE), new_id
        self._schema = marks_schema() if use_json_schema else None
        self._books = books

    async def graded(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return rows with their marks (`judge.clarity` and so on), all asked at once.

        A row whose marks did not come or could not be read stays without; the filter `quality` refuses it as such.
        """
        marks: list[dict[str, float]] = [{} for _ in candidates]

        async def one(place: int) -> None:
            marks[place] = await self._marks(candidates[place])

        async with anyio.create_task_group() as group:
            for place in range(len(candidates)):
                group.start_soon(one, place)
        return [
            row.model_copy(update={"grades": {**row.grades, **found}}) if found else row
            for row, found in zip(candidates, marks, strict=True)
        ]

    async def _marks(self, row: Candidate) -> dict[str, float]:
        request = self._request(row)
        completion = await answered(request, self._ask, self._books)
        if completion is None:
            return {}
        marks = read_marks(completion.text)
        if marks is None:
            if self._books:
                await self._books.unreadable(request, "no_marks", completion.text)
            return {}
        return {f"judge.{aspect}": mark for aspect, mark in marks.items()}

    def _request(self, row: Candidate) -> Request:
        text = self._template.render(instruction=row.instruction, input=row.input, output=row.output)
        return Request(
            id=self._new_id(),
            purpose="judge",
            messages=(Message(role="user", content=text),),
            sampling=Sampling(temperature=0, max_tokens=MAX_TOKENS, json_schema=self._schema),
            prompt_sha256=self._template.sha256,
            requested_category=row.requested_category,
        )


async def answered(request: Request, ask: Ask, books: Books | None) -> Completion | None:
    """Ask, with all that is asked and answered written down; None where the endpoint failed."""
    if books:
        await books.asked(request)
    try:
        completion = await ask(request)
    except EndpointError as error:
        if books:
            await books.failed(request, error)
        return None
    if books:
        await books.answered(completion)
    return completion


def marks_schema() -> dict[str, Any]:
    """Hold a judge to a fault in words, then three whole marks."""
    mark = {"type": "integer", "enum": list(range(LEAST, MOST + 1))}
    properties: dict[str, Any] = {"fault": {"type": "string", "maxLength": 160}} | dict.fromkeys(ASPECTS, mark)
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def objects_from_the_last(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a judge's answer, the last one first: it may think aloud before."""
    for found in reversed(_OBJECT.findall(text)):
        try:
            yield json.loads(found)
        except (ValueError, RecursionError):
            continue


def read_marks(text: str) -> dict[str, float] | None:
    """Read the three marks from the last object in an answer; None where one is missing or no mark."""
    for value in objects_from_the_last(text):
        marks: dict[str, Any] = {aspect: value.get(aspect) for aspect in ASPECTS}
        if all(
            isinstance(mark, int) and not isinstance(mark, bool) and LEAST <= mark <= MOST for mark in marks.values()
        ):
            return {aspect: float(mark) for aspect, mark in marks.items()}
    return None
