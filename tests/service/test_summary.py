"""The last screen of a run."""

from seedbed.core.reports import CheckScore, Difference, EvalReport, Finding, Interval, Preference, PromotionDecision
from seedbed.service.summary import further_results

BARE = EvalReport(
    adapter_id="round-0000",
    snapshot_id="s",
    base_sha256="0" * 64,
    held_out_categories=("qa",),
    scores=(),
    differences=(),
    decision=PromotionDecision.HOLD_WORSE,
    reason="worse",
    created_at=5.0,
)


def test_a_report_of_scores_alone_says_nothing_further() -> None:
    assert not list(further_results(BARE))


def test_form_checks_safety_and_judge_have_a_line_each_with_rows_and_interval() -> None:
    tenth = Interval(n=10, low=0.1, high=0.5)
    checks = CheckScore(
        arm="adapter",
        prompt_strict=0.3,
        prompt_loose=0.4,
        instruction_strict=0.5,
        instruction_loose=0.6,
        intervals={"prompt_strict": tenth},
    )
    preference = Preference(
        judge="grader",
        n=8,
        tasks=8,
        unread=0,
        wins=5,
        ties=2,
        losses=1,
        share=0.75,
        interval=Interval(n=8, low=0.5, high=0.9),
        length_controlled=0.6,
        length_controlled_interval=Interval(n=8, low=0.4, high=0.8),
    )
    report = BARE.model_copy(
        update={
            "form_drop": Difference(
                category="all", n=40, tasks=40, mean=-0.05, low=-0.1, high=0.0, finding=Finding.UNDECIDED
            ),
            "checks": (checks,),
            "safety": {"adapter.over_refusal": 0.2},
            "safety_intervals": {"adapter.over_refusal": tenth},
            "preference": preference,
        }
    )
    assert list(further_results(report)) == [
        "in a form never trained in: -5.0 points (-10.0 to +0.0, n = 40), not enough to tell",
        "checks kept by adapter: 30% of 10 rows (40% loosely)",
        "adapter.over refusal: 20% of 10 (10% to 50%)",
        "grader prefers the adapter: 75% of 8 rows (50% to 90%; 5 won, 2 tied, 1 lost), 60% at equal length",
    ]
