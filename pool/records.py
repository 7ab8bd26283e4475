"""What the pool takes and gives beside the records of the core."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from seedbed.core.records import Candidate, Decision, Proposal, Record, RunState, TrainingRun


@dataclass(frozen=True, slots=True)
class Decided:
    """A proposal or candidate with the decision on it."""

    subject: Proposal | Candidate
    decision: Decision
    submission: int | None = None
    """The number of the submission that it answers, where another service found the subject."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which candidates to list; None leaves a property open."""

    is_accepted: bool | None = None
    filter: str | None = None
    """The one that refused."""
    reason: str | None = None
    category: str | None = None
    """As verified, else as requested."""
    recipe: str | None = None
    text: str | None = None
    """Stands in the instruction, input or output; upper and lower case of ASCII letters are one."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A candidate in a list, with how it stands."""

    number: int
    """Its place in the order of arrival."""
    candidate: Candidate
    is_accepted: bool
    filter: str
    """The one that refused; empty where accepted."""
    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit of decisions came to."""

    accepted: int
    """Accepted candidates in the pool now."""
    runs: tuple[TrainingRun, ...] = ()
    """The trainings that this commit triggered."""
    already_known: tuple[str, ...] = ()
    """Candidates that were in the pool before: noted as occurrences, their first decision stands."""


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """A request that was given up."""

    request_id: str
    kind: str
    """The error's class: `EndpointTimeoutError`."""
    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A piece of a completion that the parser could make nothing of."""

    request_id: str
    reason: str
    """In snake_case: `no_json`."""
    text: str


@dataclass(frozen=True, slots=True)
class Use:
    """What one endpoint, or all together, answered."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SpentFor:
    """What tokens were spent on: the endpoint that answered, the recipe that asked, the category it asked for."""

    endpoint: str
    recipe: str
    category: str
    """As requested; empty where a request asked for none."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the pool's completions cost, in requests and tokens; money is for those who know the prices."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    endpoints: Mapping[str, Use] = field(default_factory=dict)
    purposes: Mapping[SpentFor, Use] = field(default_factory=dict)
    """The same sums, by what they were spent on."""


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """How many of what. Each is kept, not counted, so reading them costs the same at any size."""

    decided: int
    """Candidates."""
    accepted: int
    refused: Mapping[str, int]
    """Candidates by filter and reason (`rouge.near_duplicate`), and `parse.REASON` for what could not be read."""
    categories: Mapping[str, int]
    """Accepted candidates by category: as verified, else as requested."""
    decided_categories: Mapping[str, int]
    """All candidates by category."""
    recipes: Mapping[str, int]
    """Accepted candidates by recipe."""
    decided_recipes: Mapping[str, int]
    """All candidates by recipe."""
    proposals_accepted: int
    proposals_refused: Mapping[str, int]
    """By filter and reason."""
    occurrences: int
    """Times that a triple came again."""
    unreadable: int
    """Pieces of completions; in `refused` too, by reason."""
    requests: int
    """Ever stored."""
    unanswered: int
    """Neither answered nor given up."""
    failed: int
    """Given up."""
    checked: Mapping[str, int] = field(default_factory=dict)
    """Candidates that each check could tell of, by grade (`check.arithmetic`)."""
    checked_wrong: Mapping[str, int] = field(default_factory=dict)
    """Of these, the ones found wrong."""


@dataclass(frozen=True, slots=True)
class ProposalsLeft:
    """Proposals of which no candidate was made."""

    accepted: int
    refused: int
    """At screening, so that no instance was ever paid for."""


class Kind(StrEnum):
    """What a service asks of the one that leads."""

    PROPOSAL = "proposal"
    """Screen it."""
    CANDIDATE = "candidate"
    """Decide it."""
    PREVIEW = "preview"
    """Say whether it would be accepted but for the judge's marks; nothing of it is stored."""
    RELEASE = "release"
    """Forget screened proposals that came to nothing."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Something that a service hands to the one that leads."""

    id: str
    """Chosen by who hands it over, to know the answer by."""
    kind: Kind
    record: str
    """A candidate, a proposal, or a list of proposals' ids, as JSON."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Something handed over, as the leader takes it."""

    number: int
    """The order of arrival."""
    node: str
    kind: Kind
    record: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the leader found."""

    number: int
    """Of the submission."""
    is_accepted: bool
    filter: str = ""
    """The one that refused; empty where accepted."""
    reason: str = ""
    id: str = ""
    """As chosen by who handed it over; who answers need not say it."""


class IntentState(StrEnum):
    """What the operator wants."""

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"


class Intent(Record):
    """What the operator wants the service to do; with what is stored, it says what the service does."""

    state: IntentState = IntentState.RUNNING
    target: int | None = None
    """Accepted rows to stop at; None: go on."""
    concurrency: int | None = None
    """Recipes at once; None: as the config says."""
    max_tokens: int | None = None
    """The budget of tokens, 0 for no limit; None: as the config says."""
    max_cost: float | None = None
    """The budget of money, 0 for no limit; None: as the config says."""


class Attempt(Record):
    """One try at a training run."""

    round: int
    number: int
    """From 1."""
    state: RunState
    error: str = ""
    started_at: float
    ended_at: float | None = None


class ShareChange(Record):
    """A category's target share, and why it was set."""

    category: str
    share: float
    reason: str
    changed_at: float


class Occurrence(Record):
    """A triple that came again, after its first decision."""

    candidate_id: str
    task_id: str
    recipe: str
    request_ids: tuple[str, ...]
    seen_at: float
