"""Asking for new instructions: the first step of every recipe that screens before it pays for answers."""

from seedbed.core.records import Proposal
from seedbed.generator.parse import parse_instructions
from seedbed.generator.recipe import Ask, Assignment, NoteUnreadable, as_json
from seedbed.generator.schemas import instructions_schema, numbered


async def propose(ask: Ask, assignment: Assignment, note: NoteUnreadable, template: str = "propose") -> list[Proposal]:
    """Ask once for an instruction on each topic, by the template `generation/TEMPLATE`."""
    request = assignment.request(
        template,
        demonstrations=assignment.demonstrations,
        schema=instructions_schema(assignment.topics),
        example_json=as_json(numbered("instruction", [shown.proposal() for shown in assignment.demonstrations])),
        topics=assignment.topics,
    )
    completion = await ask(request)
    parsed = parse_instructions(completion.text, completion.finish_reason)
    for problem in parsed.problems:
        await note(request, problem.reason, problem.text)
    lineage = assignment.lineage(request, completion)
    return [
        Proposal(
            id=assignment.new_id(),
            instruction=instruction,
            requested_category=assignment.requested_category,
            is_classification=assignment.is_classification,
            lineage=lineage,
        )
        for instruction in parsed.rows
    ]
