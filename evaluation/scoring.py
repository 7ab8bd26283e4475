"""From scored rows to the tables of the report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seedbed.core.reports import CategoryScore, Difference, Finding, Interval
from seedbed.evaluation.bootstrap import mean_interval, paired_interval
from seedbed.evaluation.checks import Checked, Follows
from seedbed.evaluation.metrics import Score, score
from seedbed.evaluation.significance import holm, mcnemar, sign_flip
from seedbed.evaluation.tasks import HeldOutTask

ALL = "all"
FEWEST_TASKS = 12
"""Below it the interval of a cluster bootstrap is too narrow, and nothing is claimed."""
_SIGNIFICANT = 0.05
_DRAWS_OF_ONE_ARM = 2000
"""At most: the interval of one arm's number is for the reader, no decision hangs on it."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of one arm."""

    task: HeldOutTask
    answer: str
    score: Score
    ended: bool | None = None
    """None where nothing was generated."""
    checked: Checked | None = None
    """None where the row carries no checks."""


def scored_row(task: HeldOutTask, answer: str, ended: bool | None, checker: Follows) -> Scored:
    """Score one answer: by its row's references, by the checks alone where a row has no references."""
    checked = None
    if task.checks:
        checked = checker(f"{task.instruction}\n\n{task.input}".strip(), task.checks, answer)
    if checked and not task.references:
        return Scored(task, answer, Score(None, None, float(all(checked.strict))), ended, checked)
    marks = score(answer, task.references, is_classification=task.is_classification)
    return Scored(task, answer, marks, ended, checked)


def category_scores(arm: str, rows: Sequence[Scored], *, draws: int, seed: int = 0) -> list[CategoryScore]:
    """Return an arm's score on each category and, last, on all rows (each row counts the same); none without rows."""
    return [_category_score(arm, category, part, draws, seed) for category, part in _parts(rows) if part]


def differences(
    base: Sequence[Scored], adapter: Sequence[Scored], *, draws: int, seed: int = 0, min_rows: int = 0
) -> list[Difference]:
    """Return adapter minus base on each category and, last, on all rows. Both arms have the same rows in one order.

    Args:
        base: One arm.
        adapter: The other.
        draws: Of the bootstrap and of the sign-flip test.
        seed: Of both.
        min_rows: A category with fewer is "not enough to tell".
    """
    pairs = list(zip(base, adapter, strict=True))
    found = []
    for category, part in _parts(base):
        chosen = [pair for pair in pairs if category in {ALL, pair[0].task.category}]
        assert len(chosen) == len(part)
        found.append(difference(category, chosen, draws=draws, seed=seed))
    tested = [number for number, one in enumerate(found) if one.p is not None and one.category != ALL]
    corrected = holm([found[number].p or 0.0 for number in tested])
    for number, holm_p in zip(tested, corrected, strict=True):
        found[number] = found[number].model_copy(update={"holm_p": holm_p})
    return [with_finding(one, min_rows) for one in found]


def difference(category: str, pairs: Sequence[tuple[Scored, Scored]], *, draws: int, seed: int = 0) -> Difference:
    """Return the second minus the first of each pair, with its interval and p-values, uncorrected."""
    values = [after.score.value - before.score.value for before, after in pairs]
    tasks = [before.task.task for before, _ in pairs]
    interval = paired_interval(values, tasks, draws=draws, seed=seed)
    exact = [pair for pair in pairs if pair[0].score.exact_match is not None]
    before, after = [one.score.value for one, _ in exact], [other.score.value for _, other in exact]
    return Difference(
        category=category,
        n=len(pairs),
        tasks=len(set(tasks)),
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        mcnemar_p=mcnemar(before, after) if exact else None,
        p=sign_flip(values, tasks, draws=draws, seed=seed),
    )


def with_finding(found: Difference, min_rows: int) -> Difference:
    """Say what a difference shows."""
    return found.model_copy(update={"finding": _finding(found, min_rows)})


def form_drop(seen: Sequence[Scored], unseen: Sequence[Scored], *, draws: int, seed: int, min_rows: int) -> Difference:
    """Return what the form costs: the same rows in the form that no training uses, minus in a trained one."""
    pairs = list(zip(seen, unseen, strict=True))
    return with_finding(difference(ALL, pairs, draws=draws, seed=seed), min_rows)


def _finding(found: Difference, min_rows: int) -> Finding:
    p_value = found.p if found.category == ALL else found.holm_p
    if found.n < min_rows or found.tasks < FEWEST_TASKS or p_value is None or p_value >= _SIGNIFICANT:
        return Finding.UNDECIDED
    return Finding.BETTER if found.mean > 0 else Finding.WORSE


def _parts(rows: Sequence[Scored]) -> list[tuple[str, list[Scored]]]:
    parts = defaultdict[str, list[Scored]](list)
    for row in rows:
        parts[row.task.category].append(row)
    return [*sorted(parts.items()), (ALL, list(rows))]


def _category_score(arm: str, category: str, rows: Sequence[Scored], draws: int, seed: int) -> CategoryScore:
    columns: dict[str, list[float | None]] = {
        "exact_match": [row.score.exact_match for row in rows],
        "rouge_l": [row.score.rouge_l for row in rows],
        "score": [row.score.value for row in rows],
        "eos_share": [None if row.ended is None else float(row.ended) for row in rows],
    }
    means: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for name, column in columns.items():
        known = [(value, row.task.task) for value, row in zip(column, rows, strict=True) if value is not None]
        if known:
            values, tasks = [value for value, _ in known], [task for _, task in known]
            interval = mean_interval(values, tasks, draws=min(draws, _DRAWS_OF_ONE_ARM), seed=seed)
            means[name] = fmean(values)
            intervals[name] = Interval(n=len(known), low=interval.low, high=interval.high)
    return CategoryScore(
        arm=arm,
        category=category,
        n=len(rows),
        score=means["score"],
        exact_match=means.get("exact_match"),
        rouge_l=means.get("rouge_l"),
        eos_share=means.get("eos_share"),
        intervals=intervals,
    )
