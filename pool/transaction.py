"""One database transaction of the writer: rows to insert are gathered, what they change in the counts is summed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

from seedbed.core.batches import batched
from seedbed.core.records import Subject
from seedbed.pool import schema
from seedbed.pool.records import Answer
from seedbed.pool.rows import Values, recipe_of

T = TypeVar("T")

SUBJECT_TABLES = {Subject.PROPOSAL: schema.proposals, Subject.CANDIDATE: schema.candidates}

_INSERT_ORDER = (
    schema.requests,
    schema.completions,
    schema.failures,
    schema.unreadable,
    schema.proposals,
    schema.candidates,
    schema.occurrences,
    schema.decisions,
)
_INSERTS = {table: table.insert() for table in _INSERT_ORDER}
_STANDING = ("id", "sequence", "is_accepted", "filter", "reason")
_STANDINGS = {
    subject: select(*(table.c[name] for name in names)).where(table.c.id.in_(bindparam("ids", expanding=True)))
    for subject, table, names in (
        (Subject.PROPOSAL, schema.proposals, _STANDING),
        (Subject.CANDIDATE, schema.candidates, (*_STANDING, "effective_category", "recipe")),
    )
}
_UPDATE_STANDING = {
    subject: update(table)
    .where(table.c.id == bindparam("subject_id"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("sequence", "is_accepted", "filter", "reason")},
    )
    for subject, table in SUBJECT_TABLES.items()
}
_UPDATE_REQUEST = (
    update(schema.requests).where(schema.requests.c.id == bindparam("request_id")).values(state=bindparam("new_state"))
)
_UPDATE_TEXT = (
    update(schema.candidates)
    .where(schema.candidates.c.id == bindparam("candidate_id"))
    .values({name: bindparam(f"new_{name}") for name in ("instruction", "input", "output")})
)
_UPDATE_SUBMISSION = (
    update(schema.submissions)
    .where(schema.submissions.c.number == bindparam("submission"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("is_accepted", "filter", "reason", "record", "answered_at")},
    )
)
_requests, _counters = schema.requests.c, schema.counters.c
_REQUESTS = select(_requests.id, _requests.state, _requests.purpose, _requests.requested_category).where(
    _requests.id.in_(bindparam("ids", expanding=True))
)
_TOTAL = select(_counters.value).where(_counters.kind == bindparam("kind"), _counters.key == bindparam("key"))
# Both say `ON CONFLICT`, each by an insert of its own.
_INSERT: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class _Ready:
    """A statement in a driver's words."""

    sql: str
    places: Callable[[Values], tuple[Any, ...]] | None
    """Puts a row's values in the driver's order; None where it takes them by name."""


@lru_cache(maxsize=256)
def _ready(statement: ClauseElement, dialect: Dialect, names: tuple[str, ...]) -> _Ready:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    assert isinstance(compiled, SQLCompiler)
    return _Ready(compiled.string, itemgetter(*compiled.positiontup) if compiled.positiontup else None)


def _adding_to_counter(insert: Callable[[Table], Any]) -> ClauseElement:
    added = insert(schema.counters)
    value = schema.counters.c.value + added.excluded.value
    statement: ClauseElement = added.on_conflict_do_update(index_elements=["kind", "key"], set_={"value": value})
    return statement


_ADD_TO_COUNTER = {name: _adding_to_counter(insert) for name, insert in _INSERT.items()}


@dataclass(frozen=True, slots=True)
class Standing:
    """The decision that holds on a subject, and what its counts hang on."""

    sequence: int
    is_accepted: bool
    filter: str
    reason: str
    category: str = ""
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class AskedFor:
    """How far a stored request is, and what its cost is counted for."""

    state: str
    """`waiting`, `answered` or `failed`."""
    recipe: str
    category: str
    """As requested."""


class Transaction:
    """What the writes of one group do together.

    Nothing is sent to the database before `flush`, save through `execute`; what a write looks up is fetched for the
    whole group at once (`prefetch`) and kept current here.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self.dialect = connection, connection.dialect.name
        """`sqlite` or `postgresql`."""
        self._inserts: defaultdict[Table, list[Values]] = defaultdict(list)
        self._standing_updates: defaultdict[Subject, list[Values]] = defaultdict(list)
        self._request_updates: list[Values] = []
        self._text_updates: list[Values] = []
        self._answers: list[Values] = []
        self._changes: Counter[tuple[str, str]] = Counter()
        self._totals: dict[tuple[str, str], int] = {}
        self._standings: dict[tuple[Subject, str], Standing | None] = {}
        self._requests: dict[str, AskedFor | None] = {}

    def prefetch(self, subjects: Iterable[tuple[Subject, str]], request_ids: Iterable[str]) -> None:
        """Look up, in few queries, the standings and the request states that the group's writes will ask for."""
        wanted: defaultdict[Subject, list[str]] = defaultdict(list)
        for subject, identity in set(subjects):
            self._standings[subject, identity] = None
            wanted[subject].append(identity)
        for subject, ids in wanted.items():
            self._fetch_standings(subject, ids)
        for part in batched(set(request_ids), schema.PARAMETERS):
            self._requests.update(dict.fromkeys(part))
            for identity, state, purpose, category in self._connection.execute(_REQUESTS, {"ids": part}):
                self._requests[identity] = AskedFor(state, recipe_of(purpose), category)

    def standing(self, subject: Subject, identity: str) -> Standing | None:
        """Return the decision that holds on a subject, None where it is not in the pool."""
        return self._standings[subject, identity]

    def set_standing(self, subject: Subject, identity: str, standing: Standing) -> None:
        """Note a new subject's standing, or change a known one's."""
        if self._standings[subject, identity] is not None:
            self._standing_updates[subject].append(
                {
                    "subject_id": identity,
                    "new_sequence": standing.sequence,
                    "new_is_accepted": int(standing.is_accepted),
                    "new_filter": standing.filter,
                    "new_reason": standing.reason,
                }
            )
        self._standings[subject, identity] = standing

    def set_text(self, row: Values) -> None:
        """Write a known candidate's text again."""
        texts = {f"new_{name}": row[name] for name in ("instruction", "input", "output")}
        self._text_updates.append({"candidate_id": row["id"], **texts})

    def answer(self, answer: Answer, now: float) -> None:
        """Tell who handed a row over what became of it; its text is not needed there any more."""
        values = {
            "is_accepted": int(answer.is_accepted),
            "filter": answer.filter,
            "reason": answer.reason,
            "record": "",
        }
        told = {f"new_{name}": value for name, value in values.items()}
        self._answers.append({"submission": answer.number, **told, "new_answered_at": now})

    def request(self, request_id: str) -> AskedFor | None:
        """Return how far a request is, None for one that was never stored."""
        return self._requests[request_id]

    def add_request(self, row: Values) -> None:
        """Store a request that waits for its answer."""
        self.insert(schema.requests, row)
        self._requests[row["id"]] = AskedFor("waiting", recipe_of(row["purpose"]), row["requested_category"])

    def end_request(self, request_id: str, state: str) -> None:
        """Note that a stored request is `answered` or `failed`."""
        asked = self._requests[request_id]
        assert asked is not None
        self._request_updates.append({"request_id": request_id, "new_state": state})
        self._requests[request_id] = replace(asked, state=state)

    def insert(self, table: Table, values: Values) -> None:
        self._inserts[table].append(values)

    def count(self, kind: str, key: str = "", by: int = 1) -> None:
        """Change a counter."""
        self._changes[kind, key] += by

    def total(self, kind: str, key: str = "") -> int:
        """Return a counter as it will be after this transaction, so far."""
        if (kind, key) not in self._totals:
            found = self._connection.execute(_TOTAL, {"kind": kind, "key": key})
            self._totals[kind, key] = found.scalar_one_or_none() or 0
        return self._totals[kind, key] + self._changes[kind, key]

    def execute(self, statement: Executable) -> CursorResult[Any]:
        """Run one statement, after everything gathered so far."""
        self.flush()
        result = self._connection.execute(statement)
        assert isinstance(result, CursorResult)
        return result

    def insert_new(self, table: Table, values: Values) -> bool:
        """Insert a row after everything gathered so far; False where one of its key is there, which stays."""
        statement = _INSERT[self.dialect](table).values(values).on_conflict_do_nothing()
        return bool(self.execute(statement).rowcount)

    def set_meta(self, key: str, value: str) -> None:
        """Store a value under a key, in place of what stood there."""
        self.put(schema.meta, {"key": key, "value": value})

    def put(self, table: Table, values: Values) -> None:
        """Store a row of a table with one key, in place of what stood there."""
        (key,) = table.primary_key.columns.keys()
        rest = {name: value for name, value in values.items() if name != key}
        statement = _INSERT[self.dialect](table).values(values)
        self.execute(statement.on_conflict_do_update(index_elements=[key], set_=rest))

    def flush(self) -> None:
        """Send everything gathered, in the order that foreign keys ask for."""
        for table in _INSERT_ORDER:
            if rows := self._inserts.pop(table, None):
                self._run_for_each(_INSERTS[table], rows)
        for subject, updates in self._standing_updates.items():
            self._run_for_each(_UPDATE_STANDING[subject], updates)
        if self._text_updates:
            self._run_for_each(_UPDATE_TEXT, self._text_updates)
        if self._request_updates:
            self._run_for_each(_UPDATE_REQUEST, self._request_updates)
        if self._answers:
            self._run_for_each(_UPDATE_SUBMISSION, self._answers)
        if changes := [
            {"kind": kind, "key": key, "value": value} for (kind, key), value in self._changes.items() if value
        ]:
            self._run_for_each(_ADD_TO_COUNTER[self.dialect], changes)
        self._standing_updates.clear()
        self._text_updates.clear()
        self._request_updates.clear()
        self._answers.clear()
        self._changes.clear()
        self._totals.clear()

    def _run_for_each(self, statement: ClauseElement, rows: Sequence[Values]) -> None:
        """Run a statement for rows of the same names, handed to the driver as it takes them.

        What SQLAlchemy does with each row to make it so is most of a commit; here no value needs it.
        """
        ready = _ready(statement, self._connection.dialect, tuple(rows[0]))
        given = rows if ready.places is None else list(map(ready.places, rows))
        self._connection.exec_driver_sql(ready.sql, given)

    def _fetch_standings(self, subject: Subject, ids: Sequence[str]) -> None:
        for part in batched(ids, schema.PARAMETERS):
            for identity, sequence, is_accepted, *rest in self._connection.execute(_STANDINGS[subject], {"ids": part}):
                self._standings[subject, identity] = Standing(sequence, bool(is_accepted), *rest)
