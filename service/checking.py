"""What is found out about a row before it is decided: its category, as verified, and whether its answer is wrong."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from seedbed.core.records import Candidate
from seedbed.filters.held_out import CategoryOf
from seedbed.generator.code_check import CODE, runs_well
from seedbed.generator.engine import Check
from seedbed.generator.formats import FORMAT, LABELS, is_allowed_label, is_of_format
from seedbed.generator.judging import Judge
from seedbed.generator.sandbox import Limits, require_sandbox
from seedbed.seeds.classifier import Row
from seedbed.service.workspace import Workspace

CODING = "coding"


Worth: TypeAlias = Callable[[Sequence[Candidate]], Awaitable[list[bool]]]
"""Tells which rows the other filters would accept, so that nobody pays to grade what is refused anyway."""


def checker(workspace: Workspace, judge: Judge | None = None, worth: Worth | None = None) -> Check:
    """Return what looks at the rows of a run; with a judge, rows that are worth it are marked too.

    Raises:
        ConfigError: Code is to be run, and there is no sandbox for it.
    """
    settings = workspace.config.generation.checks
    if settings.run_code:
        require_sandbox()
    limits = Limits(settings.code_time_s, settings.code_memory_mb)

    async def check(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        rows = [with_grades(workspace, verified(workspace, candidate)) for candidate in candidates]
        if settings.run_code:
            rows = [await _with_code_run(row, limits) for row in rows]
        return await _judged(rows, judge, worth) if judge and worth else rows

    return check


async def _judged(rows: list[Candidate], judge: Judge, worth: Worth) -> list[Candidate]:
    is_worth = await worth(rows)
    graded = iter(await judge.graded([row for row, good in zip(rows, is_worth, strict=True) if good]))
    return [next(graded) if good else row for row, good in zip(rows, is_worth, strict=True)]


def verified(workspace: Workspace, candidate: Candidate) -> Candidate:
    """Return a row with its verified category.

    A held-out category is told whatever the row was asked for as; a recipe that makes sure of the category itself
    has said so on the row already.
    """
    if workspace.config.generation.verify_category == "off":
        return candidate
    found = workspace.classifier.named(_row(candidate), candidate.category or candidate.requested_category)
    category = candidate.category if candidate.category and found not in workspace.held_out else found
    return candidate.model_copy(update={"category": category})


def with_grades(workspace: Workspace, candidate: Candidate) -> Candidate:
    """Return a row with what can be checked of its answer without running anything."""
    settings, found = workspace.config.generation.checks, dict[str, bool | None]()
    if settings.formats:
        found[FORMAT] = is_of_format(candidate.instruction, candidate.output)
    if settings.labels:
        found[LABELS] = is_allowed_label(candidate.instruction, candidate.output)
    return _graded(candidate, found)


def held_out_category(workspace: Workspace) -> CategoryOf | None:
    """Return what tells the held-out rows for the filter; None where the config wants nobody to."""
    if workspace.config.generation.verify_category == "off":
        return None
    classifier = workspace.classifier
    return lambda candidate: classifier.named(_row(candidate), candidate.category or candidate.requested_category)


async def _with_code_run(candidate: Candidate, limits: Limits) -> Candidate:
    if CODING not in (candidate.category, candidate.requested_category):
        return candidate
    is_right = await runs_well(candidate.instruction, candidate.input, candidate.output, limits)
    return _graded(candidate, {CODE: is_right})


def _graded(candidate: Candidate, found: dict[str, bool | None]) -> Candidate:
    grades = {name: float(is_right) for name, is_right in found.items() if is_right is not None}
    return candidate.model_copy(update={"grades": {**candidate.grades, **grades}}) if grades else candidate


def _row(candidate: Candidate) -> Row:
    return Row(candidate.instruction, candidate.input, candidate.output)
