"""The records that travel between rooms, from seed task to adapter."""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from seedbed.core.diversity import Diversity, Reaction
from seedbed.core.text import triple_id


class Record(BaseModel):
    """The base of all records: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SeedTask(Record):
    """A task written by a person."""

    id: str = Field(min_length=1)
    category: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    input: str = ""
    """Empty where the instruction needs none."""
    output: str = Field(min_length=1)
    is_classification: bool = False
    """The output is one of a few labels."""
    difficulty: Literal["easy", "medium", "hard"] = "medium"


class Message(Record):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Record):
    """How the model is to write. A value of None is left out of the request, so the server's default holds."""

    temperature: float = Field(default=1.0, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    max_tokens: int = Field(default=1024, ge=1)
    stop: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    """A JSON Schema that the answer must follow, where the endpoint can hold the model to one."""


class Request(Record):
    """One question to a model server."""

    id: str
    purpose: str
    """Recipe and step: `self_instruct.propose`."""
    messages: tuple[Message, ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    prompt_sha256: str = ""
    """Hash of the prompt template that made the messages."""
    demonstration_ids: tuple[str, ...] = ()
    requested_category: str = ""


class FinishReason(StrEnum):
    """Why the server stopped writing."""

    STOP = "stop"
    LENGTH = "length"
    OTHER = "other"


class Completion(Record):
    """What came back for a request."""

    request_id: str
    text: str
    finish_reason: FinishReason
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    is_usage_counted: bool = True
    """False where the server sent no usage and the numbers are our estimate."""
    model: str
    endpoint: str
    latency_s: float = Field(ge=0)


class Spent(Record):
    """What was asked and paid so far."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """In the currency of `[budget]`."""


class Lineage(Record):
    """Where a proposal or candidate came from."""

    recipe: str
    """`import` for rows that came from a file."""
    request_ids: tuple[str, ...] = ()
    demonstration_ids: tuple[str, ...] = ()
    prompt_sha256: str = ""
    model: str = ""
    sampling: Sampling | None = None
    depth: int = Field(default=0, ge=0)
    """1 + the greatest depth among the demonstrations; seeds have 0, so a child of seeds alone has 1."""


class Proposal(Record):
    """An instruction without instances yet. Its id is the task_id of the candidates made from it."""

    id: str
    instruction: str
    requested_category: str = ""
    is_classification: bool | None = None
    """None until the model was asked."""
    lineage: Lineage

    @property
    def is_blanked(self) -> bool:
        """Whether its text was removed since it is old (`[retention]`)."""
        return not self.instruction


CHECK_PREFIX = "check."
"""Checks are the grades named so: 1 where an answer was found right, 0 where it was found wrong."""


class Candidate(Record):
    """A triple that wants to enter the pool."""

    id: str
    """Hash of the canonical triple, see `Candidate.of`."""
    task_id: str
    """Instances of one proposal share it."""
    instruction: str
    input: str = ""
    output: str
    requested_category: str = ""
    category: str = ""
    """As verified; empty while it was not."""
    grades: dict[str, float] = {}
    """Results of stages that need a model: judge's marks, agreement of samples, share of checks passed."""
    lineage: Lineage

    @classmethod
    def of(
        cls,
        instruction: str,
        input: str,
        output: str,
        *,
        lineage: Lineage,
        task_id: str = "",
        requested_category: str = "",
        category: str = "",
    ) -> Self:
        """Make a candidate with the id its text gives it; without a task_id it is a task of its own."""
        identity = triple_id(instruction, input, output)
        return cls(
            id=identity,
            task_id=task_id or identity,
            instruction=instruction,
            input=input,
            output=output,
            requested_category=requested_category,
            category=category,
            lineage=lineage,
        )

    @property
    def is_blanked(self) -> bool:
        """Whether its text was removed since it is old (`[retention]`): the id is the hash of another text."""
        return not self.output and self.id != triple_id(self.instruction, self.input, self.output)


class Verdict(Record):
    """What one filter says of one proposal or candidate."""

    filter: str
    accepted: bool
    reason: str = ""
    """A short name in snake_case, such as `empty_output`; empty where accepted."""
    score: float | None = None
    """What was measured, None where the filter does not measure."""
    threshold: float | None = None
    neighbour_id: str | None = None
    """A pool or seed id, a line number of a file, or benchmark and item (`gsm8k/17`)."""
    evidence: tuple[str, ...] = ()
    """The overlapping words, or the text that gave the reason."""


class Decider(StrEnum):
    """Who decided."""

    CASCADE = "cascade"
    PERSON = "person"
    RESCAN = "rescan"


class Subject(StrEnum):
    """What a decision is about."""

    PROPOSAL = "proposal"
    CANDIDATE = "candidate"


class Decision(Record):
    """One decision on a proposal or a candidate; the latest sequence of a subject holds."""

    subject: Subject
    subject_id: str
    sequence: int = Field(ge=0)
    """Counts the decisions on this subject, from 0."""
    accepted: bool
    verdicts: tuple[Verdict, ...]
    by: Decider = Decider.CASCADE
    note: str = ""
    decided_at: float
    """Seconds since 1970."""

    @property
    def deciding(self) -> Verdict | None:
        """The verdict that refused, or for an accepted subject None."""
        return next((verdict for verdict in self.verdicts if not verdict.accepted), None)


class Example(Record):
    """A row of a snapshot: an accepted candidate as the trainer sees it."""

    id: str
    task_id: str
    category: str
    instruction: str
    input: str
    output: str


class Snapshot(Record):
    """A frozen part of the pool: `train.jsonl`, `val.jsonl` and this, as `manifest.json`, written last."""

    id: str
    """Hash of the rows and their split, so equal content has an equal id."""
    round: int = Field(ge=0)
    """The training round it was frozen for; snapshots made by hand carry the current round."""
    train_rows: int
    val_rows: int
    categories: dict[str, int]
    """Rows of each category, both parts together."""
    held_out_categories: tuple[str, ...]
    config_fingerprint: str
    files: dict[str, str]
    """File name to SHA-256."""
    created_at: float
    seedbed_version: str


class RunState(StrEnum):
    """How far a training run is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRun(Record):
    """One round's training. The row is its trigger, so it exists once."""

    id: str
    round: int
    threshold: int
    """The accepted rows that triggered it."""
    snapshot_id: str = ""
    state: RunState = RunState.WAITING
    attempts: int = 0
    last_error: str = ""
    adapter_id: str = ""
    created_at: float


class Promotion(StrEnum):
    """What became of an adapter."""

    PENDING = "pending"
    PROMOTED = "promoted"
    HELD = "held"
    ROLLED_BACK = "rolled_back"


class Adapter(Record):
    """A trained LoRA adapter and the folder it lies in (PEFT safetensors and `manifest.json`)."""

    id: str
    round: int
    snapshot_id: str
    base: str
    """The student's name."""
    base_sha256: str
    """Hash of the source artefact of the base weights, inherited by its conversions."""
    path: str
    """Relative to the workspace."""
    promotion: Promotion = Promotion.PENDING
    reason: str = ""
    is_tainted: bool = False
    """It was trained on a row that a later rescan took out for benchmark overlap."""
    created_at: float


class Phase(StrEnum):
    """What the service is doing, derived from its intent and from what is stored."""

    STARTING = "starting"
    WAITING_FOR_LEADERSHIP = "waiting_for_leadership"
    """Another service leads the pool; this one takes over when that ends."""
    LOADING_FILTERS = "loading_filters"
    GENERATING = "generating"
    FREEZING = "freezing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    PROMOTING = "promoting"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


class Cost(Record):
    """What the rows of one category or recipe cost so far, refused ones included."""

    accepted: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    money: float = 0.0
    """In the currency of `[budget]`."""

    tokens_per_accepted: float | None = None
    """Prompt and completion tokens for each accepted row; None where none is accepted."""
    money_per_accepted: float | None = None


class Checked(Record):
    """What one check found among all rows that it could tell of, refused ones included."""

    rows: int
    wrong: int
    share_wrong: float


class ServingState(StrEnum):
    """How the serving endpoint stands to the adapter in service."""

    BASE = "base"
    """No adapter is in service."""
    FILES = "files"
    """It is published as files only."""
    LOADED = "loaded"
    """The endpoint answers with it, as was tried."""
    WAITING = "waiting"
    """The endpoint cannot be asked now; it is loaded as soon as it can."""
    REFUSED = "refused"
    """The endpoint will not load it, or it changes nothing there; a person has to look."""


class Serving(Record):
    """Where the adapter in service answers, or why it does not."""

    state: ServingState = ServingState.BASE
    endpoint: str = ""
    model: str = ""
    """What to ask the endpoint for to get an adapter's answers; empty while only the base answers."""
    reason: str = ""
    """What was seen when it was tried, or what is in the way."""


class NodeRole(StrEnum):
    """A service's part in a pool that several share."""

    LEADER = "leader"
    """Decides, freezes, trains and promotes; it generates too."""
    GENERATOR = "generator"
    """Generates, and hands its rows to the leader."""


class Node(Record):
    """One of the services on a pool on a server, as it told last."""

    id: str
    """Of the process."""
    name: str
    """Its workspace's folder."""
    host: str
    process: int
    role: NodeRole
    phase: Phase
    in_flight: int = 0
    """Requests without an answer; of a service that is lost, those that were lost with it."""
    undecided: int = 0
    """Candidates that it handed over and that wait for a decision."""
    requests: int = 0
    """Since generation began there, as all that follows."""
    candidates: int = 0
    accepted: int = 0
    tokens_per_s: float = 0.0
    """Of completions, over the last minute."""
    accepted_per_min: float = 0.0
    """Over the last minute."""
    started_at: float = 0.0
    last_seen_s: float = 0.0
    """Seconds ago, by the server's clock."""
    is_lost: bool = False
    """It said nothing for half a minute, and the leader gave it up."""


class Status(Record):
    """What `seedbed status` and `/v1/status` answer."""

    phase: Phase
    accepted: int
    target: int
    """Accepted rows that start the next training."""
    round: int
    decided: int
    refused: dict[str, int] = {}
    """Refused candidates by filter and reason: `rouge.near_duplicate`."""
    categories: dict[str, int] = {}
    requests_in_flight: int = 0
    requests_answered: int = 0
    requests_failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    costs: dict[str, dict[str, Cost]] = {}
    """`categories` and `recipes`: name to what its rows cost."""
    checks: dict[str, Checked] = {}
    """By name: `arithmetic`, `agreement`, `format`, `labels`, `code`."""
    adapter_in_service: str = ""
    serving: Serving = Serving()
    alarms: tuple[str, ...] = ()
    disk: dict[str, int] = {}
    """Bytes in the workspace by kind: database, snapshots, checkpoints, adapters, reports, logs, cache, backups."""
    diversity: Diversity | None = None
    """Of the latest rows; None while there are too few."""
    reactions: tuple[Reaction, ...] = ()
    """What generation does otherwise now, since rows are too alike."""
    endpoints: dict[str, dict[str, Any]] = {}
    """Per endpoint: state, in flight, limit and its reason."""
    nodes: tuple[Node, ...] = ()
    """The services on a pool on a server, this one included; empty where one process works alone."""
