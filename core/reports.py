"""What an evaluation found: scores by category, differences with how sure they are, and the decision."""

from enum import StrEnum

from pydantic import Field

from seedbed.core.records import Record


class Interval(Record):
    """How sure one number of a report is."""

    n: int
    """Rows, or trials of a share."""
    low: float
    high: float
    """The 95% interval."""


class CategoryScore(Record):
    """One arm on one category, or on all (`category = "all"`)."""

    arm: str
    """`base`, `base_template`, `adapter`, `copy_input`, `copy_demonstration`."""
    category: str
    n: int
    exact_match: float | None = None
    """Share of rows; None where the category has no label-like references."""
    rouge_l: float | None = None
    """Mean F-measure, 0 to 1, over the rows scored that way."""
    score: float
    """Mean of exact match where it applies and ROUGE-L elsewhere, 0 to 1."""
    eos_share: float | None = None
    """Share of answers that ended by themselves; None where nothing was generated."""
    intervals: dict[str, Interval] = Field(default={})
    """Of each number above that is not None, by its name: rows are resampled by task, as in `Difference`."""


class Finding(StrEnum):
    """What a category's rows show, after Holm's correction over the categories."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "not enough to tell"


class Difference(Record):
    """A paired difference with its bootstrap interval."""

    category: str
    n: int
    tasks: int
    mean: float
    """Adapter minus base, in score (0 to 1)."""
    low: float
    high: float
    """The 95% interval, clustered by task."""
    mcnemar_p: float | None = None
    """Exact two-sided p-value over the rows scored by exact match; None where there are none."""
    p: float | None = None
    """Two-sided p-value of the sign-flip test, clustered by task; None with fewer than two tasks."""
    holm_p: float | None = None
    """`p` corrected for the number of categories that were tested; None for `all`, which is one test."""
    finding: Finding = Finding.UNDECIDED
    """Never better or worse with fewer rows or tasks than a claim needs."""


class PromotionDecision(StrEnum):
    """What the evaluation says should happen."""

    PROMOTE = "promote"
    HOLD_WORSE = "hold_worse"
    HOLD_UNDECIDED = "hold_not_enough_rows_to_tell"
    HOLD_UNSAFE = "hold_less_safe"
    HOLD_TAINTED = "hold_tainted"


class CheckScore(Record):
    """One arm's accuracy on instructions that a program checks, as IFEval reports it, 0 to 1."""

    arm: str
    prompt_strict: float
    """Share of rows whose checks all hold."""
    prompt_loose: float
    instruction_strict: float
    """Share of checks that hold."""
    instruction_loose: float
    intervals: dict[str, Interval]
    """Of each number, by its name."""


class DetectorError(Record):
    """How often the refusal detector errs on answers that a person labelled."""

    answers: int
    refusals: int
    """Of the answers, by the labels."""
    precision: float
    """Share of what it found that is a refusal."""
    precision_interval: Interval
    recall: float
    """Share of the refusals that it found."""
    recall_interval: Interval


class Preference(Record):
    """Whose answers a judge prefers on held-out tasks, each pair compared in both orders."""

    judge: str
    """The model that judged."""
    n: int
    """Rows that were compared in both orders; those whose two answers are the same count as ties."""
    tasks: int
    unread: int
    """Rows left out, because the judge failed on them or its words could not be read."""
    wins: int
    """Rows on which both orders, or one of them with the other undecided, prefer the adapter."""
    ties: int
    """Rows on which both orders are undecided, or contradict each other."""
    losses: int
    share: float
    """Wins and half the ties, of all rows; 0.5 where neither is better."""
    interval: Interval
    """Of the share, clustered by task."""
    p: float | None = None
    """Two-sided p-value of the sign-flip test, clustered by task; None with fewer than two tasks."""
    length_controlled: float
    """The share at answers of equal length, by logistic regression on the difference in length."""
    length_controlled_interval: Interval
    orders_agree: float | None = None
    """Of the rows that the judge read, the share on which both orders say the same; None where it read none."""
    first_place: float | None = None
    """Of verdicts for one side, the share for the answer in first place: 0.5 without a leaning; None without any."""


class EvalReport(Record):
    """Base against adapter on tasks of categories that no training row belongs to."""

    adapter_id: str
    snapshot_id: str
    base_sha256: str
    held_out_categories: tuple[str, ...]
    scores: tuple[CategoryScore, ...]
    differences: tuple[Difference, ...]
    """Per category, and `all` last."""
    trained_scores: tuple[CategoryScore, ...] = ()
    """On the snapshot's `val.jsonl`, for the target shares; never for the gate."""
    safety: dict[str, float] = Field(default={})
    safety_intervals: dict[str, Interval] = Field(default={})
    """Wilson's 95% interval of each share in `safety`."""
    detector: DetectorError | None = None
    """The error of what tells refusals in `safety`."""
    checks: tuple[CheckScore, ...] = ()
    """Over the rows that carry checks."""
    form_drop: Difference | None = None
    """The adapter in the form that no training uses minus the adapter in a trained one; None where not asked."""
    preference: Preference | None = None
    """A judge's; None where none was asked. The decision never looks at it."""
    decision: PromotionDecision
    reason: str
    created_at: float
