"""The evaluation, from a spec and someone who answers to a report."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from seedbed.core.files import write_json
from seedbed.core.refusals import finds_refusal
from seedbed.core.reports import CategoryScore, EvalReport
from seedbed.core.snapshots import read_examples, read_snapshot
from seedbed.core.text import content_id
from seedbed.evaluation.answering import Answered, Answerer
from seedbed.evaluation.answers import AnswerBook, AnswerLine
from seedbed.evaluation.arms import Arm, copied_demonstrations, copied_inputs, generated_arms
from seedbed.evaluation.asking import Hashes, Row, Sheet, Show, answer_line, answered_sheets
from seedbed.evaluation.checks import Follows, check_scores, follows
from seedbed.evaluation.detector import detector_error, labelled_answers
from seedbed.evaluation.gate import SafetyComparison, judge
from seedbed.evaluation.inspect_file import write_inspect
from seedbed.evaluation.report import write_report
from seedbed.evaluation.safety import compare_safety, safety_intervals, safety_shares
from seedbed.evaluation.scoring import Scored, category_scores, differences, form_drop, scored_row
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.evaluation.tasks import HeldOutTask, as_tasks


def evaluate(
    spec: EvaluationSpec,
    answerer: Answerer,
    out: Path,
    *,
    hashes: Hashes,
    refuses: Callable[[str], object] = finds_refusal,
    checker: Follows = follows,
    now: Callable[[], float] = time.time,
    show: Show = lambda _: None,
) -> EvalReport:
    """Answer, score, compare and decide.

    Writes `answers.jsonl`, `report.md`, `scores.png`, `inspect/` and, last, `report.json`.

    Run again on the same `out`, it puts no question twice that an equal model was asked before.

    Args:
        spec: What is compared on what.
        answerer: The student with its adapter.
        out: The folder for the files.
        hashes: Which weights the answerer holds.
        refuses: Tells an answer that refuses.
        checker: Tells what an answer followed of its checks.
        now: The clock, in seconds since 1970.
        show: Told of the progress, a line at a time.

    Raises:
        MissingFileError: The snapshot is not there.
        SnapshotError: It was changed after it was frozen.
    """
    snapshot = read_snapshot(spec.snapshot)
    trained = as_tasks(read_examples(spec.snapshot, "val")[: spec.evaluation.trained_rows])
    book = AnswerBook(out / "answers.jsonl")
    arms = generated_arms(
        spec.training, has_chat_template=answerer.has_chat_template, with_unseen_form=spec.with_unseen_form
    )
    sheets: dict[tuple[str, str], Sheet] = {}
    for arm in arms:
        rows = _rows_of(arm.name, spec, trained)
        for sheet in answered_sheets(arm, rows, answerer, book, hashes=hashes, settings=spec.evaluation, show=show):
            sheets[sheet.arm, sheet.part] = sheet
    scored = _scored(spec.tasks, arms, sheets, checker)
    trained_rows = _score(trained, sheets["adapter", "trained"].answers, checker)
    book.finish([*_lines(sheets.values(), scored, trained_rows), *_copied_lines(scored)])
    safety = compare_safety(spec.safety, _texts(sheets["base", "safety"]), _texts(sheets["adapter", "safety"]), refuses)
    report = _report(spec, snapshot.id, hashes, scored, trained_rows, safety, refuses, now())
    write_report(report, scored, out)
    write_inspect(spec.tasks, out / "inspect", spec.evaluation.max_new_tokens)
    write_json(out / "report.json", report.model_dump(mode="json"))
    return report


def _rows_of(arm: str, spec: EvaluationSpec, trained: Sequence[HeldOutTask]) -> list[Row]:
    """Return what an arm answers: all the held-out rows; safety and trained rows only where they are compared."""
    rows = [Row("held_out", task.id, task.instruction, task.input) for task in spec.tasks]
    if arm in {"base", "adapter"}:
        rows += [Row("safety", task.id, task.instruction, task.input) for task in spec.safety]
    if arm == "adapter":
        rows += [Row("trained", task.id, task.instruction, task.input) for task in trained]
    return rows


def _scored(
    tasks: Sequence[HeldOutTask], arms: Sequence[Arm], sheets: Mapping[tuple[str, str], Sheet], checker: Follows
) -> dict[str, list[Scored]]:
    """Score the held-out rows of every arm, those that copy among them."""
    scored = {arm.name: _score(tasks, sheets[arm.name, "held_out"].answers, checker) for arm in arms}
    for name, copied in (("copy_input", copied_inputs(tasks)), ("copy_demonstration", copied_demonstrations(tasks))):
        scored[name] = [scored_row(task, text, None, checker) for task, text in zip(tasks, copied, strict=True)]
    return scored


def _score(tasks: Sequence[HeldOutTask], answers: Sequence[Answered], checker: Follows) -> list[Scored]:
    return [scored_row(task, answer.text, answer.ended, checker) for task, answer in zip(tasks, answers, strict=True)]


def _report(
    spec: EvaluationSpec,
    snapshot_id: str,
    hashes: Hashes,
    scored: Mapping[str, Sequence[Scored]],
    trained: Sequence[Scored],
    safety: SafetyComparison,
    refuses: Callable[[str], object],
    created_at: float,
) -> EvalReport:
    draws, seed = spec.evaluation.bootstrap_draws, spec.training.seed
    found = differences(scored["base"], scored["adapter"], draws=draws, seed=seed, min_rows=spec.evaluation.min_rows)
    judgement = judge(found[-1], safety, spec.evaluation, is_tainted=spec.is_tainted)
    scores: list[CategoryScore] = []
    for arm, rows in scored.items():
        scores += category_scores(arm, rows, draws=draws, seed=seed)
    return EvalReport(
        adapter_id=spec.adapter_id,
        snapshot_id=snapshot_id,
        base_sha256=hashes.base_sha256,
        held_out_categories=spec.held_out_categories or tuple(sorted({task.category for task in spec.tasks})),
        scores=tuple(scores),
        differences=tuple(found),
        trained_scores=tuple(category_scores("adapter", trained, draws=draws, seed=seed)),
        safety=safety_shares(safety),
        safety_intervals=safety_intervals(safety),
        detector=detector_error(refuses, labelled_answers()) if spec.safety else None,
        checks=tuple(
            check_scores(
                {arm: [(row.task.task, row.checked) for row in rows if row.checked] for arm, rows in scored.items()},
                draws=draws,
                seed=seed,
            )
        ),
        form_drop=None
        if (unseen := scored.get("adapter_unseen_form")) is None
        else form_drop(scored["adapter"], unseen, draws=draws, seed=seed, min_rows=spec.evaluation.min_rows),
        decision=judgement.decision,
        reason=judgement.reason,
        created_at=created_at,
    )


def _texts(sheet: Sheet) -> list[str]:
    return [answer.text for answer in sheet.answers]


def _lines(
    sheets: Iterable[Sheet], scored: Mapping[str, Sequence[Scored]], trained: Sequence[Scored]
) -> Iterator[AnswerLine]:
    for sheet in sheets:
        marks: Sequence[Scored | None] = [None] * len(sheet.rows)
        if sheet.rows and sheet.part != "safety":
            marks = scored[sheet.arm] if sheet.part == "held_out" else trained
        for row, key, form, answer, mark in zip(sheet.rows, sheet.keys, sheet.forms, sheet.answers, marks, strict=True):
            line = answer_line(sheet.arm, row, key, form, answer)
            yield line if mark is None else _marked(line, mark)


def _copied_lines(scored: Mapping[str, Sequence[Scored]]) -> Iterator[AnswerLine]:
    for arm in ("copy_input", "copy_demonstration"):
        for row in scored[arm]:
            task = row.task
            line = AnswerLine(
                key=content_id((arm, task.id)),
                arm=arm,
                id=task.id,
                part="held_out",
                instruction=task.instruction,
                input=task.input,
                answer=row.answer,
            )
            yield _marked(line, row)


def _marked(line: AnswerLine, row: Scored) -> AnswerLine:
    marks = {"exact_match": row.score.exact_match, "rouge_l": row.score.rouge_l, "score": row.score.value}
    return line.model_copy(update={"references": row.task.references, **marks})
