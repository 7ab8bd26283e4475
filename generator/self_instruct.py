"""The Self-Instruct recipe (Wang et al. 2023): propose instructions, keep the novel ones, then write instances.

Classification tasks are written output-first (the label, then an input that fits it), which keeps labels
balanced; the others input-first.
"""

from collections.abc import Sequence

from seedbed.core.records import Candidate, Proposal, Sampling
from seedbed.generator.labels import labels_in
from seedbed.generator.parse import Instance, parse_instances, parse_yes_no
from seedbed.generator.proposing import propose, work_out_novel
from seedbed.generator.recipe import Ask, Assignment, Demonstration, Emit, NoteUnreadable, Screen, as_json
from seedbed.generator.schemas import instances_schema

INSTANCE_DEMONSTRATIONS = 2
"""Whole triples shown when an instance is asked for; more only lengthen the prompt."""

YES_OR_NO = Sampling(temperature=0, max_tokens=3)
"""The paper's way of asking whether an instruction is classification."""


async def self_instruct(ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable) -> None:
    """Propose instructions, then write the instances of each novel one, all at once."""
    proposals = await propose(ask, assignment, note)
    await work_out_novel(proposals, screen, emit, lambda proposal: _instances(ask, assignment, proposal, note))


async def _instances(ask: Ask, assignment: Assignment, proposal: Proposal, note: NoteUnreadable) -> list[Candidate]:
    earlier = proposal.lineage.request_ids
    is_classification = proposal.is_classification
    if is_classification is None:
        request = assignment.request(
            "classify",
            demonstrations=assignment.label_examples,
            sampling=YES_OR_NO,
            instruction=proposal.instruction,
        )
        completion = await ask(request)
        answer = parse_yes_no(completion.text)
        if answer is None:
            await note(request, "neither_yes_nor_no", completion.text)
        earlier, is_classification = (*earlier, request.id), bool(answer)
    return await _write(ask, assignment, proposal, note, earlier=earlier, is_output_first=is_classification)


async def _write(
    ask: Ask,
    assignment: Assignment,
    proposal: Proposal,
    note: NoteUnreadable,
    *,
    earlier: tuple[str, ...],
    is_output_first: bool,
) -> list[Candidate]:
    count = assignment.settings.instances_per_task
    labels = _labels(assignment, proposal.instruction) if is_output_first else ()
    shown = _shown(assignment.demonstrations, is_output_first)
    request = assignment.request(
        "instances",
        demonstrations=shown,
        examples_json=[as_json({"instances": [one.instance(is_output_first=is_output_first)]}) for one in shown],
        schema=instances_schema(count, is_output_first=is_output_first, labels=labels),
        count=count,
        instruction=proposal.instruction,
        is_output_first=is_output_first,
        labels=labels,
    )
    completion = await ask(request)
    parsed = parse_instances(completion.text, completion.finish_reason)
    for problem in parsed.problems:
        await note(request, problem.reason, problem.text)
    rows = parsed.rows[:count]
    if has_conflict(rows):
        await note(request, "one_input_two_outputs", completion.text)
        return []
    lineage = assignment.lineage(request, completion, *earlier)
    return [
        Candidate.of(
            proposal.instruction,
            row.input,
            row.output,
            lineage=lineage,
            task_id=proposal.id,
            requested_category=assignment.requested_category,
        )
        for row in rows
    ]


def _labels(assignment: Assignment, instruction: str) -> tuple[str, ...]:
    """Draw as many of an instruction's labels as instances are asked for, so that none is preferred."""
    labels = labels_in(instruction)
    count = min(assignment.settings.instances_per_task, len(labels))
    return tuple(assignment.rng(instruction).sample(labels, count))


def has_conflict(rows: Sequence[Instance]) -> bool:
    """Tell whether one non-empty input has two different outputs; then none of the instances can be trusted."""
    outputs: dict[str, str] = {}
    return any(row.input and outputs.setdefault(row.input, row.output) != row.output for row in rows)


def _shown(demonstrations: Sequence[Demonstration], is_output_first: bool) -> list[Demonstration]:
    """Prefer demonstrations of the kind that is asked for; the order stays."""
    fitting = [shown for shown in demonstrations if shown.is_classification == is_output_first]
    return (fitting or list(demonstrations))[:INSTANCE_DEMONSTRATIONS]
