"""Proposing instructions, then working out the novel ones: for recipes that screen before they pay for answers."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from seedbed.core.errors import EndpointError
from seedbed.core.records import Candidate, Proposal
from seedbed.generator.parse import parse_instructions
from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Screen, StoppedError, as_json
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


async def work_out_novel(
    proposals: Sequence[Proposal],
    screen: Screen,
    emit: Emit,
    work_out: Callable[[Proposal], Awaitable[Sequence[Candidate]]],
) -> None:
    """Screen proposals, and write the rows of each novel one, all at once; one that fails leaves its siblings alone."""

    async def one(proposal: Proposal) -> None:
        try:
            candidates = await work_out(proposal)
        except (EndpointError, StoppedError):
            return  # counted and stored where it was raised
        if candidates:
            await emit(candidates)

    is_novel = await screen(proposals)
    async with anyio.create_task_group() as group:
        for proposal, novel in zip(proposals, is_novel, strict=True):
            if novel:
                group.start_soon(one, proposal)
