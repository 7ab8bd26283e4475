"""The whole evaluation, with a scripted model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.config import EvaluationConfig, TrainingConfig, TrainingTemplate
from seedbed.core.errors import MissingFileError
from seedbed.core.files import read_json
from seedbed.core.reports import CategoryScore, EvalReport, PromotionDecision
from seedbed.evaluation.answering import Question
from seedbed.evaluation.asking import Hashes
from seedbed.evaluation.run import evaluate
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.prompts.training_text import KEPT_BACK_FORM, MIXED_FORMS, Form

HASHES = Hashes("base", "adapter")
Scripted = Callable[..., Any]


def script(is_adapter_on: bool, question: Question) -> str:
    """The adapter knows all; the base runs on, answers half the labels, and refuses nothing."""
    if question.instruction.startswith("Request"):
        return "I'm sorry, I can't help with that." if is_adapter_on and question.instruction[-1] in "01" else "Sure:"
    if question.instruction.startswith("Trained"):
        return question.instruction.replace("Trained", "answer") if is_adapter_on else ""
    if question.instruction == "Yes or no?":
        return "Yes." if is_adapter_on or int(question.input[-1]) < 4 else "no"
    return "the cat sat on the mat" if is_adapter_on else "the dog sat and " * 10


def scores(report: EvalReport, arm: str, category: str) -> CategoryScore:
    return next(score for score in report.scores if (score.arm, score.category) == (arm, category))


def run(spec: EvaluationSpec, answerer: Any, out: Path, **changes: Any) -> EvalReport:
    return evaluate(spec, answerer, out, hashes=HASHES, now=lambda: 9.0, **changes)


def test_scores_are_those_worked_out_by_hand(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    report = run(spec, scripted(script), tmp_path / "out")
    labels = scores(report, "base", "closed_qa")
    assert (labels.n, labels.exact_match, labels.rouge_l, labels.eos_share) == (8, 0.5, None, 1.0)
    sentences = scores(report, "base", "translation")
    # 40 words against 6 (the nearer of the two references), of which "the … sat … the" follow in order: P = 3/40,
    # R = 3/6, F = 2 · P · R / (P + R) = 6/46.
    assert sentences.rouge_l == pytest.approx(6 / 46)
    assert (sentences.exact_match, sentences.eos_share) == (None, 0.0)
    assert scores(report, "adapter", "all").score == 1.0
    assert scores(report, "base", "all").score == pytest.approx((4 + 4 * 6 / 46) / 12)
    # Copying "Case 1" and the instruction "Translate 1" matches nothing; the other rows' answers are all right.
    assert scores(report, "copy_input", "all").score == 0.0
    assert scores(report, "copy_demonstration", "all").score == 1.0
    assert scores(report, "copy_demonstration", "all").eos_share is None


def test_differences_and_the_decision_follow(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    report = run(spec, scripted(script), tmp_path / "out")
    assert [(found.category, found.n, found.tasks) for found in report.differences] == [
        ("closed_qa", 8, 4),
        ("translation", 4, 4),
        ("all", 12, 8),
    ]
    labels = report.differences[0]
    # Each of the 4 tasks gains one of its two rows, so every resample has the mean 0.5. Four gained, none lost:
    # p = 2 · (1/2)^4.
    assert (labels.mean, labels.low, labels.high, labels.mcnemar_p) == (0.5, 0.5, 0.5, 0.125)
    assert report.decision is PromotionDecision.PROMOTE
    assert report.held_out_categories == ("closed_qa", "translation")


def test_too_few_rows_hold(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    config = spec.evaluation.model_copy(update={"min_rows": 13})
    report = run(spec.model_copy(update={"evaluation": config}), scripted(script), tmp_path / "out")
    assert report.decision is PromotionDecision.HOLD_UNDECIDED
    assert "12 of 13 held-out rows" in report.reason


def test_without_held_out_rows_nothing_can_be_told(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    report = run(spec.model_copy(update={"tasks": ()}), scripted(script), tmp_path / "out")
    assert report.decision is PromotionDecision.HOLD_UNDECIDED
    assert "0 of 12 held-out rows" in report.reason
    assert report.scores == ()
    assert [(found.category, found.n, found.low, found.high) for found in report.differences] == [("all", 0, -1.0, 1.0)]


def test_safety_is_compared_both_ways(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    report = run(spec, scripted(script), tmp_path / "out")
    assert report.safety == {
        "harmful_rows": 2,
        "base.harmful_compliance": 1.0,
        "adapter.harmful_compliance": 0.0,
        "harmless_rows": 2,
        "base.over_refusal": 0.0,
        "adapter.over_refusal": 0.0,
    }
    # Wilson's interval of 0 of 2 ends at z²/(n + z²) = 3.8415/5.8415.
    interval = report.safety_intervals["adapter.over_refusal"]
    assert (interval.n, interval.low) == (2, 0.0)
    assert interval.high == pytest.approx(0.6576, abs=1e-4)
    assert report.detector is not None
    assert "labelled by hand" in (tmp_path / "out" / "report.md").read_text()


def test_an_adapter_that_refuses_harmless_requests_is_held(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    def refusing(is_adapter_on: bool, question: Question) -> str:
        if is_adapter_on and question.instruction.startswith("Request"):
            return "I cannot help with that."
        return script(is_adapter_on, question)

    report = run(spec, scripted(refusing), tmp_path / "out")
    assert report.decision is PromotionDecision.HOLD_UNSAFE


def test_trained_categories_are_scored_apart(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    report = run(spec, scripted(script), tmp_path / "out")
    assert {score.category for score in report.trained_scores} == {"extraction", "open_qa", "all"}
    assert all(score.score == 1.0 for score in report.trained_scores)
    none = spec.model_copy(update={"evaluation": EvaluationConfig(trained_rows=0, bootstrap_draws=100)})
    assert run(none, scripted(script), tmp_path / "none").trained_scores == ()


@pytest.mark.parametrize(("has_chat_template", "natural"), [(True, Form.CHAT), (False, Form.BARE)])
def test_each_arm_asks_in_its_form(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted, has_chat_template: bool, natural: Form
) -> None:
    model = scripted(script, has_chat_template=has_chat_template)
    run(spec, model, tmp_path / "out")
    assert {question.form for is_on, question in model.asked if is_on} == {Form.ALPACA}
    assert {question.form for is_on, question in model.asked if not is_on} == {natural, Form.ALPACA}


def test_mixed_training_asks_each_row_in_one_of_the_trained_forms(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    mixed = spec.model_copy(update={"training": TrainingConfig(template=TrainingTemplate.MIXED)})
    model = scripted(script)
    run(mixed, model, tmp_path / "out")
    forms = {question.form for is_on, question in model.asked if is_on}
    assert len(forms) > 1
    assert forms <= set(MIXED_FORMS)


def test_the_unseen_form_is_an_arm_where_it_is_wanted(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    model = scripted(script)
    report = run(spec.model_copy(update={"with_unseen_form": True}), model, tmp_path / "out")
    assert scores(report, "adapter_unseen_form", "all").n == 12
    assert sum(question.form is KEPT_BACK_FORM for _, question in model.asked) == 12
    assert report.form_drop is not None
    assert (report.form_drop.mean, report.form_drop.n) == (0.0, 12)


def test_what_an_unseen_form_costs_is_told_with_its_interval(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    def brittle(is_adapter_on: bool, question: Question) -> str:
        is_label = question.instruction == "Yes or no?"
        return "no" if question.form is KEPT_BACK_FORM and is_label else script(is_adapter_on, question)

    report = run(spec.model_copy(update={"with_unseen_form": True}), scripted(brittle), tmp_path / "out")
    drop = report.form_drop
    assert drop is not None
    # All 8 labels are lost and the 4 sentences are not; four tasks of two rows lost, so p = 2/2^4 over the tasks that
    # moved, whatever the signs of the other four.
    assert (drop.p, drop.n) == (0.125, 12)
    assert drop.mean == pytest.approx(-8 / 12)
    assert "the adapter scores −66.7 points" in (tmp_path / "out" / "report.md").read_text()
    assert run(spec, scripted(brittle), tmp_path / "without").form_drop is None


def test_arms_that_ask_the_same_are_asked_once(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    chat = spec.model_copy(update={"training": TrainingConfig(template=TrainingTemplate.CHAT)})
    model = scripted(script)
    report = run(chat, model, tmp_path / "out")
    # `base` and `base_template` are both the chat template: 12 held-out and 4 safety rows of the base, once.
    assert sum(not is_on for is_on, _ in model.asked) == 16
    assert scores(report, "base_template", "all").score == scores(report, "base", "all").score


def test_every_answer_is_on_file_with_its_score(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    report = run(spec, scripted(script), tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    for arm in ("base", "base_template", "adapter", "copy_input", "copy_demonstration"):
        held_out = [line for line in lines if line["arm"] == arm and line["part"] == "held_out"]
        assert [line["id"] for line in held_out] == [task.id for task in spec.tasks]
        mean = sum(line["score"] for line in held_out) / 12
        assert mean == pytest.approx(scores(report, arm, "all").score)
    safety = [line for line in lines if line["part"] == "safety"]
    assert {(line["arm"], line["score"]) for line in safety} == {("base", None), ("adapter", None)}
    assert EvalReport.model_validate(read_json(tmp_path / "out" / "report.json")) == report


class StoppedError(Exception):
    """Stands for the end of the process."""


def test_an_evaluation_that_was_cut_off_asks_nothing_twice(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    whole = scripted(script)
    expected = run(spec, whole, tmp_path / "whole")
    asked: list[tuple[bool, Question]] = []
    report = None
    for _ in range(100):
        model = scripted(script)
        real, left = model.answer, [2]

        def answer(*arguments: Any, left: list[int] = left, real: Any = real, **settings: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise StoppedError
            return real(*arguments, **settings)

        model.answer = answer
        try:
            report = run(spec, model, tmp_path / "cut")
        except StoppedError:
            continue
        finally:
            asked += model.asked
        break
    assert report == expected
    assert len(asked) == len(whole.asked)
    assert set(asked) == set(whole.asked)
    assert (tmp_path / "cut" / "answers.jsonl").read_bytes() == (tmp_path / "whole" / "answers.jsonl").read_bytes()


def test_a_line_that_was_cut_short_is_asked_again(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    expected = run(spec, scripted(script), tmp_path / "out")
    path = tmp_path / "out" / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    model = scripted(script)
    assert run(spec, model, tmp_path / "out") == expected
    assert len(model.asked) > 0
    assert path.read_bytes() == b"".join(lines)


def test_another_adapter_is_asked_anew_and_the_base_is_not(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    run(spec, scripted(script), tmp_path / "out")
    model = scripted(script)
    evaluate(spec, model, tmp_path / "out", hashes=Hashes("base", "another"))
    assert {is_on for is_on, _ in model.asked} == {True}


def test_batches_are_no_larger_than_was_set(spec: EvaluationSpec, tmp_path: Path, scripted: Scripted) -> None:
    model = scripted(script)
    run(spec, model, tmp_path / "out")
    assert max(model.batches) == 4


def test_the_page_shows_the_decision_the_numbers_and_the_answers_as_text(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    def marked(is_adapter_on: bool, question: Question) -> str:
        if question.instruction == "Translate 0":
            return "```\n<script>alert(1)</script>\n# heading\n```"
        return script(is_adapter_on, question)

    report = run(spec, scripted(marked), tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text()
    assert report.reason in page
    assert "| closed_qa | 8 | 4 | +50.0 | +50.0 to +50.0 | 0.125 | 0.125 | 0.25 | not enough to tell |" in page
    assert "````text\n```\n<script>alert(1)</script>" in page
    assert "Below 12 the intervals" in page
    assert (tmp_path / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_snapshot_is_told_before_anything_is_asked(
    spec: EvaluationSpec, tmp_path: Path, scripted: Scripted
) -> None:
    model = scripted(script)
    with pytest.raises(MissingFileError, match=r"no finished snapshot"):
        run(spec.model_copy(update={"snapshot": tmp_path / "nowhere"}), model, tmp_path / "out")
    assert model.asked == []
