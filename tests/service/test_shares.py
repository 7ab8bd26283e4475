"""Target shares in the pool: the base, what evaluations make of it, and what generation then asks for."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.core.reports import CategoryScore, EvalReport, PromotionDecision
from seedbed.generator.plan import Plan
from seedbed.service.context import Context, writing
from seedbed.service.init import create_workspace
from seedbed.service.shares import follow_scores, note_base, target_shares
from seedbed.service.workspace import open_workspace


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    create_workspace(tmp_path / "w", base_url="http://unused/v1", model="m")
    with writing(open_workspace(tmp_path / "w")) as opened:
        yield opened


def report(adapter: str, **scores: float) -> EvalReport:
    found = [
        CategoryScore(arm="adapter", category=name, n=50, rouge_l=value, score=value) for name, value in scores.items()
    ]
    return EvalReport(
        adapter_id=adapter,
        snapshot_id="s",
        base_sha256="0",
        held_out_categories=("closed_qa",),
        scores=(),
        differences=(),
        trained_scores=tuple(found),
        decision=PromotionDecision.HOLD_UNDECIDED,
        reason="too few rows",
        created_at=0,
    )


def test_the_base_is_in_the_table_once_with_its_reason(context: Context) -> None:
    note_base(context.workspace, context.pool)
    note_base(context.workspace, context.pool)
    history = context.pool.share_history()
    assert {one.category: one.share for one in history} == context.workspace.categories.shares()
    assert len(history) == len(context.workspace.categories.trained)
    assert {one.reason for one in history} == {"base: seeds/categories.toml"}


def test_an_evaluation_moves_the_next_targets_and_says_why(context: Context) -> None:
    note_base(context.workspace, context.pool)
    base = target_shares(context.workspace, context.pool)
    assert follow_scores(context, report("round-0000", coding=0.1, planning=0.5, safety=0.0))
    after = target_shares(context.workspace, context.pool)
    assert after["coding"] > base["coding"]
    assert after["planning"] < base["planning"]
    assert after["safety"] == base["safety"]
    assert sum(after.values()) == pytest.approx(1.0)
    reasons = {one.category: one.reason for one in context.pool.share_history()}
    assert reasons["coding"].startswith("evaluation of round-0000: score 0.100 on 50 validation rows; base 0.090")


def test_a_report_moves_shares_once_and_the_next_one_starts_from_the_base(context: Context) -> None:
    note_base(context.workspace, context.pool)
    weak = {"coding": 0.1, "planning": 0.5}
    assert follow_scores(context, report("round-0000", **weak))
    once = target_shares(context.workspace, context.pool)
    assert not follow_scores(context, report("round-0000", **weak))
    assert follow_scores(context, report("round-0001", **weak))
    assert target_shares(context.workspace, context.pool) == once


def test_what_a_person_sets_is_the_new_base(context: Context) -> None:
    note_base(context.workspace, context.pool)
    context.pool.set_shares({"coding": 0.3}, "more code, please")
    follow_scores(context, report("round-0000", coding=0.1, planning=0.5))
    assert target_shares(context.workspace, context.pool)["coding"] > 0.3


def test_the_plan_asks_for_the_weak_category_more_often(context: Context) -> None:
    def asked() -> Counter[str]:
        settings = context.workspace.config.generation.model_copy(update={"recipes": {"alpaca": 1.0}})
        plan = Plan(
            categories=context.workspace.categories,
            seeds=context.workspace.trained_seeds,
            settings=settings,
            prompts=context.prompts,
            use_json_schema=True,
            shares=target_shares(context.workspace, context.pool),
        )
        return Counter(plan.next().requested_category for _ in range(400))

    note_base(context.workspace, context.pool)
    before = asked()
    follow_scores(context, report("round-0000", coding=0.0, planning=1.0, rewriting=0.5))
    after = asked()
    assert after["coding"] > 1.2 * before["coding"]
    assert after["planning"] < 0.9 * before["planning"]
