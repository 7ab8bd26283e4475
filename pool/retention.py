"""Removing old text: rows, verdicts, reasons, ids and counts stay, so that a check finds the pool in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, Select, Table, case, or_, select, update

from seedbed.core.records import Decider, Subject
from seedbed.pool import schema
from seedbed.pool.transaction import Transaction
from seedbed.pool.writes import Write

PAGE_ROWS = 500

BROUGHT = "answer"
"""The recipe of instructions that a person brings: those are kept, since a run asks the pool which it has a row for."""

NO_MESSAGES = '[{"role":"user","content":""}]'


class Text(StrEnum):
    """The kinds of text that may be removed."""

    REFUSED_ROWS = "refused_rows"
    REFUSED_PROPOSALS = "refused_proposals"
    UNREADABLE = "unreadable_pieces"
    COMPLETIONS = "completions"
    PROMPTS = "prompts"


@dataclass(frozen=True, slots=True)
class OldText:
    """A row with text that is old enough."""

    number: int
    bytes: int


def old_texts(connection: Connection, kind: Text, before: float, after: int) -> list[OldText]:
    """Return the next rows with text older than `before`, in order of arrival, past number `after`."""
    query = _QUERIES[kind](before)
    number = query.selected_columns[0]
    rows = connection.execute(query.where(number > after).order_by(number).limit(PAGE_ROWS))
    return [OldText(row[0], sum(len(text.encode()) for text in row[1:])) for row in rows]


def blank(kind: Text, numbers: Sequence[int]) -> Write[int]:
    """Remove the text of rows, at most a page of them."""

    def run(transaction: Transaction) -> int:
        if kind in _SUBJECTS:
            return _blank_refused(transaction, _SUBJECTS[kind], numbers)
        table, values = _PLAIN[kind]
        return transaction.execute(update(table).where(table.c.number.in_(numbers)).values(values)).rowcount

    return Write(run)


def _blank_refused(transaction: Transaction, subject: Subject, numbers: Sequence[int]) -> int:
    table = schema.candidates if subject is Subject.CANDIDATE else schema.proposals
    is_meant = (table.c.number.in_(numbers), table.c.is_accepted == 0)
    ids = list(transaction.execute(select(table.c.id).where(*is_meant)).scalars())
    transaction.execute(update(table).where(*is_meant).values(_no_text(subject)))
    decisions = schema.decisions
    told = select(decisions.c.number, decisions.c.verdicts).where(
        decisions.c.subject == subject.value,
        decisions.c.subject_id.in_(ids),
        decisions.c.decided_by != Decider.PERSON.value,
    )
    for row in transaction.execute(told).all():
        if (without := _without_evidence(row.verdicts)) != row.verdicts:
            transaction.execute(update(decisions).where(decisions.c.number == row.number).values(verdicts=without))
    return len(ids)


def _no_text(subject: Subject) -> dict[str, Any]:
    if subject is Subject.PROPOSAL:
        return {"instruction": ""}
    table = schema.candidates.c
    brought = {name: case((table.recipe == BROUGHT, table[name]), else_="") for name in ("instruction", "input")}
    return {**brought, "output": ""}


def _without_evidence(verdicts: str) -> str:
    """Take the words of the row, which are its evidence, out of verdicts."""
    told = orjson.loads(verdicts)
    if not any(verdict.get("evidence") for verdict in told):
        return verdicts
    return orjson.dumps([{**verdict, "evidence": []} for verdict in told]).decode()


def _refused(subject: Subject, table: Table, *texts: Any) -> Select[Any]:
    """Select refused subjects with the decision that holds."""
    holds = schema.decisions.c
    is_holding = (
        (holds.subject == subject.value) & (holds.subject_id == table.c.id) & (holds.sequence == table.c.sequence)
    )
    return select(table.c.number, *texts).join(schema.decisions, is_holding).where(table.c.is_accepted == 0)


def _refused_rows(before: float) -> Select[Any]:
    table = schema.candidates
    asked = [case((table.c.recipe == BROUGHT, ""), else_=column) for column in (table.c.instruction, table.c.input)]
    query = _refused(Subject.CANDIDATE, table, *asked, table.c.output)
    has_text = or_(*(text != "" for text in (*asked, table.c.output)))
    return query.where(schema.decisions.c.decided_at < before, has_text)


def _refused_proposals(before: float) -> Select[Any]:
    table = schema.proposals
    query = _refused(Subject.PROPOSAL, table, table.c.instruction)
    return query.where(schema.decisions.c.decided_at < before, table.c.instruction != "")


def _unreadable(before: float) -> Select[Any]:
    table = schema.unreadable.c
    return select(table.number, table.text).where(table.seen_at < before, table.text != "")


def _completions(before: float) -> Select[Any]:
    table = schema.completions.c
    return select(table.number, table.text).where(table.received_at < before, table.text != "")


def _prompts(before: float) -> Select[Any]:
    """Select answered requests and those given up; one that waits is asked from what is stored."""
    table = schema.requests.c
    is_meant = (table.asked_at < before, table.state != "waiting", table.messages != NO_MESSAGES)
    return select(table.number, table.messages).where(*is_meant)


_SUBJECTS = {Text.REFUSED_ROWS: Subject.CANDIDATE, Text.REFUSED_PROPOSALS: Subject.PROPOSAL}
_PLAIN: dict[Text, tuple[Table, dict[str, str]]] = {
    Text.UNREADABLE: (schema.unreadable, {"text": ""}),
    Text.COMPLETIONS: (schema.completions, {"text": ""}),
    Text.PROMPTS: (schema.requests, {"messages": NO_MESSAGES}),
}
_QUERIES: dict[Text, Callable[[float], Select[Any]]] = {
    Text.REFUSED_ROWS: _refused_rows,
    Text.REFUSED_PROPOSALS: _refused_proposals,
    Text.UNREADABLE: _unreadable,
    Text.COMPLETIONS: _completions,
    Text.PROMPTS: _prompts,
}
