"""Small parts that the tests of this room share: seeds, a plan, and stand-ins for pool, filters and model."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seedbed.core.config import GenerationConfig
from seedbed.core.errors import SeedbedError
from seedbed.core.events import Events
from seedbed.core.records import (
    Candidate,
    Completion,
    Decision,
    FinishReason,
    Proposal,
    Request,
    SeedTask,
    Subject,
    Verdict,
)
from seedbed.generator.engine import Engine
from seedbed.generator.plan import Plan, SampleAccepted
from seedbed.generator.recipe import Brought
from seedbed.prompts.library import PromptLibrary
from seedbed.seeds.load import Categories, Category

CATEGORIES = Categories(
    (
        Category("writing", 0.5, is_held_out=False, description="Write something."),
        Category("sorting", 0.3, is_held_out=False, description="Choose a label."),
        Category("mixed", 0.2, is_held_out=False, description="Anything."),
        Category("secret", 0.0, is_held_out=True, description="Kept back."),
    )
)


def seed(category: str, number: int, *, is_classification: bool = False) -> SeedTask:
    return SeedTask(
        id=f"{category}-{number}",
        category=category,
        instruction=f"Do the {category} thing number {number} in full.",
        input=f"thing {number}" if number % 2 else "",
        output=f"Done with {number}.",
        is_classification=is_classification,
    )


SEEDS = (
    *(seed("writing", number) for number in range(10)),
    *(seed("sorting", number, is_classification=True) for number in range(10)),
    *(seed("mixed", number, is_classification=number % 2 == 0) for number in range(10)),
    *(seed("secret", number) for number in range(10)),
)


def counting_ids() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"id-{next(numbers)}"


def make_plan(
    settings: GenerationConfig | None = None,
    *,
    accepted: Mapping[str, int] | None = None,
    shares: Mapping[str, float] | None = None,
    sample_accepted: SampleAccepted | None = None,
    events: Events | None = None,
    first_number: int = 0,
    use_json_schema: bool = True,
    categories: Categories = CATEGORIES,
    prompts: PromptLibrary | None = None,
    brought: Sequence[Brought] = (),
) -> Plan:
    return Plan(
        categories=categories,
        seeds=SEEDS,
        settings=settings or GenerationConfig(),
        prompts=prompts or PromptLibrary(),
        use_json_schema=use_json_schema,
        accepted=accepted,
        shares=shares,
        sample_accepted=sample_accepted,
        new_id=counting_ids(),
        first_number=first_number,
        events=events,
        brought=brought,
    )


def completion(request: Request, text: str, finish_reason: FinishReason = FinishReason.STOP) -> Completion:
    return Completion(
        request_id=request.id,
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=10,
        completion_tokens=20,
        model="scripted",
        endpoint="test",
        latency_s=0.0,
    )


def triples(*rows: tuple[str, str, str]) -> str:
    return json.dumps({"tasks": [dict(zip(("instruction", "input", "output"), row, strict=True)) for row in rows]})


class Workbench:
    """Stands in for the pool, the filters and the model, and keeps everything that it was told, in order."""

    def __init__(self, answer: Callable[[Request], str], is_good: Callable[[Candidate], bool] = lambda _: True) -> None:
        self.answer, self.is_good = answer, is_good
        self.told: list[tuple[str, str]] = []
        self.requests: dict[str, Request] = {}
        self.accepted: list[Candidate] = []
        self.released: list[str] = []
        self.unreadable: list[tuple[str, str, str]] = []
        self.batches: list[int] = []
        self.failures: list[tuple[Request, SeedbedError]] = []

    async def ask(self, request: Request) -> Completion:
        self.told.append(("sent", request.id))
        return completion(request, self.answer(request))

    async def asked(self, request: Request) -> None:
        self.told.append(("asked", request.id))
        self.requests[request.id] = request

    async def answered(self, completion: Completion) -> None:
        self.told.append(("answered", completion.request_id))

    async def failed(self, request: Request, error: SeedbedError) -> None:
        self.told.append(("failed", request.id))
        self.failures.append((request, error))

    async def screen(self, proposals: Sequence[Proposal]) -> list[bool]:
        return ["stale" not in proposal.instruction for proposal in proposals]

    async def decide(self, candidates: Sequence[Candidate]) -> list[Decision]:
        self.batches.append(len(candidates))
        return [self._decision(candidate) for candidate in candidates]

    async def release(self, task_ids: Sequence[str]) -> None:
        self.released += task_ids

    async def note_unreadable(self, request: Request, reason: str, text: str) -> None:
        self.unreadable.append((request.purpose, reason, text))

    def engine(self, settings: GenerationConfig | None = None, **changes: Any) -> Engine:
        settings = settings or GenerationConfig(recipes={"alpaca": 1.0})
        parts: dict[str, Any] = {
            "plan": changes.get("plan") or make_plan(settings),
            "ask": self.ask,
            "screen": self.screen,
            "decide": self.decide,
            "release": self.release,
            "ledger": self,
            "note_unreadable": self.note_unreadable,
            "settings": settings,
        }
        return Engine(**{**parts, **changes})

    def _decision(self, candidate: Candidate) -> Decision:
        is_good = self.is_good(candidate)
        if is_good:
            self.accepted.append(candidate)
        verdict = Verdict(filter="rouge", accepted=is_good, reason="" if is_good else "near_duplicate")
        return Decision(
            subject=Subject.CANDIDATE,
            subject_id=candidate.id,
            sequence=0,
            accepted=is_good,
            verdicts=(verdict,),
            decided_at=0.0,
        )
