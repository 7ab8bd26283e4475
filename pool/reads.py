"""The pool's queries: each takes a connection and returns records."""

from collections.abc import Collection, Iterator, Sequence
from random import Random
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, desc, exists, func, or_, select

from seedbed.core.batches import batched
from seedbed.core.records import (
    Adapter,
    Candidate,
    Completion,
    Decider,
    Decision,
    Lineage,
    Proposal,
    Request,
    RunState,
    Subject,
    TrainingRun,
)
from seedbed.core.reports import EvalReport
from seedbed.pool import schema
from seedbed.pool.records import (
    Attempt,
    Decided,
    Listed,
    Occurrence,
    PoolCounts,
    ProposalsLeft,
    ShareChange,
    Unreadable,
    Usage,
    Use,
    Wanted,
)
from seedbed.pool.rows import (
    storable,
    to_candidate,
    to_completion,
    to_decision,
    to_proposal,
    to_request,
    to_run,
    to_spent_for,
)
from seedbed.pool.transaction import Standing

PAGE_ROWS = 1000
# Row numbers tried in one query of a sample: a category of 5% of the rows gives some 25 of them.
_DRAWN_AT_ONCE = 500
_KNOWN = select(schema.candidates.c.id).where(schema.candidates.c.id.in_(bindparam("ids", expanding=True)))


def tallies(connection: Connection) -> dict[str, dict[str, int]]:
    """Return all counters: kind to key to value, without the zeros."""
    found: dict[str, dict[str, int]] = {}
    for kind, key, value in connection.execute(select(schema.counters)):
        if value:
            found.setdefault(kind, {})[key] = value
    return found


def counts(connection: Connection) -> PoolCounts:
    """Put the counters in order for people and plans."""
    kept = tallies(connection)
    candidates, proposals, asked = (kept.get(kind, {}) for kind in ("candidates", "proposals", "requests"))
    unreadable = kept.get("unreadable", {})
    return PoolCounts(
        decided=sum(candidates.values()),
        accepted=candidates.get("accepted", 0),
        refused={
            **{f"parse.{reason}": number for reason, number in sorted(unreadable.items())},
            **dict(sorted(kept.get("candidates_refused", {}).items())),
        },
        categories=dict(sorted(kept.get("categories_accepted", {}).items())),
        decided_categories=_added(kept, "categories_accepted", "categories_refused"),
        recipes=dict(sorted(kept.get("recipes_accepted", {}).items())),
        decided_recipes=_added(kept, "recipes_accepted", "recipes_refused"),
        proposals_accepted=proposals.get("accepted", 0),
        proposals_refused=dict(sorted(kept.get("proposals_refused", {}).items())),
        occurrences=kept.get("occurrences", {}).get("", 0),
        unreadable=sum(unreadable.values()),
        requests=asked.get("stored", 0),
        unanswered=asked.get("waiting", 0),
        failed=asked.get("failed", 0),
        checked=dict(sorted(kept.get("checked", {}).items())),
        checked_wrong=dict(sorted(kept.get("checked_wrong", {}).items())),
    )


def _added(kept: dict[str, dict[str, int]], *kinds: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for kind in kinds:
        for key, value in kept.get(kind, {}).items():
            total[key] = total.get(key, 0) + value
    return dict(sorted(total.items()))


def counter(connection: Connection, kind: str, key: str = "") -> int:
    """Return one counter, 0 where it was never touched."""
    columns = schema.counters.c
    query = select(columns.value).where(columns.kind == kind, columns.key == key)
    return connection.execute(query).scalar_one_or_none() or 0


def spent(connection: Connection) -> Usage:
    """Sum what completions cost, by endpoint and in all."""
    kept = tallies(connection)

    def uses(suffix: str) -> dict[str, Use]:
        prompt, completion = (kept.get(f"{kind}_tokens{suffix}", {}) for kind in ("prompt", "completion"))
        answered = kept.get(f"answered{suffix}", {})
        return {key: Use(number, prompt.get(key, 0), completion.get(key, 0)) for key, number in answered.items()}

    endpoints = uses("")
    return Usage(
        sum(use.requests for use in endpoints.values()),
        sum(use.prompt_tokens for use in endpoints.values()),
        sum(use.completion_tokens for use in endpoints.values()),
        endpoints,
        {to_spent_for(key): use for key, use in uses("_for").items()},
    )


def request(connection: Connection, identity: str) -> Request | None:
    """Return a request, None for an unknown id."""
    row = _by_id(connection, schema.requests, identity)
    return to_request(row) if row else None


def completion(connection: Connection, request_id: str) -> Completion | None:
    """Return the completion of a request, None where it has none."""
    row = connection.execute(
        select(schema.completions).where(schema.completions.c.request_id == request_id)
    ).one_or_none()
    return to_completion(row) if row else None


def waiting_requests(connection: Connection, count: int) -> list[Request]:
    """Return the oldest requests that have neither a completion nor a failure."""
    table = schema.requests
    query = select(table).where(table.c.state == "waiting").order_by(table.c.number).limit(count)
    return [to_request(row) for row in connection.execute(query)]


def candidate(connection: Connection, identity: str) -> Candidate | None:
    """Return a candidate, None for an unknown id."""
    row = _by_id(connection, schema.candidates, identity)
    return to_candidate(row) if row else None


def accepted_of(connection: Connection, ids: Collection[str]) -> dict[str, Candidate]:
    """Return which of these candidates stand accepted, by id."""
    table, found = schema.candidates, dict[str, Candidate]()
    for part in batched(ids, schema.PARAMETERS):
        query = select(table).where(table.c.id.in_(part), table.c.is_accepted == 1)
        found |= {row.id: to_candidate(row) for row in connection.execute(query)}
    return found


def proposal(connection: Connection, identity: str) -> Proposal | None:
    """Return a proposal, None for an unknown id."""
    row = _by_id(connection, schema.proposals, identity)
    return to_proposal(row) if row else None


def known(connection: Connection, ids: Collection[str]) -> set[str]:
    """Return which of these candidates the pool holds, accepted or refused."""
    found = set[str]()
    for part in batched(ids, schema.PARAMETERS):
        found.update(connection.execute(_KNOWN, {"ids": part}).scalars())
    return found


def standings(connection: Connection, ids: Collection[str]) -> dict[str, Standing]:
    """Return how candidates stand, by id; those the pool does not hold are left out."""
    table = schema.candidates.c
    columns = (table.sequence, table.is_accepted, table.filter, table.reason, table.effective_category, table.recipe)
    found = dict[str, Standing]()
    for part in batched(ids, schema.PARAMETERS):
        query = select(table.id, *columns).where(table.id.in_(part))
        for identity, sequence, is_accepted, *rest in connection.execute(query):
            found[identity] = Standing(sequence, bool(is_accepted), *rest)
    return found


def decisions(connection: Connection, subject_id: str) -> list[Decision]:
    """Return all decisions on a subject; the last one holds."""
    table = schema.decisions
    query = select(table).where(table.c.subject_id == storable(subject_id)).order_by(table.c.subject, table.c.sequence)
    return [to_decision(row) for row in connection.execute(query)]


def occurrences(connection: Connection, candidate_id: str) -> list[Occurrence]:
    """Return when and whence a candidate came again."""
    table = schema.occurrences
    query = select(table).where(table.c.candidate_id == candidate_id).order_by(table.c.number)
    found = []
    for row in connection.execute(query):
        lineage = Lineage.model_validate_json(row.lineage)
        found.append(
            Occurrence(
                candidate_id=row.candidate_id,
                task_id=row.task_id,
                recipe=lineage.recipe,
                request_ids=lineage.request_ids,
                seen_at=row.seen_at,
            )
        )
    return found


def find(connection: Connection, prefix: str, count: int) -> list[str]:
    """Return ids of candidates, then of proposals, that start so."""
    found, prefix = list[str](), storable(prefix)
    for table in (schema.candidates, schema.proposals):
        column = table.c.id
        query = select(column).where(column >= prefix, column < prefix + "\U0010ffff").order_by(column)
        found += connection.execute(query.limit(count - len(found))).scalars()
    return found


def last_number(connection: Connection, table: Table) -> int:
    """Return the number of the newest row, 0 for an empty table."""
    return connection.execute(select(func.max(table.c.number))).scalar_one() or 0


def page(
    connection: Connection, table: Table, after: int, until: int, *conditions: ColumnElement[bool]
) -> list[Row[Any]]:
    """Return the next rows in order of arrival."""
    query = select(table).where(table.c.number > after, table.c.number <= until, *conditions)
    return list(connection.execute(query.order_by(table.c.number).limit(PAGE_ROWS)))


def decided_page(connection: Connection, after: int, until: int) -> list[tuple[int, Decided]]:
    """Return the next candidates in order of arrival, each with its number and the decision that holds."""
    table, holds = schema.candidates, schema.decisions.c
    rows = page(connection, table, after, until)
    if not rows:
        return []
    is_holding = (
        (holds.subject == Subject.CANDIDATE.value)
        & (holds.subject_id == table.c.id)
        & (holds.sequence == table.c.sequence)
    )
    query = select(schema.decisions).join(table, is_holding)
    query = query.where(table.c.number >= rows[0].number, table.c.number <= rows[-1].number)
    found = {row.subject_id: to_decision(row) for row in connection.execute(query)}
    return [(row.number, Decided(to_candidate(row), found[row.id])) for row in rows]


def latest(connection: Connection, count: int) -> list[Decided]:
    """Return what the cascade decided last, oldest first: candidates, and proposals that it refused.

    First decisions only: what is decided again says nothing of what the teacher writes now. What is so old that its
    text was removed is left out.
    """
    table = schema.decisions.c
    is_told = (table.subject == Subject.CANDIDATE.value) | (table.is_accepted == 0)
    query = select(schema.decisions).where(table.sequence == 0, table.decided_by == Decider.CASCADE.value, is_told)
    rows = list(connection.execute(query.order_by(desc(table.number)).limit(count)))[::-1]
    subjects: dict[str, Candidate | Proposal] = {}
    for at in range(0, len(rows), PAGE_ROWS):
        ids = [row.subject_id for row in rows[at : at + PAGE_ROWS]]
        found = connection.execute(select(schema.proposals).where(schema.proposals.c.id.in_(ids)))
        subjects |= {row.id: to_proposal(row) for row in found}
        found = connection.execute(select(schema.candidates).where(schema.candidates.c.id.in_(ids)))
        subjects |= {row.id: to_candidate(row) for row in found}
    kept = {identity for identity, subject in subjects.items() if not subject.is_blanked}
    return [Decided(subjects[row.subject_id], to_decision(row)) for row in rows if row.subject_id in kept]


def newest_decided(connection: Connection, count: int) -> list[Decided]:
    """Return the newest candidates in order of arrival, each with the decision that holds."""
    until = last_number(connection, schema.candidates)
    after, found = max(0, until - count), list[Decided]()
    while batch := decided_page(connection, after, until):
        found += [one for _, one in batch]
        after = batch[-1][0]
    return found


def proposals_left(connection: Connection) -> ProposalsLeft:
    """Count the proposals of which no candidate was made."""
    table = schema.proposals.c
    has_instance = exists().where(schema.candidates.c.task_id == table.id)
    query = select(table.is_accepted, func.count()).where(~has_instance).group_by(table.is_accepted)
    found = {bool(is_accepted): number for is_accepted, number in connection.execute(query)}
    return ProposalsLeft(accepted=found.get(True, 0), refused=found.get(False, 0))


def recent(connection: Connection, subject: Subject, accepted: bool, count: int) -> list[Decided]:
    """Return the newest subjects that stand accepted, or refused, newest first, with the decision that holds."""
    table = schema.candidates if subject is Subject.CANDIDATE else schema.proposals
    query = select(table).where(table.c.is_accepted == int(accepted)).order_by(desc(table.c.number)).limit(count)
    read = to_candidate if subject is Subject.CANDIDATE else to_proposal
    found = []
    for row in connection.execute(query):
        latest = select(schema.decisions).where(
            schema.decisions.c.subject_id == row.id,
            schema.decisions.c.subject == subject.value,
            schema.decisions.c.sequence == row.sequence,
        )
        found.append(Decided(read(row), to_decision(connection.execute(latest).one())))
    return found


def listed(connection: Connection, before: int | None, count: int, wanted: Wanted) -> list[Listed]:
    """Return candidates, newest first, from before number `before`: rows that arrive meanwhile shift nothing."""
    table = schema.candidates
    query = select(table).order_by(desc(table.c.number)).limit(count)
    if before is not None:
        query = query.where(table.c.number < before)
    if wanted.is_accepted is not None:
        query = query.where(table.c.is_accepted == int(wanted.is_accepted))
    for column, value in (
        (table.c.filter, wanted.filter),
        (table.c.reason, wanted.reason),
        (table.c.effective_category, wanted.category),
        (table.c.recipe, wanted.recipe),
    ):
        if value is not None:
            query = query.where(column == storable(value))
    if wanted.text:
        columns = (table.c.instruction, table.c.input, table.c.output)
        query = query.where(or_(*(column.icontains(storable(wanted.text), autoescape=True) for column in columns)))
    return [
        Listed(row.number, to_candidate(row), bool(row.is_accepted), row.filter, row.reason)
        for row in connection.execute(query)
    ]


def sample_accepted(
    connection: Connection,
    count: int,
    rng: Random,
    categories: Collection[str] | None,
    exclude: Collection[str],
    is_accepted: bool = True,
) -> list[Candidate]:
    """Draw accepted candidates, or refused ones, without repetition, each as likely as any other of its kind.

    Fewer where there are not enough. Random row numbers are tried first, which costs the same at any size; only where
    those miss too often (few accepted, or of a rare category) are the numbers listed.
    """
    table = schema.candidates
    wanted = [table.c.is_accepted == int(is_accepted)]
    if categories is not None:
        wanted.append(table.c.effective_category.in_(list(categories)))
    drawn: dict[str, Candidate] = {}
    last = last_number(connection, table)
    for _ in range(4 if count and last > _DRAWN_AT_ONCE else 0):
        numbers = list(dict.fromkeys(rng.randint(1, last) for _ in range(_DRAWN_AT_ONCE)))
        rows = {
            row.number: row for row in connection.execute(select(table).where(table.c.number.in_(numbers), *wanted))
        }
        for number in numbers:
            if number in rows and rows[number].id not in exclude and len(drawn) < count:
                drawn[rows[number].id] = to_candidate(rows[number])
        if len(drawn) == count:
            return list(drawn.values())
    numbers = list(connection.execute(select(table.c.number).where(*wanted).order_by(table.c.number)).scalars())
    rng.shuffle(numbers)
    for number in numbers:
        if len(drawn) == count:
            break
        row = connection.execute(select(table).where(table.c.number == number)).one()
        if row.id not in exclude:
            drawn.setdefault(row.id, to_candidate(row))
    return list(drawn.values())


def holding(connection: Connection, candidates: Sequence[Candidate]) -> list[Decided]:
    """Return candidates with the decision that holds."""
    table, holds = schema.candidates, schema.decisions.c
    joined = schema.decisions.join(
        table,
        (holds.subject == Subject.CANDIDATE.value)
        & (holds.subject_id == table.c.id)
        & (holds.sequence == table.c.sequence),
    )
    found: dict[str, Decision] = {}
    for at in range(0, len(candidates), PAGE_ROWS):
        ids = [candidate.id for candidate in candidates[at : at + PAGE_ROWS]]
        query = select(schema.decisions).select_from(joined).where(table.c.id.in_(ids))
        found |= {row.subject_id: to_decision(row) for row in connection.execute(query)}
    return [Decided(candidate, found[candidate.id]) for candidate in candidates if candidate.id in found]


def runs(connection: Connection) -> list[TrainingRun]:
    """Return all training runs by round."""
    return [to_run(row) for row in connection.execute(select(schema.runs).order_by(schema.runs.c.round))]


def attempts(connection: Connection, round: int) -> list[Attempt]:
    """Return the attempts at a round in order."""
    table = schema.attempts
    query = select(table).where(table.c.round == round).order_by(table.c.number)
    return [Attempt(**{**row._asdict(), "state": RunState(row.state)}) for row in connection.execute(query)]


def adapters(connection: Connection) -> list[Adapter]:
    """Return all adapters, oldest first."""
    table = schema.adapters
    query = select(table.c.record).order_by(table.c.created_at, table.c.id)
    return [Adapter.model_validate_json(text) for text in connection.execute(query).scalars()]


def reports(connection: Connection) -> list[EvalReport]:
    """Return all evaluation reports, oldest first."""
    query = select(schema.reports.c.record).order_by(schema.reports.c.number)
    return [EvalReport.model_validate_json(text) for text in connection.execute(query).scalars()]


def shares(connection: Connection) -> list[ShareChange]:
    """Return every change of a target share, oldest first."""
    query = select(schema.shares).order_by(schema.shares.c.number)
    return [
        ShareChange(category=row.category, share=row.share, reason=row.reason, changed_at=row.changed_at)
        for row in connection.execute(query)
    ]


def unreadable(connection: Connection, reason: str | None, count: int) -> list[Unreadable]:
    """Return the newest pieces that could not be read, of one reason or of any."""
    table = schema.unreadable
    query = select(table).order_by(desc(table.c.number)).limit(count)
    if reason is not None:
        query = query.where(table.c.reason == reason)
    return [Unreadable(row.request_id, row.reason, row.text) for row in connection.execute(query)]


def meta(connection: Connection, key: str) -> str | None:
    """Return a value stored by key, None where there is none."""
    return connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == key)).scalar_one_or_none()


def metas(connection: Connection, prefix: str) -> dict[str, str]:
    """Return the values whose keys begin so, by key."""
    columns = schema.meta.c
    query = select(columns.key, columns.value).where(columns.key.startswith(prefix, autoescape=True))
    return {row.key: row.value for row in connection.execute(query)}


def walk(connection: Connection, table: Table) -> Iterator[Row[Any]]:
    """Yield every row of a table in order of arrival, within the connection's transaction."""
    yield from connection.execution_options(yield_per=PAGE_ROWS).execute(select(table).order_by(table.c.number))


def _by_id(connection: Connection, table: Table, identity: str) -> Row[Any] | None:
    return connection.execute(select(table).where(table.c.id == storable(identity))).one_or_none()
