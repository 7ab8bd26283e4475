"""The report for people: one page of Markdown with the decision, the tables and answers side by side, and a chart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from seedbed.core.files import write_atomic
from seedbed.core.reports import CategoryScore, DetectorError, Difference, EvalReport, Interval, Preference
from seedbed.evaluation.charts import draw_scores
from seedbed.evaluation.metrics import SHORT_REFERENCE_WORDS
from seedbed.evaluation.scoring import ALL, FEWEST_TASKS, Scored

EXAMPLES_PER_CATEGORY = 3


def write_report(report: EvalReport, scored: Mapping[str, Sequence[Scored]], out: Path) -> None:
    """Write `report.md`, and `scores.png` where matplotlib is installed."""
    has_chart = draw_scores(report, out / "scores.png")
    parts = [
        f"# Adapter {report.adapter_id} on tasks it was not trained for",
        f"**{report.reason}**",
        "![Scores by category and arm](scores.png)" if has_chart else "",
        "## Adapter against base",
        _differences(report.differences),
        _caution(report.differences),
        "## Scores",
        _scores(report.scores),
        _NOTES,
        *_checks(report),
        *_form(report),
        *_safety(report),
        *_trained(report),
        "## Answers side by side",
        *_examples(scored),
    ]
    write_atomic(out / "report.md", "\n\n".join(part for part in parts if part) + "\n")


def append_preference(path: Path, report: EvalReport) -> None:
    """Add to a report for people what a judge said since it was written."""
    if report.preference is not None:
        text = path.read_text(encoding="utf-8").partition(f"\n{_PREFERENCE}\n")[0].rstrip()
        write_atomic(path, "\n\n".join([text, _PREFERENCE, *_preference(report.preference)]) + "\n")


_PREFERENCE = "## What a judge prefers"

_NOTES = (
    f"Labels and references of at most {SHORT_REFERENCE_WORDS} words are scored by exact match after normalisation, "
    "all else by ROUGE-L; `score` is the mean of whichever applies. Every row counts the same. `base` is asked by its "
    "chat template where it has one, else in plain text; `base_template` in the form that training uses; `copy_input` "
    "repeats the input, `copy_demonstration` the answer of another row of the task. `ended` is the share of answers "
    "that stopped by themselves. In brackets the 95% interval, and the rows where they are not all."
)


def _differences(differences: Sequence[Difference]) -> str:
    rows = [
        [
            found.category,
            str(found.n),
            str(found.tasks),
            _points(found.mean),
            f"{_points(found.low)} to {_points(found.high)}",
            _p_value(found.mcnemar_p),
            _p_value(found.p),
            _p_value(found.holm_p),
            str(found.finding),
        ]
        for found in differences
    ]
    header = ["category", "rows", "tasks", "adapter − base, points", "95% interval"]
    return _table([*header, "McNemar p", "sign-flip p", "p after Holm", "says"], rows) + "\n\n" + _TESTS


_TESTS = (
    "The sign-flip test and the interval take the rows of a task together, McNemar's test takes each label by itself. "
    'Holm\'s correction is over the categories that were tested. A category says more than "not enough to tell" only '
    f"with p below 0.05 after it, at least `min_rows` rows and {FEWEST_TASKS} tasks."
)


def _caution(differences: Sequence[Difference]) -> str:
    overall = differences[-1]
    if overall.tasks >= FEWEST_TASKS:
        return ""
    return (
        f"The rows are of {overall.tasks} tasks. Below {FEWEST_TASKS} the intervals, which resample tasks, "
        "are narrower than they should be."
    )


def _scores(scores: Sequence[CategoryScore]) -> str:
    rows = [
        [
            found.category,
            found.arm,
            str(found.n),
            _sure(found.exact_match, found.intervals.get("exact_match"), found.n),
            _sure(found.rouge_l, found.intervals.get("rouge_l"), found.n),
            _sure(found.score, found.intervals.get("score"), found.n),
            _sure(found.eos_share, found.intervals.get("eos_share"), found.n),
        ]
        for found in sorted(scores, key=lambda found: (found.category == ALL, found.category))
    ]
    return _table(["category", "arm", "rows", "exact match %", "ROUGE-L", "score", "ended %"], rows)


def _safety(report: EvalReport) -> Iterator[str]:
    if report.safety:
        yield "## Safety"
        shares = [
            [name, str(found.n), _sure(report.safety[name], found)] for name, found in report.safety_intervals.items()
        ]
        yield _table(["", "rows", "share %, with 95% interval"], shares)
        yield from _detector(report.detector)


def _detector(error: DetectorError | None) -> Iterator[str]:
    if error is not None:
        yield (
            "Refusals are told by their words, so single rows may be wrong. On "
            f"{error.answers} answers labelled by hand, {error.refusals} of them refusals and many hard on purpose, "
            f"precision is {_sure(error.precision, error.precision_interval)}% (n = {error.precision_interval.n}) and "
            f"recall {_sure(error.recall, error.recall_interval)}% (n = {error.recall_interval.n})."
        )


def _checks(report: EvalReport) -> Iterator[str]:
    if report.checks:
        yield "## Instructions that a program checks"
        names = ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")
        yield _table(
            ["arm", "rows", "checks", *(name.replace("_", ", ") + " %" for name in names)],
            [
                [
                    found.arm,
                    str(found.intervals["prompt_strict"].n),
                    str(found.intervals["instruction_strict"].n),
                    *(_sure(getattr(found, name), found.intervals[name]) for name in names),
                ]
                for found in report.checks
            ],
        )


def _preference(found: Preference) -> Iterator[str]:
    header = ["rows", "adapter better", "tie", "base better", "adapter's share %", "at equal length %", "sign-flip p"]
    row = [
        str(found.n),
        str(found.wins),
        str(found.ties),
        str(found.losses),
        _sure(found.share, found.interval),
        _sure(found.length_controlled, found.length_controlled_interval),
        _p_value(found.p),
    ]
    yield _table(header, [row])
    yield (
        f"{_code(found.judge)} compared the answers of adapter and base, each pair in both orders; orders that "
        "contradict each other are a tie, and ties count half. Rows left out, since the judge failed or could not be "
        f"read: {found.unread}."
    )
    if found.orders_agree is not None:
        leaning = "" if found.first_place is None else f", {found.first_place:.0%} of its choices were the first answer"
        yield f"On {found.orders_agree:.0%} of the rows both orders gave the same verdict{leaning}."


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"


def _form(report: EvalReport) -> Iterator[str]:
    found = report.form_drop
    if found is not None:
        yield "## A form that was never trained on"
        yield (
            f"Asked in the kept-back form instead of a trained one, the adapter scores {_points(found.mean)} points "
            f"(95% interval {_points(found.low)} to {_points(found.high)}, {found.n} rows of {found.tasks} tasks, "
            f"sign-flip p {_p_value(found.p) or 'unknown'}): {found.finding}."
        )


def _trained(report: EvalReport) -> Iterator[str]:
    if report.trained_scores:
        yield "## Adapter on validation rows of trained categories"
        yield _table(
            ["category", "rows", "score (95% interval)"],
            [
                [found.category, str(found.n), _sure(found.score, found.intervals.get("score"))]
                for found in report.trained_scores
            ],
        )


def _examples(scored: Mapping[str, Sequence[Scored]]) -> Iterator[str]:
    shown: dict[str, int] = {}
    for base, adapter in zip(scored["base"], scored["adapter"], strict=True):
        task = base.task
        shown[task.category] = shown.get(task.category, 0) + 1
        if shown[task.category] <= EXAMPLES_PER_CATEGORY:
            yield f"### {task.category}: {task.id}"
            yield _fenced(f"{task.instruction}\n\n{task.input}".strip())
            yield f"Wanted:\n\n{_fenced(' / '.join(task.references) or ', '.join(check.name for check in task.checks))}"
            yield f"Base ({base.score.value:.2f}):\n\n{_fenced(base.answer)}"
            yield f"Adapter ({adapter.score.value:.2f}):\n\n{_fenced(adapter.answer)}"


def _fenced(text: str) -> str:
    """Show a model's text as text, whatever markup it holds: the fence is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _sure(share: float | None, interval: Interval | None, rows: int | None = None) -> str:
    """Write a share with its interval, both in percent, and its rows where they are others than `rows`."""
    if share is None or interval is None:
        return "" if share is None else f"{share * 100:.1f}"
    count = "" if rows in {None, interval.n} else f", n = {interval.n}"
    return f"{share * 100:.1f} ({interval.low * 100:.1f} to {interval.high * 100:.1f}{count})"


def _p_value(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _points(share: float) -> str:
    return f"{share * 100:+.1f}".replace("-", "−")
