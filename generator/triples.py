"""Asking for whole triples, several in one request: what every recipe does that screens nothing before it pays."""

from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.core.records import Candidate, Lineage, Request, Sampling
from seedbed.generator.parse import Triple, parse_triples
from seedbed.generator.recipe import Ask, Assignment, NoteUnreadable, as_json
from seedbed.generator.schemas import numbered, triples_schema


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back."""

    request: Request
    lineage: Lineage
    triples: tuple[Triple, ...]


async def ask_for_triples(
    ask: Ask, assignment: Assignment, note: NoteUnreadable, sampling: Sampling | None = None
) -> Asked:
    """Ask once for a triple on each topic, by the recipe's own template; what cannot be read is noted."""
    request = assignment.request(
        assignment.recipe,
        demonstrations=assignment.demonstrations,
        sampling=sampling,
        schema=triples_schema(assignment.topics) if assignment.use_json_schema else None,
        example_json=as_json(numbered("task", [shown.triple() for shown in assignment.demonstrations])),
        topics=assignment.topics,
    )
    completion = await ask(request)
    parsed = parse_triples(completion.text, completion.finish_reason)
    for problem in parsed.problems:
        await note(request, problem.reason, problem.text)
    return Asked(request, assignment.lineage(request, completion), parsed.rows)


def candidates_of(triples: Sequence[Triple], assignment: Assignment, lineage: Lineage) -> list[Candidate]:
    """Make a candidate of each triple, a task of its own."""
    category = assignment.requested_category
    return [
        Candidate.of(row.instruction, row.input, row.output, lineage=lineage, requested_category=category)
        for row in triples
    ]
