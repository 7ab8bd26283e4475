"""The chain-of-thought recipe: problems, each with a worked solution whose last line says "The answer is …".

A solution whose sums could not be recomputed is written a second time at another temperature; whether both end in one
answer is kept as the grade `check.agreement` (self-consistency, Wang et al. 2022, with two samples).
"""

import re
from dataclasses import dataclass

from seedbed.core.records import Candidate, Completion, FinishReason, Proposal, Request, Sampling
from seedbed.core.text import words
from seedbed.generator.arithmetic import last_number, sums_in
from seedbed.generator.parse import plain_text
from seedbed.generator.proposing import propose, work_out_novel
from seedbed.generator.recipe import Ask, Assignment, Emit, NoteUnreadable, Screen

ARITHMETIC = "check.arithmetic"
"""The grade of a solution whose sums were recomputed: 1 where all are right, else 0."""

AGREEMENT = "check.agreement"
"""The grade of two samples: 1 where their answers are the same, else 0."""

MIN_RATIONALE_WORDS = 5
"""Fewer words before the last line explain nothing."""

_ANSWER = re.compile(
    r"^\W*(?:(?:so|therefore|thus|hence)\W+)?the (?:final )?answer is:?\s*(?P<answer>.+)$", re.IGNORECASE
)
_LAST_SENTENCE = re.compile(
    r"(?<=[.!?:])\s+(?=(?:(?:so|therefore|thus|hence)\W+)?the (?:final )?answer is\b)", re.IGNORECASE
)
_BOXED = re.compile(r"\\boxed\{(.*?)\}")
_DECORATION = re.compile(r"^[\s*$\"'(\\\[{]+|[\s*$\"')\\\]}.]+$")


@dataclass(frozen=True, slots=True)
class Solution:
    """A worked solution, read."""

    rationale: str
    answer: str

    @property
    def text(self) -> str:
        return f"{self.rationale}\nThe answer is {self.answer}."


async def chain_of_thought(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Propose problems, then solve each novel one, all at once."""
    proposals = await propose(ask, assignment, note, "problems")

    async def work_out(proposal: Proposal) -> list[Candidate]:
        candidate = await _solved(ask, assignment, proposal, note)
        return [candidate] if candidate else []

    await work_out_novel(proposals, screen, emit, work_out)


def read_solution(text: str) -> Solution | None:
    """Read a solution by its last line, or its last sentence; None where that does not say "The answer is …"."""
    before, _, last = plain_text(text).rpartition("\n")
    lines = [*before.split("\n"), *_LAST_SENTENCE.split(last)]
    match = _ANSWER.match(lines[-1])
    answer = _DECORATION.sub("", _BOXED.sub(r"\1", match["answer"])) if match else ""
    return Solution("\n".join(lines[:-1]).strip(), answer) if answer else None


def same_answer(one: str, other: str) -> bool:
    """Tell whether two short answers say the same: equal numbers, or equal words of which one may say more."""
    number, other_number = last_number(one), last_number(other)
    if number is not None or other_number is not None:
        return number == other_number
    left, right = words(one), words(other)
    short, long = sorted((left, right), key=len)
    return bool(short) and any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))


async def _solved(ask: Ask, assignment: Assignment, proposal: Proposal, note: NoteUnreadable) -> Candidate | None:
    settings = assignment.settings.chain_of_thought
    request, completion = await _solve(ask, assignment, proposal, settings.temperature)
    solution = await _readable(request, completion, note)
    if solution is None:
        return None
    requests, grades = [request], dict[str, float]()
    if sums := sums_in(solution.rationale):
        grades[ARITHMETIC] = float(all(one.is_right for one in sums))
    if _wants_second(settings.second_sample, solution):
        again, second = await _solve(ask, assignment, proposal, settings.second_temperature)
        requests.append(again)
        other = read_solution(second.text)
        if other is not None:
            grades[AGREEMENT] = float(same_answer(solution.answer, other.answer))
    earlier = (*proposal.lineage.request_ids, *(one.id for one in requests[1:]))
    candidate = Candidate.of(
        proposal.instruction,
        "",
        solution.text,
        lineage=assignment.lineage(request, completion, *earlier),
        task_id=proposal.id,
        requested_category=assignment.requested_category,
    )
    return candidate.model_copy(update={"grades": grades})


async def _solve(
    ask: Ask, assignment: Assignment, proposal: Proposal, temperature: float
) -> tuple[Request, Completion]:
    sampling = Sampling(temperature=temperature, max_tokens=assignment.settings.chain_of_thought.max_tokens)
    request = assignment.request("solve", demonstrations=(), sampling=sampling, problem=proposal.instruction)
    return request, await ask(request)


async def _readable(request: Request, completion: Completion, note: NoteUnreadable) -> Solution | None:
    if completion.finish_reason == FinishReason.LENGTH:
        await note(request, "cut", completion.text)
        return None
    solution = read_solution(completion.text)
    if solution is None:
        await note(request, "no_final_answer", completion.text)
    elif len(words(solution.rationale)) < MIN_RATIONALE_WORDS:
        await note(request, "no_rationale", completion.text)
    else:
        return solution
    return None


def _wants_second(setting: str, solution: Solution) -> bool:
    return setting == "always" or (setting == "unless_recomputed" and not sums_in(solution.rationale))
