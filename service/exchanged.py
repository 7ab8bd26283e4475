"""What the HTTP service takes and gives beside the records of other rooms; its client reads the same records."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from seedbed.core.records import Candidate, Decision, Record, Request, TrainingRun, Verdict
from seedbed.core.reports import EvalReport
from seedbed.pool.records import Attempt
from seedbed.service.ancestry import Ancestor
from seedbed.service.history import Sample
from seedbed.service.looking import LossPoint, SideBySide

Kind = Literal["seed", "prompt", "model"]
"""What rows can be quarantined by: a seed or row, a prompt's hash, a model."""
ExportForm = Literal["alpaca", "alpaca-jsonl", "sharegpt", "sharegpt-jsonl", "messages", "parquet", "csv"]
"""The formats of `seedbed export` that are one file."""


def _no_text(value: Any) -> Any:
    """Refuse a text or a truth value where a number is asked for, as JSON Schema does."""
    if isinstance(value, str | bool):
        raise ValueError("it must be a number")  # noqa: TRY004 - pydantic reports no TypeError
    return value


NUMBER = BeforeValidator(_no_text)


class Problem(Record):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    """What happened, and what to do."""


class Health(Record):
    """Whether the process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(Record):
    """Whether the service is able to work."""

    status: Literal["ready", "not ready"]
    reason: str = ""
    """Why it is not; empty where it is."""


class LoginLink(Record):
    """The way into the page, once."""

    path: str


class Row(Record):
    """A row in a list, with how it stands."""

    candidate: Candidate
    is_accepted: bool
    filter: str
    """The filter that refused it; empty where accepted."""
    reason: str
    is_blanked: bool = False
    """Its text was removed since it is old (`[retention]`)."""


class Page(Record):
    """Some rows, newest first."""

    rows: tuple[Row, ...]
    next: str | None = None
    """The cursor of the next page; None on the last."""


class Piece(Record):
    """A piece of an answer that the parser could make nothing of."""

    request_id: str
    reason: str
    text: str
    is_blanked: bool = False
    """Its text was removed since it is old (`[retention]`)."""


class Explained(Record):
    """A row or proposal with everything that was decided on it."""

    subject: dict[str, Any]
    is_blanked: bool = False
    """Its text was removed since it is old (`[retention]`)."""
    decisions: tuple[Decision, ...]
    neighbour: dict[str, Any] | None = None
    """The text that the deciding verdict names."""
    ancestors: tuple[Ancestor, ...] = ()
    """What was shown when it was written, and what was shown for that, back to the seeds."""
    requests: tuple[Request, ...] = Field(default=())
    """What the model was asked for it."""


class RunShown(Record):
    """A training run with every attempt at it."""

    run: TrainingRun
    attempts: tuple[Attempt, ...]


class Over(Record):
    """Samples of the status since this service started."""

    every_s: float
    """Seconds from one to the next, now."""
    samples: tuple[Sample, ...]


class Curve(Record):
    """A training so far."""

    run: TrainingRun
    points: tuple[LossPoint, ...]


class Tail(Record):
    """The end of a log."""

    text: str


class Answers(Record):
    """Questions with the answers of base and adapter, in the order of the evaluation."""

    answers: tuple[SideBySide, ...]
    next: int | None
    """Where to go on; None at the end."""


class Noted(Record):
    """A reason, for the record."""

    note: str = Field(default="by hand", max_length=2000)


class TargetWanted(Record):
    """A target; null goes on for ever."""

    target: Annotated[int, Field(ge=1, le=10**9), NUMBER] | None


class ConcurrencyWanted(Record):
    """Recipes at once; null goes by the config."""

    concurrency: Annotated[int, Field(ge=1, le=100_000), NUMBER] | None


class BudgetWanted(Record):
    """What may be spent, 0 for no limit; null goes by the config."""

    max_tokens: Annotated[int, Field(ge=0, le=10**15), NUMBER] | None
    max_cost: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False), NUMBER] | None


class SharesWanted(Record):
    """Target shares of categories; any sum."""

    shares: dict[str, Annotated[float, Field(ge=0, le=1), NUMBER]] = Field(min_length=1, max_length=500)
    note: str = Field(default="by hand", max_length=2000)


class QuarantineWanted(Record):
    """Which rows to refuse: all that descend from this."""

    ancestor: Kind
    name: str = Field(min_length=1, max_length=200)
    note: str = Field(default="by hand", max_length=2000)
    dry_run: bool = Field(default=True, strict=True)


class PruneWanted(Record):
    """Whether to remove what is old, or only to tell what that is."""

    dry_run: bool = Field(default=True, strict=True)


class RemovedShown(Record):
    """What a prune removed of one kind."""

    items: int
    bytes: int


class PrunedShown(Record):
    """What a prune removed, or would remove."""

    dry_run: bool
    bytes: int
    """Of all kinds."""
    kinds: dict[str, RemovedShown]
    folders: tuple[str, ...]
    """Relative to the workspace."""
    was_stopped: bool
    """The process was to end on the way; pruning again goes on."""


class Evaluation(Record):
    """How an evaluation stands that a person asked for."""

    adapter_id: str
    state: Literal["waiting", "done"]
    """Waiting: it begins when what runs has drained, and its report will stand among the reports."""
    report: EvalReport | None = None


class Quarantined(Record):
    """What a quarantine by lineage found."""

    rows: int
    ids: tuple[str, ...]
    """The first hundred."""
    was_dry: bool


class Changed(Record):
    """What became of it."""

    done: dict[str, Any]


class BadLine(Record):
    """A line of a file that is no row."""

    line: int
    """From 1."""
    problem: str


class Imported(Record):
    """What an import came to."""

    rows: int = 0
    """That could be read."""
    accepted: int = 0
    refused: dict[str, int] = Field(default={})
    """By filter and reason: `rouge.near_duplicate`; `duplicate.seen_before` for rows that the pool knew."""
    waiting: int = 0
    """Of these, the rows whose category could not be verified; a person may accept them."""
    malformed_lines: int = 0
    malformed: tuple[BadLine, ...] = ()
    """The first hundred."""


class ReferenceShown(Record):
    """A reference file of the workspace."""

    name: str
    """As verdicts call it."""
    file: str
    bytes: int
    fields: tuple[str, ...]
    """Where its items stand, as was chosen; empty: the reader's choice."""


class AddedShown(Record):
    """A reference file that was added."""

    name: str
    file: str
    items: int
    fields: tuple[str, ...]
    was_there: bool
    """The same file had been added before."""


class HitShown(Record):
    """A row that a rescan took out."""

    id: str
    instruction: str
    verdict: Verdict


class TaintedShown(Record):
    """An adapter that a rescan found to be trained on rows that overlap with a reference."""

    id: str
    rows: int
    ids: tuple[str, ...]
    """The first few of them."""


class TaintingShown(Record):
    """What became of the adapters."""

    tainted: tuple[TaintedShown, ...]
    rolled_back: tuple[str, ...]
    in_service: str
    """Afterwards; empty for the base alone."""
    unknown: tuple[str, ...]
    """Why an adapter could not be examined."""


class RescannedShown(Record):
    """What looking for references in the whole pool found."""

    references: tuple[AddedShown, ...]
    """Added with it."""
    scanned: int
    quarantined: int
    rules: dict[str, int]
    """Quarantined rows by rule."""
    by_reference: dict[str, int]
    examples: tuple[HitShown, ...]
    """The first few."""
    accepted_by_a_person_all_the_same: int
    adapters: TaintingShown
    was_stopped: bool
    """The service stopped on the way; rescanning again goes on."""
