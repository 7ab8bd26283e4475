"""From scored rows to the tables of the report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from seedbed.core.records import CategoryScore, Difference
from seedbed.evaluation.bootstrap import mcnemar, paired_interval
from seedbed.evaluation.metrics import Score
from seedbed.evaluation.tasks import HeldOutTask

ALL = "all"


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of one arm."""

    task: HeldOutTask
    answer: str
    score: Score
    ended: bool | None = None
    """None where nothing was generated."""


def category_scores(arm: str, rows: Sequence[Scored]) -> list[CategoryScore]:
    """Return an arm's score on each category and, last, on all rows (each row counts the same); none without rows."""
    return [_category_score(arm, category, part) for category, part in _parts(rows) if part]


def differences(base: Sequence[Scored], adapter: Sequence[Scored], *, draws: int, seed: int = 0) -> list[Difference]:
    """Return adapter minus base on each category and, last, on all rows. Both arms have the same rows in one order."""
    pairs = list(zip(base, adapter, strict=True))
    found = []
    for category, part in _parts(base):
        chosen = [pair for pair in pairs if category in {ALL, pair[0].task.category}]
        assert len(chosen) == len(part)
        interval = paired_interval(
            [after.score.value - before.score.value for before, after in chosen],
            [before.task.task for before, _ in chosen],
            draws=draws,
            seed=seed,
        )
        exact = [pair for pair in chosen if pair[0].score.exact_match is not None]
        found.append(
            Difference(
                category=category,
                n=len(chosen),
                tasks=len({before.task.task for before, _ in chosen}),
                mean=interval.mean,
                low=interval.low,
                high=interval.high,
                mcnemar_p=mcnemar([one.score.value for one, _ in exact], [other.score.value for _, other in exact])
                if exact
                else None,
            )
        )
    return found


def _parts(rows: Sequence[Scored]) -> list[tuple[str, list[Scored]]]:
    parts = defaultdict[str, list[Scored]](list)
    for row in rows:
        parts[row.task.category].append(row)
    return [*sorted(parts.items()), (ALL, list(rows))]


def _category_score(arm: str, category: str, rows: Sequence[Scored]) -> CategoryScore:
    exact = [row.score.exact_match for row in rows if row.score.exact_match is not None]
    rouge = [row.score.rouge_l for row in rows if row.score.rouge_l is not None]
    ended = [row.ended for row in rows if row.ended is not None]
    return CategoryScore(
        arm=arm,
        category=category,
        n=len(rows),
        exact_match=fmean(exact) if exact else None,
        rouge_l=fmean(rouge) if rouge else None,
        score=fmean(row.score.value for row in rows),
        eos_share=fmean(ended) if ended else None,
    )
