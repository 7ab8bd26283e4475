"""The Alpaca recipe (Taori et al. 2023): several whole triples in one request."""

from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Screen
from seedbed.generator.triples import ask_for_triples, candidates_of


async def alpaca(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:  # noqa: ARG001 - a triple comes whole, so there is nothing to screen
    """Ask once for a triple of one category on each topic."""
    asked = await ask_for_triples(ask, assignment, note)
    await emit(candidates_of(asked.triples, assignment, asked.lineage))
