"""Whether the pool and its snapshots are what they should be."""

from collections import Counter
from pathlib import Path

import orjson
from sqlalchemy import Connection, func, literal, select, text

from seedbed.core.errors import SeedbedError
from seedbed.core.records import CHECK_PREFIX
from seedbed.core.snapshots import MANIFEST, read_snapshot
from seedbed.pool import reads, schema
from seedbed.pool.pool import Pool
from seedbed.pool.rows import recipe_of, spent_key

Counted = dict[tuple[str, str], int]


def check(pool: Pool, snapshots: Path | None = None) -> list[str]:
    """Return what is wrong, a sentence each; empty where all is well. Safe while a service writes the pool.

    Args:
        pool: The pool; its file, its references, its counters against a recount, its decisions and its runs.
        snapshots: The folder of snapshots, whose files are compared with their manifests.
    """
    with pool.reading() as connection:
        problems = [f"the database is damaged: {problem}" for problem in _damage(connection)]
        if not problems:
            problems = [*_dangling(connection), *_miscounted(connection), *_undecided(connection), *_runs(connection)]
            problems += _without_text(connection)
    return problems + (_changed_snapshots(snapshots) if snapshots is not None else [])


def recount(connection: Connection) -> Counted:
    """Count from the rows what the counters keep."""
    counted: Counted = {}
    for subject, table in (("candidate", schema.candidates), ("proposal", schema.proposals)):
        states = select(table.c.is_accepted, func.count()).group_by(table.c.is_accepted)
        for is_accepted, number in connection.execute(states):
            counted[f"{subject}s", "accepted" if is_accepted else "refused"] = number
        refused = select(table.c.filter, table.c.reason, func.count()).where(table.c.is_accepted == 0)
        for filter_name, reason, number in connection.execute(refused.group_by(table.c.filter, table.c.reason)):
            counted[f"{subject}s_refused", f"{filter_name}.{reason}"] = number
    return counted | _recount_groups(connection) | _recount_requests(connection)


def _recount_groups(connection: Connection) -> Counted:
    counted: Counted = {}
    table = schema.candidates.c
    for kind, column in (("categories", table.effective_category), ("recipes", table.recipe)):
        query = select(column, table.is_accepted, func.count()).group_by(column, table.is_accepted)
        for key, is_accepted, number in connection.execute(query):
            counted[f"{kind}_{'accepted' if is_accepted else 'refused'}", key] = number
    pieces = schema.unreadable.c.reason
    for reason, number in connection.execute(select(pieces, func.count()).group_by(pieces)):
        counted["unreadable", reason] = number
    counted |= _recount_checks(connection)
    for kind, rows in (("occurrences", schema.occurrences), ("runs", schema.runs)):
        counted[kind, ""] = connection.execute(select(func.count()).select_from(rows)).scalar_one()
    return counted


def _recount_checks(connection: Connection) -> Counted:
    counted: Counter[tuple[str, str]] = Counter()
    for grades in connection.execute(select(schema.candidates.c.grades).where(schema.candidates.c.grades != "{}")):
        for name, grade in orjson.loads(grades[0]).items():
            if name.startswith(CHECK_PREFIX):
                counted["checked", name] += 1
                counted["checked_wrong", name] += grade < 1
    return dict(counted)


def _recount_requests(connection: Connection) -> Counted:
    counted: Counted = {}
    state = schema.requests.c.state
    for name, number in connection.execute(select(state, func.count()).group_by(state)):
        counted["requests", name] = number
    counted["requests", "stored"] = sum(counted.values())
    counted.pop(("requests", "answered"), None)
    table = schema.completions.c
    sums = select(table.endpoint, func.count(), func.sum(table.prompt_tokens), func.sum(table.completion_tokens))
    for endpoint, number, prompt_tokens, completion_tokens in connection.execute(sums.group_by(table.endpoint)):
        counted["answered", endpoint] = number
        counted["prompt_tokens", endpoint] = prompt_tokens
        counted["completion_tokens", endpoint] = completion_tokens
    return counted | _recount_purposes(connection)


def _recount_purposes(connection: Connection) -> Counted:
    counted: Counter[tuple[str, str]] = Counter()
    spent, asked = schema.completions.c, schema.requests.c
    group = (spent.endpoint, asked.purpose, asked.requested_category)
    query = select(*group, func.count(), func.sum(spent.prompt_tokens), func.sum(spent.completion_tokens))
    query = query.join(schema.requests, asked.id == spent.request_id).group_by(*group)
    for endpoint, purpose, category, number, prompt_tokens, completion_tokens in connection.execute(query):
        key = spent_key(endpoint, recipe_of(purpose), category)
        counted["answered_for", key] += number
        counted["prompt_tokens_for", key] += prompt_tokens
        counted["completion_tokens_for", key] += completion_tokens
    return dict(counted)


def _damage(connection: Connection) -> list[str]:
    if connection.dialect.name == "postgresql":
        unsafe = select(func.current_setting("fsync"), func.current_setting("full_page_writes"))
        names = zip(("fsync", "full_page_writes"), connection.execute(unsafe).one(), strict=True)
        return [
            f"the server runs with {name} = off: a power loss may destroy it" for name, value in names if value == "off"
        ]
    answers = connection.execute(text("PRAGMA integrity_check")).scalars().all()
    return [answer for answer in answers if answer != "ok"]


def _dangling(connection: Connection) -> list[str]:
    problems = []
    for table in schema.metadata.sorted_tables:
        for key in table.foreign_keys:
            there, here = key.column, key.parent
            query = select(*table.primary_key.columns).outerjoin(there.table, there == here).where(there.is_(None))
            problems += [
                f"table {table.name}, row {row[0]}: names a row of {there.table.name} that is not there"
                for row in connection.execute(query.select_from(table))
            ]
    return problems


def _miscounted(connection: Connection) -> list[str]:
    kept = {(kind, key): value for kind, keys in reads.tallies(connection).items() for key, value in keys.items()}
    counted = {name: number for name, number in recount(connection).items() if number}
    return [
        f"counter {kind}.{key} says {kept.get((kind, key), 0)}, the rows are {counted.get((kind, key), 0)}"
        for kind, key in sorted(kept.keys() | counted.keys())
        if kept.get((kind, key), 0) != counted.get((kind, key), 0)
    ]


def _undecided(connection: Connection) -> list[str]:
    """Find subjects whose standing is not that of their latest decision."""
    problems = []
    latest = (
        select(
            schema.decisions.c.subject,
            schema.decisions.c.subject_id,
            func.max(schema.decisions.c.sequence).label("sequence"),
        )
        .group_by(schema.decisions.c.subject_id, schema.decisions.c.subject)
        .subquery()
    )
    holds = schema.decisions
    for subject, table in (("candidate", schema.candidates), ("proposal", schema.proposals)):
        query = (
            select(table.c.id)
            .outerjoin(latest, (latest.c.subject == literal(subject)) & (latest.c.subject_id == table.c.id))
            .outerjoin(
                holds,
                (holds.c.subject == literal(subject))
                & (holds.c.subject_id == table.c.id)
                & (holds.c.sequence == latest.c.sequence),
            )
            .where(
                holds.c.number.is_(None)
                | (holds.c.sequence != table.c.sequence)
                | (holds.c.is_accepted != table.c.is_accepted)
            )
        )
        problems += [
            f"{subject} {identity} does not stand as last decided" for identity in connection.execute(query).scalars()
        ]
    return problems


def _runs(connection: Connection) -> list[str]:
    rounds = [run.round for run in reads.runs(connection)]
    return [] if rounds == list(range(len(rounds))) else [f"the training rounds have gaps: {rounds}"]


def _without_text(connection: Connection) -> list[str]:
    """Find accepted rows whose text is gone, which retention never does."""
    table = schema.candidates.c
    rows = select(table.id).where(
        table.is_accepted == 1, table.instruction == "", table.input == "", table.output == ""
    )
    return [f"candidate {identity} is accepted and has no text" for identity in connection.execute(rows).scalars()]


def _changed_snapshots(folder: Path) -> list[str]:
    problems = []
    for manifest in sorted(folder.glob(f"[!.]*/{MANIFEST}")):
        try:
            snapshot = read_snapshot(manifest.parent)
        except (SeedbedError, OSError) as error:
            problems.append(str(error))
        else:
            if snapshot.id != manifest.parent.name:
                problems.append(f"{manifest.parent} holds the snapshot {snapshot.id}")
    return problems
