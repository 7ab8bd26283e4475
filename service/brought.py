"""Reading the instructions that the user brings to be answered."""

from collections.abc import Collection
from pathlib import Path

from seedbed.core.errors import InputError
from seedbed.core.files import BadLine, read_json_lines
from seedbed.core.recipe_config import AnswerConfig
from seedbed.generator.recipe import Brought
from seedbed.pool.pool import Pool

FIELDS = ("instruction", "input", "category")


def brought_instructions(
    folder: Path, config: AnswerConfig, categories: Collection[str], pool: Pool
) -> tuple[Brought, ...]:
    """Return the instructions of `generation.answer.instructions` that the pool has no row for yet, each once.

    Raises:
        InputError: A line is not of the form; the message names file, line and problem.
        MissingFileError: There is no such file.
    """
    if not config.instructions:
        return ()
    path = folder / config.instructions
    brought = dict.fromkeys(_read(path, line.number, line, categories) for line in read_json_lines(path))
    known = {(row.instruction, row.input) for row in pool.candidates()}
    return tuple(one for one in brought if (one.instruction, one.input) not in known)


def _read(path: Path, number: int, line: object, categories: Collection[str]) -> Brought:
    if isinstance(line, BadLine):
        raise InputError(f"{path} line {number}: {line.problem}")
    value = getattr(line, "value", {})
    unknown = [name for name in value if name not in FIELDS]
    wrong = [name for name in FIELDS if not isinstance(value.get(name, ""), str)]
    if unknown or wrong or not str(value.get("instruction", "")).strip():
        named = ", ".join(unknown or wrong) or "no instruction"
        raise InputError(f"{path} line {number}: {named}; a line has the texts {', '.join(FIELDS)}")
    brought = Brought(**{name: value.get(name, "") for name in FIELDS})
    if brought.category and brought.category not in categories:
        raise InputError(
            f'{path} line {number}: category "{brought.category}", which is not trained; '
            f"leave it out or take one of {', '.join(categories)}"
        )
    return brought
