"""The evolve recipe (Evol-Instruct, Xu et al. 2023): a row becomes a deeper, narrower, more concrete or broader one.

What its paper eliminates is noted and never answered: an instruction that gains nothing on the one it came from, or
that repeats the wording of our prompt; and after answering, an answer that is none.
"""

import re

from seedbed.core.records import Proposal, Sampling
from seedbed.core.text import words
from seedbed.generator.answering import answered
from seedbed.generator.parse import Task, parse_tasks
from seedbed.generator.recipe import Ask, Assignment, Demonstration, Emit, NoteUnreadable, Screen
from seedbed.generator.schemas import task_schema

WAYS = ("deepen", "constrain", "concretise", "broaden")
"""As the template `generation/evolve` knows them; each assignment draws one."""

MIN_NEW_WORDS = 2
"""Words an instruction with its input must have that its parent has not; fewer are no gain."""

COPIED_WORDS = 6
"""A run of so many words that stands in the prompt's own text is copied from it."""

_TALKS_OF_PROMPT = re.compile(
    r"\b(?:given|new|original|rewritten|evolved|old|above) (?:prompt|instruction|task)s?\b|#(?:the|given|rewritten)",
    re.IGNORECASE,
)
_TEMPLATE_MARKS = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)


async def evolve(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Ask for a new instruction made from one row, drop what gained nothing, and ask for its answer."""
    parent, way = assignment.demonstrations[0], assignment.rng("way").choice(WAYS)
    settings = assignment.settings.evolve
    request = assignment.request(
        "evolve",
        demonstrations=assignment.demonstrations,
        sampling=Sampling(temperature=settings.temperature, top_p=0.9, max_tokens=settings.max_tokens),
        schema=task_schema(),
        way=way,
    )
    completion = await ask(request)
    parsed = parse_tasks(completion.text, completion.finish_reason)
    for problem in parsed.problems:
        await note(request, problem.reason, problem.text)
    wording = assignment.prompts.get("generation/evolve").source
    for task in parsed.rows[:1]:
        if reason := elimination(task, parent, wording):
            await note(request, reason, f"{task.instruction}\n\n{task.input}".strip())
            continue
        proposal = Proposal(
            id=assignment.new_id(),
            instruction=task.instruction,
            requested_category=assignment.requested_category,
            lineage=assignment.lineage(request, completion),
        )
        if (await screen([proposal]))[0] and (row := await answered(ask, assignment, proposal, task.input, note)):
            await emit([row])


def elimination(task: Task, parent: Demonstration, wording: str) -> str:
    """Say why an evolved task is dropped: `no_gain`, `copied_prompt`, or "" where it is kept.

    Args:
        task: What came back.
        parent: What it was made from.
        wording: The source of the template that asked.
    """
    before = set(words(f"{parent.instruction} {parent.input}"))
    if len(set(words(f"{task.instruction} {task.input}")) - before) < MIN_NEW_WORDS:
        return "no_gain"
    own = _runs(words(_TEMPLATE_MARKS.sub(" | ", wording))) - _runs(words(f"{parent.instruction} {parent.input}"))
    if _TALKS_OF_PROMPT.search(task.instruction) or _runs(words(task.instruction)) & own:
        return "copied_prompt"
    return ""


def _runs(text: list[str]) -> set[tuple[str, ...]]:
    return {tuple(text[at : at + COPIED_WORDS]) for at in range(len(text) - COPIED_WORDS + 1)}
