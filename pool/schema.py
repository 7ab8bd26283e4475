"""The pool's tables, as SQLAlchemy sees them. `migrations/` makes them; a test compares the two."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.schema import SchemaItem

metadata = MetaData()

PARAMETERS = 500
"""Values that one statement takes (SQLite before 3.32: 999)."""

# SQLite numbers its rows in an INTEGER PRIMARY KEY alone, and has one integer type anyway.
_LARGE = BigInteger().with_variant(Integer(), "sqlite")


def _text(name: str, *constraints: SchemaItem, unique: bool = False) -> "Column[str]":
    return Column(name, Text, *constraints, nullable=False, unique=unique)


def _integer(name: str, *constraints: SchemaItem) -> "Column[int]":
    return Column(name, Integer, *constraints, nullable=False)


def _seconds(name: str) -> "Column[float]":
    """Seconds since 1970."""
    return Column(name, Float, nullable=False)


def _number() -> "Column[int]":
    """The order of arrival."""
    return Column("number", _LARGE, primary_key=True)


def _standing() -> tuple["Column[int]", "Column[int]", "Column[str]", "Column[str]"]:
    """The decision that holds, repeated from `decisions` so that lists and samples need no join."""
    return _integer("sequence"), _integer("is_accepted"), _text("filter"), _text("reason")


meta = Table("meta", metadata, Column("key", Text, primary_key=True), _text("value"))

requests = Table(
    "requests",
    metadata,
    _number(),
    _text("id", unique=True),
    _text("purpose"),
    _text("requested_category"),
    _text("prompt_sha256"),
    _text("demonstration_ids"),
    _text("messages"),
    _text("sampling"),
    _text("state"),
    _seconds("asked_at"),
    _text("node"),
)

completions = Table(
    "completions",
    metadata,
    _number(),
    _text("request_id", ForeignKey("requests.id"), unique=True),
    _text("text"),
    _text("finish_reason"),
    _integer("prompt_tokens"),
    _integer("completion_tokens"),
    _integer("is_usage_counted"),
    _text("model"),
    _text("endpoint"),
    _seconds("latency_s"),
    _seconds("received_at"),
)

failures = Table(
    "failures",
    metadata,
    _number(),
    _text("request_id", ForeignKey("requests.id")),
    _text("kind"),
    _text("message"),
    _seconds("failed_at"),
)

unreadable = Table(
    "unreadable", metadata, _number(), _text("request_id"), _text("reason"), _text("text"), _seconds("seen_at")
)

proposals = Table(
    "proposals",
    metadata,
    _number(),
    _text("id", unique=True),
    _text("instruction"),
    _text("requested_category"),
    Column("is_classification", Integer),
    _text("lineage"),
    *_standing(),
)

candidates = Table(
    "candidates",
    metadata,
    _number(),
    _text("id", unique=True),
    _text("task_id"),
    _text("instruction"),
    _text("input"),
    _text("output"),
    _text("requested_category"),
    _text("category"),
    _text("grades"),
    _text("lineage"),
    _text("recipe"),
    _text("effective_category"),
    *_standing(),
)

occurrences = Table(
    "occurrences",
    metadata,
    _number(),
    _text("candidate_id", ForeignKey("candidates.id")),
    _text("task_id"),
    _text("lineage"),
    _seconds("seen_at"),
)

decisions = Table(
    "decisions",
    metadata,
    _number(),
    _text("subject"),
    _text("subject_id"),
    _integer("sequence"),
    _integer("is_accepted"),
    _text("filter"),
    _text("reason"),
    _text("verdicts"),
    _text("decided_by"),
    _text("note"),
    _seconds("decided_at"),
    UniqueConstraint("subject_id", "subject", "sequence"),
)

runs = Table(
    "runs",
    metadata,
    Column("round", Integer, primary_key=True),
    _text("id", unique=True),
    _integer("threshold"),
    _text("snapshot_id"),
    _text("state"),
    _integer("attempts"),
    _text("last_error"),
    _text("adapter_id"),
    _seconds("created_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("round", Integer, ForeignKey("runs.round"), primary_key=True),
    Column("number", Integer, primary_key=True),
    _text("state"),
    _text("error"),
    _seconds("started_at"),
    Column("ended_at", Float),
)

adapters = Table(
    "adapters",
    metadata,
    Column("id", Text, primary_key=True),
    _integer("round"),
    _text("record"),
    _seconds("created_at"),
)

reports = Table("reports", metadata, _number(), _text("adapter_id"), _text("record"), _seconds("created_at"))

shares = Table(
    "shares",
    metadata,
    _number(),
    _text("category"),
    Column("share", Float, nullable=False),
    _text("reason"),
    _seconds("changed_at"),
)

submissions = Table(
    "submissions",
    metadata,
    _number(),
    _text("id"),
    _text("node"),
    _text("kind"),
    _text("record"),
    Column("leased_by", _LARGE, nullable=False),
    Column("is_accepted", Integer),
    _text("filter"),
    _text("reason"),
    _seconds("handed_at"),
    Column("answered_at", Float),
)

nodes = Table("nodes", metadata, Column("id", Text, primary_key=True), _text("record"), _seconds("seen_at"))

counters = Table(
    "counters",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", _LARGE, nullable=False),
)
