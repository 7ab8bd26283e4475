"""Asking for the answer to one instruction, as its future user would: the instruction is the whole prompt."""

from seedbed.core.records import Candidate, FinishReason, Proposal, Sampling
from seedbed.core.refusals import finds_refusal
from seedbed.core.text import words
from seedbed.generator.parse import plain_text
from seedbed.generator.recipe import Ask, Assignment, NoteUnreadable

NON_ANSWER_WORDS = 80
"""A refusal of fewer words is no answer (Evol-Instruct: "sorry" and under 80 words)."""

_STOP_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have", "i", "in", "is", "it"),
        *("its", "no", "not", "of", "on", "or", "so", "that", "the", "there", "this", "to", "was", "we", "were"),
        *("will", "with", "yes", "you"),
    )
)


async def answered(
    ask: Ask, assignment: Assignment, proposal: Proposal, given: str, note: NoteUnreadable
) -> Candidate | None:
    """Ask for the answer to a proposal with its input; None where what came is noted as no answer."""
    settings = assignment.settings.answer
    request = assignment.request(
        "answer",
        demonstrations=(),
        sampling=Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens),
        instruction=proposal.instruction,
        input=given,
    )
    completion = await ask(request)
    text = plain_text(completion.text)
    reason = "cut" if completion.finish_reason == FinishReason.LENGTH else "non_answer" if is_non_answer(text) else ""
    if reason:
        await note(request, reason, completion.text)
        return None
    return Candidate.of(
        proposal.instruction,
        given,
        text,
        lineage=assignment.lineage(request, completion, *proposal.lineage.request_ids),
        task_id=proposal.id,
        requested_category=assignment.requested_category,
    )


def is_non_answer(text: str) -> bool:
    """Tell whether a text says nothing: a short refusal, or nothing but stop words and punctuation."""
    said = words(text)
    if len(said) < NON_ANSWER_WORDS and finds_refusal(text):
        return True
    return set(said) <= _STOP_WORDS and not (len(said) == 1 and said[0] in ("yes", "no"))
