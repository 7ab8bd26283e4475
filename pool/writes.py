"""The pool's writes: each says what it looks up and what it does in a transaction that it may share with others."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolError
from seedbed.core.records import CHECK_PREFIX, Candidate, Completion, Request, Subject, TrainingRun
from seedbed.pool import schema
from seedbed.pool.records import Answer, Committed, Decided, RequestFailure, Unreadable
from seedbed.pool.rows import (
    Values,
    candidate_row,
    completion_row,
    decision_row,
    proposal_row,
    refusal_of,
    request_row,
    run_row,
    spent_key,
    storable,
)
from seedbed.pool.transaction import AskedFor, Standing, Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Write(Generic[T]):
    """Something to do in one transaction; it may be tried twice, so it changes nothing but the transaction."""

    run: Callable[[Transaction], T]
    subjects: tuple[tuple[Subject, str], ...] = ()
    """Whose standing it looks up."""
    request_ids: tuple[str, ...] = ()
    """Whose state it looks up."""
    is_led: bool = True
    """Where several services share a pool, only the leading one may make it."""


class Submit(Protocol):
    """Queues a write; the future is done when it is on disk."""

    def __call__(self, write: Write[T]) -> "Future[T]": ...


def asked(requests: Sequence[Request], now: float, node: str = "") -> Write[None]:
    """Store requests, before they are sent. One that is stored already stays as it is."""
    rows = [request_row(request, now, node) for request in requests]

    def run(transaction: Transaction) -> None:
        for row in rows:
            if transaction.request(row["id"]) is None:
                transaction.add_request(row)
                transaction.count("requests", "stored")
                transaction.count("requests", "waiting")

    return Write(run, request_ids=tuple(request.id for request in requests), is_led=False)


def answered(completions: Sequence[Completion], now: float) -> Write[None]:
    """Store completions. The first of a request stands, so that storing one again is safe."""
    rows = [completion_row(completion, now) for completion in completions]

    def run(transaction: Transaction) -> None:
        for row in rows:
            asked = _require_stored(transaction, row["request_id"], "a completion")
            if asked.state == "answered":
                continue
            transaction.insert(schema.completions, row)
            transaction.end_request(row["request_id"], "answered")
            transaction.count("requests", asked.state, -1)
            share = spent_key(row["endpoint"], asked.recipe, asked.category)
            for kind, by in (("answered", 1), *((kind, row[kind]) for kind in ("prompt_tokens", "completion_tokens"))):
                transaction.count(kind, row["endpoint"], by)
                transaction.count(f"{kind}_for", share, by)

    return Write(run, request_ids=tuple(completion.request_id for completion in completions), is_led=False)


def failed(failures: Sequence[RequestFailure], now: float) -> Write[None]:
    """Store that requests were given up; one that is answered stays answered."""

    def run(transaction: Transaction) -> None:
        for failure in failures:
            asked = _require_stored(transaction, failure.request_id, "a failure")
            values = {"kind": failure.kind, "message": storable(failure.message), "failed_at": now}
            transaction.insert(schema.failures, {"request_id": failure.request_id, **values})
            if asked.state == "waiting":
                transaction.end_request(failure.request_id, "failed")
                transaction.count("requests", "waiting", -1)
                transaction.count("requests", "failed")

    return Write(run, request_ids=tuple(failure.request_id for failure in failures), is_led=False)


def unreadable(pieces: Sequence[Unreadable], now: float) -> Write[None]:
    """Store what the parser could make nothing of."""

    def run(transaction: Transaction) -> None:
        for piece in pieces:
            reason = storable(piece.reason)
            values = {"reason": reason, "text": storable(piece.text), "seen_at": now}
            transaction.insert(schema.unreadable, {"request_id": piece.request_id, **values})
            transaction.count("unreadable", reason)

    return Write(run, is_led=False)


def decided(items: Sequence[Decided], config: PoolConfig, now: float) -> Write[Committed]:
    """Store subjects with their decisions, and the trainings that they trigger."""
    subjects = tuple((item.decision.subject, item.decision.subject_id) for item in items)
    rows = [_subject_row(item) for item in items]
    decisions = [decision_row(item.decision) for item in items]

    def run(transaction: Transaction) -> Committed:
        known = []
        for item, row, decision in zip(items, rows, decisions, strict=True):
            if not _decide(transaction, item, row, decision):
                known.append(item.decision.subject_id)
            if item.submission is not None:
                filter_name, reason = refusal_of(item.decision)
                transaction.answer(Answer(item.submission, item.decision.accepted, filter_name, reason), now)
        runs = fire_due(transaction, config, now)
        return Committed(transaction.total("candidates", "accepted"), runs, tuple(known))

    return Write(run, subjects=subjects)


def threshold(config: PoolConfig, round: int) -> int:
    """Return the accepted rows that trigger the training of a round; rounds count from 0."""
    return config.first_target + round * config.step


def fire_due(transaction: Transaction, config: PoolConfig, now: float) -> tuple[TrainingRun, ...]:
    """Store a run for each round whose threshold is reached and that has none; the round is its key."""
    fired: list[TrainingRun] = []
    accepted = transaction.total("candidates", "accepted")
    while accepted >= (reached := threshold(config, number := transaction.total("runs"))):
        run = TrainingRun(id=f"round-{number:04d}", round=number, threshold=reached, created_at=now)
        transaction.count("runs")
        if transaction.insert_new(schema.runs, run_row(run)):
            fired.append(run)
    return tuple(fired)


def _require_stored(transaction: Transaction, request_id: str, what: str) -> AskedFor:
    asked = transaction.request(request_id)
    if asked is None:
        raise PoolError(f"{what} came for request {request_id}, which the pool does not hold: store it before sending")
    return asked


def _subject_row(item: Decided) -> Values:
    if item.decision.subject_id != item.subject.id:
        raise PoolError(f"the decision on {item.decision.subject_id} came with {item.subject.id}")
    if item.decision.subject is Subject.PROPOSAL:
        return proposal_row(item.subject)  # type: ignore[arg-type]
    if item.decision.accepted and item.subject.is_blanked:
        raise PoolError(f"candidate {item.subject.id} has no text any more (retention removed it): it stays refused")
    return candidate_row(item.subject)  # type: ignore[arg-type]


def _decide(transaction: Transaction, item: Decided, row: Values, decision: Values) -> bool:
    """Store one decision; False where the subject is known and its first decision stands."""
    subject, identity = item.decision.subject, item.decision.subject_id
    former = transaction.standing(subject, identity)
    if former is not None and item.decision.sequence == 0:
        if subject is Subject.CANDIDATE:
            _note_occurrence(transaction, item, row)
        return False
    _require_next(item, former)
    standing = _standing(item, row if former is None else None, former)
    if former is None:
        values = {"is_accepted": int(standing.is_accepted), "filter": standing.filter, "reason": standing.reason}
        transaction.insert(
            schema.candidates if subject is Subject.CANDIDATE else schema.proposals, {**row, "sequence": 0, **values}
        )
        if isinstance(item.subject, Candidate):
            _count_checks(transaction, item.subject)
    transaction.insert(schema.decisions, decision)
    transaction.set_standing(subject, identity, standing)
    if former is not None:
        if subject is Subject.CANDIDATE and standing.is_accepted and not former.is_accepted:
            transaction.set_text(row)  # retention may have removed it since the caller read it
        _count(transaction, subject, former, -1)
    _count(transaction, subject, standing, +1)
    return True


def _require_next(item: Decided, former: Standing | None) -> None:
    decision = item.decision
    wanted = 0 if former is None else former.sequence + 1
    if decision.sequence != wanted:
        raise PoolError(
            f"the next decision on {decision.subject} {decision.subject_id} has sequence {wanted}, "
            f"got {decision.sequence}: read the latest decision and decide again"
        )


def _standing(item: Decided, row: Values | None, former: Standing | None) -> Standing:
    filter_name, reason = refusal_of(item.decision)
    if former is not None:
        category, recipe = former.category, former.recipe
    else:
        assert row is not None
        category, recipe = row.get("effective_category", ""), row.get("recipe", "")
    return Standing(item.decision.sequence, item.decision.accepted, filter_name, reason, category, recipe)


def _note_occurrence(transaction: Transaction, item: Decided, row: Values) -> None:
    values = {"candidate_id": row["id"], "task_id": row["task_id"], "lineage": row["lineage"]}
    transaction.insert(schema.occurrences, {**values, "seen_at": item.decision.decided_at})
    transaction.count("occurrences")


def _count_checks(transaction: Transaction, candidate: Candidate) -> None:
    for name, grade in candidate.grades.items():
        if name.startswith(CHECK_PREFIX):
            transaction.count("checked", name)
            transaction.count("checked_wrong", name, int(grade < 1))


def _count(transaction: Transaction, subject: Subject, standing: Standing, by: int) -> None:
    outcome = "accepted" if standing.is_accepted else "refused"
    transaction.count(f"{subject.value}s", outcome, by)
    if not standing.is_accepted:
        transaction.count(f"{subject.value}s_refused", f"{standing.filter}.{standing.reason}", by)
    if subject is Subject.CANDIDATE:
        transaction.count(f"categories_{outcome}", standing.category, by)
        transaction.count(f"recipes_{outcome}", standing.recipe, by)
