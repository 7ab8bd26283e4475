"""How far a judge agrees with people: rows that people graded, marked by the judge, and the two compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from seedbed.core.errors import ConfigError, InputError
from seedbed.core.files import BadLine, read_json_lines
from seedbed.core.records import Candidate, Lineage, Record
from seedbed.generator.judging import ASPECTS, Judge
from seedbed.service.context import Context
from seedbed.service.teachers import opened_judge

GOOD = 4
"""A mark from here on says that nothing of weight is wrong."""


class GradedRow(Record):
    """A row with the marks that a person gave it."""

    category: str = ""
    instruction: str
    input: str = ""
    output: str
    clarity: int = Field(ge=1, le=5)
    fit: int = Field(ge=1, le=5)
    correctness: int = Field(ge=1, le=5)


class Agreement(Record):
    """A judge beside a person, in one aspect or (`all`) in the lowest of the three marks."""

    aspect: str
    rows: int
    """That both marked."""
    equal: float
    """Share of rows with the same mark."""
    within_one: float
    good_or_not: float
    """Share of rows that both find good, or both find wanting."""
    kappa: float | None
    """Cohen's, of good or not: 0 is chance; None where chance alone agrees everywhere."""
    wanting_found: float | None
    """Of the rows that the person found wanting, the share that the judge did too; None where there are none."""
    good_kept: float | None
    """Of the rows that the person found good, the share that the judge did too."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Two marks of one row."""

    person: float
    judge: float


async def judge_agreement(context: Context, file: Path) -> dict[str, object]:
    """Let the judge mark the rows of a file, and compare.

    Raises:
        ConfigError: The config names no judge.
        InputError: The file has no rows, or one that is no graded row.
    """
    name = context.workspace.config.judge
    if not name:
        raise ConfigError("judge names no endpoint; set it to the name of one of [[endpoints]] (seedbed.toml)")
    rows = read_graded(file)
    async with opened_judge(context, None, is_stored=False) as judge:
        assert judge is not None
        marked = await _marked(judge, rows)
    unmarked = sum(not one.grades for one in marked)
    return {
        "judge": context.workspace.config.endpoint(name).model,
        "rows": len(rows),
        "unmarked": unmarked,
        "agreement": [one.model_dump(mode="json") for one in compared(rows, marked)],
    }


def read_graded(file: Path) -> list[GradedRow]:
    """Read a file of graded rows.

    Raises:
        InputError: A line is wrong, or there is none.
    """
    rows = []
    for line in read_json_lines(file):
        if isinstance(line, BadLine):
            raise InputError(f"{file} line {line.number}: {line.problem}")
        try:
            rows.append(GradedRow.model_validate(line.value))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{file} line {line.number}: {where}: {first['msg']}") from error
    if not rows:
        raise InputError(f"{file} has no graded rows")
    return rows


def compared(rows: Sequence[GradedRow], marked: Sequence[Candidate]) -> list[Agreement]:
    """Compare a person's marks with a judge's; rows that the judge left unmarked count nowhere."""
    both = [(row, one.grades) for row, one in zip(rows, marked, strict=True) if one.grades]
    by_aspect = {
        aspect: [Marks(getattr(row, aspect), grades[f"judge.{aspect}"]) for row, grades in both] for aspect in ASPECTS
    }
    by_aspect["all"] = [
        Marks(min(row.clarity, row.fit, row.correctness), min(grades[f"judge.{aspect}"] for aspect in ASPECTS))
        for row, grades in both
    ]
    return [agreement_of(aspect, pairs) for aspect, pairs in by_aspect.items() if pairs]


def agreement_of(aspect: str, pairs: Sequence[Marks]) -> Agreement:
    """Compare pairs of marks."""
    count = len(pairs)
    good = [(pair.person >= GOOD, pair.judge >= GOOD) for pair in pairs]
    same = sum(one == other for one, other in good) / count
    person_good, judge_good = (sum(pair[side] for pair in good) / count for side in (0, 1))
    chance = person_good * judge_good + (1 - person_good) * (1 - judge_good)
    wanting = [not judge for person, judge in good if not person]
    kept = [judge for person, judge in good if person]
    return Agreement(
        aspect=aspect,
        rows=count,
        equal=sum(pair.person == pair.judge for pair in pairs) / count,
        within_one=sum(abs(pair.person - pair.judge) <= 1 for pair in pairs) / count,
        good_or_not=same,
        kappa=None if chance == 1 else (same - chance) / (1 - chance),
        wanting_found=sum(wanting) / len(wanting) if wanting else None,
        good_kept=sum(kept) / len(kept) if kept else None,
    )


def agreement_table(result: dict[str, object]) -> str:
    """Write the comparison as lines of text."""
    lines = [f"{result['judge']}: {result['rows']} rows that people graded, {result['unmarked']} left unmarked"]
    head = ("aspect", "rows", "equal", "within 1", "good or not", "kappa", "wanting found", "good kept")
    lines.append("".join(f"{name:>14}" for name in head))
    agreement = result["agreement"]
    assert isinstance(agreement, list)
    for one in agreement:
        shares = [one[name] for name in ("equal", "within_one", "good_or_not", "kappa", "wanting_found", "good_kept")]
        cells = [f"{one['aspect']:>14}{one['rows']:>14}", *(f"{'' if x is None else f'{x:.2f}':>14}" for x in shares)]
        lines.append("".join(cells))
    return "\n".join(lines)


async def _marked(judge: Judge, rows: Sequence[GradedRow]) -> list[Candidate]:
    lineage = Lineage(recipe="graded")
    return await judge.graded(
        [
            Candidate.of(row.instruction, row.input, row.output, lineage=lineage, requested_category=row.category)
            for row in rows
        ]
    )
