"""The recipe for instructions that the user brings: each is asked as it stands, and its answer is the row."""

from seedbed.core.records import Lineage, Proposal
from seedbed.generator.answering import answered
from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Screen


async def answer(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Answer the instruction that the assignment brings, if it is novel."""
    brought = assignment.brought
    if brought is None:
        return
    proposal = Proposal(
        id=assignment.new_id(),
        instruction=brought.instruction,
        requested_category=assignment.requested_category,
        lineage=Lineage(recipe=assignment.recipe),
    )
    if (await screen([proposal]))[0] and (row := await answered(ask, assignment, proposal, brought.input, note)):
        await emit([row])
