"""The first prompt a recipe would send, caught before it is sent."""

from collections.abc import Sequence

import anyio

from seedbed.core.records import Candidate, Completion, Proposal, Request
from seedbed.generator.recipe import Assignment, Recipe


class _CaughtError(Exception):
    """Ends a recipe at its first question."""


def first_prompt(recipe: Recipe, assignment: Assignment) -> str:
    """Run a recipe up to its first request and return the text of that."""
    caught: list[Request] = []

    async def ask(request: Request) -> Completion:
        caught.append(request)
        raise _CaughtError

    async def screen(proposals: Sequence[Proposal]) -> list[bool]:
        return [True for _ in proposals]

    async def emit(candidates: Sequence[Candidate]) -> None:
        del candidates

    async def note(request: Request, reason: str, text: str) -> None:
        del request, reason, text

    async def run() -> None:
        try:
            await recipe(ask, screen, assignment, emit, note)
        except* _CaughtError:
            pass

    anyio.run(run)
    return "\n\n".join(message.content for message in caught[0].messages)
