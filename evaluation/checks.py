"""Instructions that a program can check, as in IFEval (Zhou et al. 2023), by the package `if-verifiable`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from statistics import fmean
from typing import Any

from pydantic import Field

from seedbed.core.errors import ConfigError, InputError
from seedbed.core.records import Record
from seedbed.core.reports import CheckScore, Interval
from seedbed.evaluation.bootstrap import mean_interval


class Check(Record):
    """One thing that an answer must do."""

    name: str = Field(min_length=1)
    """As IFEval names it: `punctuation:no_comma`."""
    arguments: dict[str, Any] = Field(default={})
    """Of the check, all of them: `{"num_words": 50, "relation": "at least"}`."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What an answer did of what it had to, check by check."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    """Also right where it is without its first or last line, or without asterisks."""


Follows = Callable[[str, Sequence[Check], str], Checked]
"""Prompt, checks and answer to what was followed."""


def follows(prompt: str, checks: Sequence[Check], answer: str) -> Checked:
    """Check an answer.

    Raises:
        ConfigError: The package is not installed, or lacks data that a check needs.
        InputError: There is no check of a name, or its arguments are wrong or not all there.
    """
    if find_spec("if_verifiable") is None:
        raise ConfigError("rows with checks need the package if-verifiable: pip install 'seedbed[ifeval]'")
    from if_verifiable.common import evaluate_instructions
    from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT

    names = [check.name for check in checks]
    if unknown := sorted(set(names) - set(INSTRUCTION_DICT)):
        raise InputError(f"there is no check {unknown[0]}; there are {', '.join(sorted(INSTRUCTION_DICT))}")
    for check in checks:
        _all_given(check, INSTRUCTION_DICT[check.name].build_description)
    try:
        results, _ = evaluate_instructions(
            answer, names, [check.arguments for check in checks], prompt, INSTRUCTION_DICT
        )
    except LookupError as error:  # nltk's sentence model is not part of the package
        raise ConfigError(f"a check of {', '.join(names)} lacks what it needs: {str(error).strip()[:200]}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"the arguments of a check of {', '.join(names)} are wrong: {error}") from error
    if not results:  # an empty answer, for which the package says nothing
        return Checked((False,) * len(names), (False,) * len(names))
    return Checked(tuple(one.strict_pass for one in results), tuple(one.loose_pass for one in results))


def _all_given(check: Check, build: Callable[..., object]) -> None:
    """Refuse a check that leaves an argument out, for which the package would draw a value at random."""
    if missing := [name for name in signature(build).parameters if name not in {"self", *check.arguments}]:
        raise InputError(f"the check {check.name} needs a value for {', '.join(missing)}")


def check_scores(arms: dict[str, list[tuple[str, Checked]]], *, draws: int, seed: int = 0) -> Iterator[CheckScore]:
    """Yield each arm's strict and loose accuracy, by prompt and by instruction; arms hold (task, checked) rows."""
    for arm, rows in arms.items():
        if rows:
            yield _check_score(arm, rows, draws, seed)


def _check_score(arm: str, rows: list[tuple[str, Checked]], draws: int, seed: int) -> CheckScore:
    columns = {
        "prompt_strict": [(task, float(all(checked.strict))) for task, checked in rows],
        "prompt_loose": [(task, float(all(checked.loose))) for task, checked in rows],
        "instruction_strict": [(task, float(one)) for task, checked in rows for one in checked.strict],
        "instruction_loose": [(task, float(one)) for task, checked in rows for one in checked.loose],
    }
    intervals = {}
    for name, column in columns.items():
        found = mean_interval([value for _, value in column], [task for task, _ in column], draws=draws, seed=seed)
        intervals[name] = Interval(n=len(column), low=found.low, high=found.high)
    means = {name: fmean(value for _, value in column) for name, column in columns.items()}
    return CheckScore(arm=arm, **means, intervals=intervals)
