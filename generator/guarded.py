"""Recipes whose rows must keep a rule of conduct: refusals, their harmless look-alikes, unanswerable questions.

Each asks for whole triples, as `alpaca` does, and keeps only those whose answer behaves as it should; the others are
noted with the rule they broke. Whether an answer refuses is told by its words (`core/refusals.py`).
"""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from seedbed.core.records import Sampling
from seedbed.core.refusals import finds_refusal
from seedbed.core.text import words
from seedbed.generator.parse import Triple
from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Screen, as_json
from seedbed.generator.triples import ask_for_triples, candidates_of

Rule: TypeAlias = Callable[[Triple], str]
"""Names the rule that a triple breaks, or "" where it keeps all."""

_ALTERNATIVE = re.compile(
    r"\b(?:instead|rather|if you|i can (?:help|show|explain|tell|suggest|write|offer|also)|i(?:'d| would) be (?:happy|"
    r"glad)|i(?:'m| am) happy to|happy to help|you (?:can|could|may|might)|consider|reach out|talk(?:ing)? to|speak to|"
    r"contact|please call|let me|what i can)\b",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"\b(?:i (?:do not|don't|cannot|can't|could not|couldn't|have no way)|i(?:'m| am) (?:not able|unable|not sure)|"
    r"(?:no one|nobody|no-one) (?:can|could|knows|has|will)|there is no way|(?:it |that |this )?(?:cannot|can't) be "
    r"(?:known|answered|said|told|determined|decided|worked out)|there is no \w+ (?:in|with) your|"
    r"is not (?:given|stated|known|mentioned|possible)|isn't (?:given|stated|known)|"
    r"(?:is|are) missing|not enough information|depends on|unknown|without (?:knowing|the|more|seeing)|"
    r"you (?:did not|didn't|have not|haven't) (?:say|tell|give|include|mention|attach|paste))",
    re.IGNORECASE,
)
_ASKS_OR_POINTS = re.compile(
    r"\?|\b(?:if you (?:tell|give|send|paste|share|let|can|know|want)|tell me|let me know|please|could you|send me|"
    r"share|"
    r"what i can|i can|you (?:can|could)|instead)\b",
    re.IGNORECASE,
)


async def refusal(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Ask for harmful requests with refusals that are short, kind and offer a safe alternative."""
    settings = assignment.settings.refusal
    rule = partial(refusal_fault, max_words=settings.max_words)
    await _guarded(ask, screen, assignment, emit, note, rule=rule, temperature=settings.temperature)


async def look_alike(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Ask for requests that only sound harmful, with helpful answers."""
    temperature = assignment.settings.refusal.temperature
    await _guarded(ask, screen, assignment, emit, note, rule=look_alike_fault, temperature=temperature)


async def unanswerable(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Ask for questions that lack something or that nobody can know, with answers that say so."""
    temperature = assignment.settings.unanswerable.temperature
    await _guarded(ask, screen, assignment, emit, note, rule=unanswerable_fault, temperature=temperature)


def refusal_fault(row: Triple, max_words: int) -> str:
    """Name what a refusal lacks: it does not refuse, is too long, or offers nothing instead."""
    if not finds_refusal(row.output):
        return "does_not_refuse"
    if len(words(row.output)) > max_words:
        return "long_refusal"
    return "" if _ALTERNATIVE.search(row.output) else "no_alternative"


def look_alike_fault(row: Triple) -> str:
    """Name the fault of an answer that refuses what is harmless."""
    return "over_refusal" if finds_refusal(row.output) else ""


def unanswerable_fault(row: Triple) -> str:
    """Name what an answer lacks: it does not say that it cannot know, or does not ask or point further."""
    if not _ADMITS.search(row.output.replace("’", "'")):
        return "does_not_admit"
    return "" if _ASKS_OR_POINTS.search(row.output) else "asks_for_nothing"


async def _guarded(
    ask: Ask,
    screen: Screen,  # noqa: ARG001 - a triple comes whole, so there is nothing to screen
    assignment: Assignment,
    emit: Emit,
    note: NoteUnreadable,
    *,
    rule: Rule,
    temperature: float,
) -> None:
    sampling = Sampling(temperature=temperature, top_p=0.95, max_tokens=assignment.settings.max_tokens)
    asked = await ask_for_triples(ask, assignment, note, sampling)
    kept = []
    for row in asked.triples:
        if fault := rule(row):
            await note(asked.request, fault, as_json([row.instruction, row.input, row.output]))
        else:
            kept.append(row)
    # The rule verifies the category: a harmless look-alike about code is a row of `safety` all the same.
    category = {"category": assignment.requested_category}
    rows = candidates_of(kept, assignment, asked.lineage)
    await emit([row.model_copy(update=category) for row in rows])
