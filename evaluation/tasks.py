"""The rows that are scored: held-out seeds, the user's own sets, safety rows."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, model_validator

from seedbed.core.errors import ConfigError, InputError
from seedbed.core.files import BadLine, Line, read_json_lines
from seedbed.core.records import Example, Record, SeedTask
from seedbed.core.refusals import finds_refusal
from seedbed.evaluation.checks import Check, follows

_Row = TypeVar("_Row", "HeldOutTask", "_SetRow")


class HeldOutTask(Record):
    """One row with the answers that count as right."""

    id: str
    """Of a seed, or file and line: `super_natural_instructions/17`."""
    task: str
    """Rows of one task are resampled together. A seed is a task of its own."""
    category: str
    instruction: str = Field(min_length=1)
    input: str = ""
    references: tuple[str, ...] = ()
    """Without any, the row is worth 1 where its checks all hold, else 0."""
    is_classification: bool = False
    checks: tuple[Check, ...] = ()

    @model_validator(mode="after")
    def _can_be_scored(self) -> "HeldOutTask":
        return _with_answer(self)


class SafetyTask(Record):
    """One request that should be refused, or a harmless one that should not."""

    id: str
    instruction: str = Field(min_length=1)
    input: str = ""
    is_harmful: bool


class _SetRow(Record):
    """A line of a user's set."""

    task: str = Field(min_length=1)
    category: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    input: str = ""
    references: tuple[str, ...] = ()
    is_classification: bool = False
    checks: tuple[Check, ...] = ()

    @model_validator(mode="after")
    def _can_be_scored(self) -> "_SetRow":
        return _with_answer(self)


def _with_answer(row: _Row) -> _Row:
    if not row.references and not row.checks:
        raise ValueError("a row needs references, or checks")
    return row


def held_out_tasks(
    seeds: Iterable[SeedTask], held_out: Collection[str], sets: Sequence[Path] = (), max_rows_per_task: int = 100
) -> tuple[HeldOutTask, ...]:
    """Return the seeds of held-out categories and the rows of the user's sets.

    Raises:
        MissingFileError: A set is not there.
        InputError: A line of a set is wrong; the message has its file and number.
    """
    rows = [
        HeldOutTask(
            id=seed.id,
            task=seed.id,
            category=seed.category,
            instruction=seed.instruction,
            input=seed.input,
            references=(seed.output,),
            is_classification=seed.is_classification,
        )
        for seed in seeds
        if seed.category in held_out
    ]
    for path in sets:
        rows += read_set(path, max_rows_per_task)
    return tuple(rows)


def read_set(path: Path, max_rows_per_task: int) -> Iterator[HeldOutTask]:
    """Yield the rows of a set: JSON lines of task, category, definition, input, references.

    Args:
        path: The file. Its name without suffix is part of the rows' ids.
        max_rows_per_task: The first so many rows of each task.

    Raises:
        ConfigError: A row carries checks, and what runs them is not installed.
        InputError: A line is wrong, or a check is unknown or lacks an argument: told now, not after days of work.
    """
    taken: Counter[str] = Counter()
    for line in read_json_lines(path):
        row = _set_row(path, line)
        _try_checks(path, line.number, row)
        taken[row.task] += 1
        if taken[row.task] <= max_rows_per_task:
            yield HeldOutTask(
                id=f"{path.stem}/{line.number}",
                task=row.task,
                category=row.category,
                instruction=row.definition,
                input=row.input,
                references=row.references,
                is_classification=row.is_classification,
                checks=row.checks,
            )


def safety_tasks(seeds: Iterable[SeedTask], refuses: Callable[[str], object] = finds_refusal) -> tuple[SafetyTask, ...]:
    """Return the seeds of category `safety`; one whose written answer refuses is a harmful request."""
    return tuple(
        SafetyTask(id=seed.id, instruction=seed.instruction, input=seed.input, is_harmful=bool(refuses(seed.output)))
        for seed in seeds
        if seed.category == "safety"
    )


def as_tasks(examples: Iterable[Example]) -> tuple[HeldOutTask, ...]:
    """Return rows of a snapshot in the form that is scored, each with its own output as reference."""
    return tuple(
        HeldOutTask(
            id=example.id,
            task=example.task_id,
            category=example.category or "unknown",
            instruction=example.instruction,
            input=example.input,
            references=(example.output,),
            is_classification=example.category == "classification",
        )
        for example in examples
    )


def _set_row(path: Path, line: Line | BadLine) -> _SetRow:
    if isinstance(line, BadLine):
        raise InputError(f"{path} line {line.number}: {line.problem}")
    try:
        return _SetRow.model_validate(line.value)
    except ValidationError as error:
        raise InputError(f"{path} line {line.number}: {first_problem(error)}") from error


def _try_checks(path: Path, number: int, row: _SetRow) -> None:
    """Let the row's checks look at some answer: a check that cannot run says so before anything was generated."""
    if row.checks:
        try:
            follows(row.definition, row.checks, "Some answer.")
        except (ConfigError, InputError) as error:
            raise type(error)(f"{path} line {number}: {error}") from error


def first_problem(error: ValidationError) -> str:
    """Return what pydantic found first, as `references: Field required`."""
    found: dict[str, Any] = dict(error.errors(include_url=False)[0])
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else str(found["msg"])
