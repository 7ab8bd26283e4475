"""A judge that compares two answers to one task: each pair in both orders, since models lean to a place."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any

import anyio

from seedbed.core.errors import SeedbedError
from seedbed.core.records import Message, Record, Request, Sampling
from seedbed.evaluation.answers import AnswerLine
from seedbed.generator.judging import Books, answered, objects_from_the_last
from seedbed.generator.recipe import Ask
from seedbed.prompts.library import PromptLibrary

TEMPLATE = "judging/answers"
PURPOSE = "judge.answers"
MAX_TOKENS = 128


class Side(StrEnum):
    """Whose answer is better."""

    ADAPTER = "adapter"
    BASE = "base"
    TIE = "tie"


class Pair(Record):
    """Two answers to a held-out task."""

    id: str
    task: str
    """Rows of one task are resampled together."""
    category: str
    instruction: str
    input: str = ""
    references: tuple[str, ...] = ()
    base: str
    adapter: str


class Compared(Record):
    """A pair with what the judge said of it: a line of `preferences.jsonl`."""

    pair: Pair
    base_first: Side | None = None
    """With the base's answer in first place; None where the judge failed or could not be read."""
    adapter_first: Side | None = None
    is_asked: bool = True
    """False where the two answers are the same, and nobody was asked."""

    @property
    def value(self) -> float | None:
        """1 where the adapter's answer is better, 0 where the base's, 0.5 for a tie; None where it is not known."""
        if self.base_first is None or self.adapter_first is None:
            return None
        worth = {Side.ADAPTER: 1, Side.TIE: 0, Side.BASE: -1}
        total = worth[self.base_first] + worth[self.adapter_first]
        return 0.5 if total == 0 else float(total > 0)


def pairs_of(lines: Iterable[AnswerLine], known: Iterable[tuple[str, str, str]]) -> list[Pair]:
    """Return the answers of base and adapter to the held-out rows, side by side.

    Args:
        lines: Of `answers.jsonl`.
        known: Id, task and category of each row; a row that is not among them is left out.
    """
    answers: dict[tuple[str, str], AnswerLine] = {
        (line.arm, line.id): line for line in lines if line.part == "held_out" and line.arm in {"base", "adapter"}
    }
    found = []
    for row, task, category in known:
        base, adapter = answers.get(("base", row)), answers.get(("adapter", row))
        if base and adapter:
            found.append(
                Pair(
                    id=row,
                    task=task,
                    category=category,
                    instruction=base.instruction,
                    input=base.input,
                    references=base.references,
                    base=base.answer,
                    adapter=adapter.answer,
                )
            )
    return found


class Comparer:
    """Compares answers by asking an endpoint, at temperature 0: what was asked before is not paid for again."""

    def __init__(
        self, ask: Ask, prompts: PromptLibrary, new_id: Callable[[], str], *, use_json_schema: bool, books: Books | None
    ) -> None:
        """Take what is asked, and how; `books` of None writes nothing down."""
        self._ask, self._template, self._new_id = ask, prompts.get(TEMPLATE), new_id
        self._schema = choice_schema() if use_json_schema else None
        self._books = books

    async def compared(self, pairs: Sequence[Pair], show: Callable[[int], None] = lambda _: None) -> list[Compared]:
        """Compare all pairs, both orders of each at once.

        Args:
            pairs: What is compared.
            show: Told how many pairs are done.

        Raises:
            SeedbedError: What no other pair would escape: the budget is spent, the pool cannot be written.
        """
        sides: dict[tuple[int, bool], Side | None] = {}
        failure: SeedbedError | None = None

        async def order(place: int, is_base_first: bool) -> None:
            nonlocal failure
            try:
                sides[place, is_base_first] = await self._better(pairs[place], is_base_first)
            except SeedbedError as error:  # raised again below, where the task group cannot wrap it
                failure = error
                group.cancel_scope.cancel()
            show(len(sides) // 2)

        async with anyio.create_task_group() as group:
            for place, pair in enumerate(pairs):
                if pair.base != pair.adapter:
                    group.start_soon(order, place, True)
                    group.start_soon(order, place, False)
        if failure is not None:
            raise failure
        return [
            Compared(pair=pair, base_first=sides[place, True], adapter_first=sides[place, False])
            if (place, True) in sides
            else Compared(pair=pair, base_first=Side.TIE, adapter_first=Side.TIE, is_asked=False)
            for place, pair in enumerate(pairs)
        ]

    async def _better(self, pair: Pair, is_base_first: bool) -> Side | None:
        request = self._request(pair, is_base_first)
        completion = await answered(request, self._ask, self._books)
        if completion is None:
            return None
        chosen = read_choice(completion.text)
        if chosen is None:
            if self._books:
                await self._books.unreadable(request, "no_choice", completion.text)
            return None
        if chosen == "tie":
            return Side.TIE
        return Side.BASE if (chosen == "A") == is_base_first else Side.ADAPTER

    def _request(self, pair: Pair, is_base_first: bool) -> Request:
        first, second = (pair.base, pair.adapter) if is_base_first else (pair.adapter, pair.base)
        text = self._template.render(
            instruction=pair.instruction, input=pair.input, references=pair.references, first=first, second=second
        )
        return Request(
            id=self._new_id(),
            purpose=PURPOSE,
            messages=(Message(role="user", content=text),),
            sampling=Sampling(temperature=0, max_tokens=MAX_TOKENS, json_schema=self._schema),
            prompt_sha256=self._template.sha256,
            requested_category=pair.category,
        )


def choice_schema() -> dict[str, Any]:
    """Hold a judge to a reason in words, then its choice."""
    properties: dict[str, Any] = {
        "why": {"type": "string", "maxLength": 160},
        "better": {"type": "string", "enum": ["A", "B", "tie"]},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_choice(text: str) -> str | None:
    """Read `A`, `B` or `tie` from the last object in an answer; None where there is none."""
    known = {"a": "A", "b": "B", "tie": "tie"}
    choices = (value.get("better") for value in objects_from_the_last(text))
    return next((known[one] for choice in choices if (one := str(choice).strip().lower()) in known), None)
