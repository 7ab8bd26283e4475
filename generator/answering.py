"""Asking for the answer to one instruction, as its future user would: the instruction is the whole prompt."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from seedbed.core.errors import EndpointError
from seedbed.core.records import Candidate, Completion, FinishReason, Proposal, Request, Sampling
from seedbed.core.refusals import finds_refusal
from seedbed.core.text import words
from seedbed.generator.parse import plain_text
from seedbed.generator.recipe import Ask, Assignment, NoteUnreadable, StoppedError

BEST_OF = "best_of.agreement"
"""The grade of a row whose answer was chosen among several: how much it agrees with the others, 0 to 1."""

NON_ANSWER_WORDS = 80
"""A refusal of fewer words is no answer (Evol-Instruct: "sorry" and under 80 words)."""

_STOP_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have", "i", "in", "is", "it"),
        *("its", "no", "not", "of", "on", "or", "so", "that", "the", "there", "this", "to", "was", "we", "were"),
        *("will", "with", "yes", "you"),
    )
)


@dataclass(frozen=True, slots=True)
class _Answer:
    request: Request
    completion: Completion
    text: str


async def answered(
    ask: Ask, assignment: Assignment, proposal: Proposal, given: str, note: NoteUnreadable
) -> Candidate | None:
    """Ask for the answer to a proposal with its input; None where what came is noted as no answer.

    Where several answers are wanted, they are asked for at once, and the one that agrees most with the others is kept.
    """
    settings = assignment.settings.answer
    temperature = settings.temperature if settings.best_of == 1 else settings.best_of_temperature
    requests = [
        assignment.request(
            "answer",
            demonstrations=(),
            sampling=Sampling(temperature=temperature, max_tokens=settings.max_tokens),
            instruction=proposal.instruction,
            input=given,
        )
        for _ in range(settings.best_of)
    ]
    answers: list[_Answer] = []
    for request, completion in await _all_asked(ask, requests):
        text = plain_text(completion.text)
        if reason := _fault(text, completion):
            await note(request, reason, completion.text)
        else:
            answers.append(_Answer(request, completion, text))
    if not answers:
        return None
    agreed = agreement([answer.text for answer in answers])
    place = max(range(len(answers)), key=agreed.__getitem__)
    chosen = answers[place]
    earlier = (*proposal.lineage.request_ids, *(one.id for one in requests if one.id != chosen.request.id))
    candidate = Candidate.of(
        proposal.instruction,
        given,
        chosen.text,
        lineage=assignment.lineage(chosen.request, chosen.completion, *earlier),
        task_id=proposal.id,
        requested_category=assignment.requested_category,
    )
    return candidate.model_copy(update={"grades": {BEST_OF: agreed[place]}}) if len(answers) > 1 else candidate


def agreement(texts: Sequence[str]) -> list[float]:
    """Return how much each text agrees with the others, 0 to 1: the mean F1 of their words.

    The greatest is the choice of least expected loss (minimum Bayes risk; Kumar and Byrne 2004), F1 as in SQuAD.
    """
    bags = [Counter(words(text)) for text in texts]
    return [
        sum(_f1(bag, other) for place, other in enumerate(bags) if place != own) / max(1, len(bags) - 1)
        for own, bag in enumerate(bags)
    ]


def _f1(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


async def _all_asked(ask: Ask, requests: Sequence[Request]) -> list[tuple[Request, Completion]]:
    """Ask all at once and return what was answered, in order; raise only where nothing was."""
    completions: dict[str, Completion] = {}
    errors: list[EndpointError | StoppedError] = []

    async def one(request: Request) -> None:
        try:
            completions[request.id] = await ask(request)
        except (EndpointError, StoppedError) as error:
            errors.append(error)  # counted and stored where it was raised

    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(one, request)
    if not completions:
        raise errors[0]
    return [(request, completions[request.id]) for request in requests if request.id in completions]


def _fault(text: str, completion: Completion) -> str:
    if completion.finish_reason == FinishReason.LENGTH:
        return "cut"
    return "non_answer" if is_non_answer(text) else ""


def is_non_answer(text: str) -> bool:
    """Tell whether a text says nothing: a short refusal, or nothing but stop words and punctuation."""
    said = words(text)
    if len(said) < NON_ANSWER_WORDS and finds_refusal(text):
        return True
    return set(said) <= _STOP_WORDS and not (len(said) == 1 and said[0] in ("yes", "no"))
