"""The Alpaca recipe (Taori et al. 2023): several whole triples in one request."""

from seedbed.core.records import Candidate
from seedbed.generator.parse import parse_triples
from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Screen, as_json
from seedbed.generator.schemas import numbered, triples_schema


async def alpaca(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:  # noqa: ARG001 - a triple comes whole, so there is nothing to screen
    """Ask once for a triple of one category on each topic."""
    request = assignment.request(
        "alpaca",
        demonstrations=assignment.demonstrations,
        schema=triples_schema(assignment.topics),
        example_json=as_json(numbered("task", [shown.triple() for shown in assignment.demonstrations])),
        topics=assignment.topics,
    )
    completion = await ask(request)
    parsed = parse_triples(completion.text, completion.finish_reason)
    for problem in parsed.problems:
        await note(request, problem.reason, problem.text)
    lineage = assignment.lineage(request, completion)
    await emit(
        [
            Candidate.of(
                row.instruction,
                row.input,
                row.output,
                lineage=lineage,
                requested_category=assignment.requested_category,
            )
            for row in parsed.rows
        ]
    )
