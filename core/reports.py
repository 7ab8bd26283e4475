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
    decision: PromotionDecision
    reason: str
    created_at: float
