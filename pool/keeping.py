"""Writes beside the way of a row: training runs, adapters, reports, shares and what is wanted."""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select, update

from seedbed.core.batches import batched
from seedbed.core.config import PoolConfig
from seedbed.core.errors import PoolError
from seedbed.core.records import Adapter, RunState, TrainingRun
from seedbed.core.reports import EvalReport
from seedbed.pool import schema, writes
from seedbed.pool.records import Attempt
from seedbed.pool.rows import as_json, run_row, storable
from seedbed.pool.transaction import Transaction
from seedbed.pool.writes import Write


def name_pool() -> Write[None]:
    """Give the pool a name of its own, once."""

    def run(transaction: Transaction) -> None:
        transaction.insert_new(schema.meta, {"key": "pool_id", "value": uuid.uuid4().hex})

    return Write(run, is_led=False)


def set_meta(key: str, value: str) -> Write[None]:
    """Store a value under a key, in place of what stood there."""

    def run(transaction: Transaction) -> None:
        transaction.set_meta(key, value)

    return Write(run)


def drop_metas(keys: Sequence[str]) -> Write[None]:
    """Drop the values under some keys."""

    def run(transaction: Transaction) -> None:
        for part in batched(keys, schema.PARAMETERS):
            transaction.execute(delete(schema.meta).where(schema.meta.c.key.in_(part)))

    return Write(run)


def fire_due(config: PoolConfig, now: float) -> Write[tuple[TrainingRun, ...]]:
    """Trigger the trainings whose threshold is reached."""
    return Write(lambda transaction: writes.fire_due(transaction, config, now))


def trigger_early(now: float) -> Write[TrainingRun | None]:
    """Trigger the next round on what is accepted now; None where nothing is, or a round is due already."""

    def run(transaction: Transaction) -> TrainingRun | None:
        accepted, number = transaction.total("candidates", "accepted"), transaction.total("runs")
        unfinished = select(schema.runs.c.round).where(schema.runs.c.state.in_(["waiting", "running"]))
        if not accepted or transaction.execute(unfinished).first() is not None:
            return None
        triggered = TrainingRun(id=f"round-{number:04d}", round=number, threshold=accepted, created_at=now)
        transaction.count("runs")
        transaction.execute(schema.runs.insert().values(run_row(triggered)))
        return triggered

    return Write(run)


def update_run(run: TrainingRun) -> Write[None]:
    """Store a run's new state, snapshot, error and adapter."""
    table = schema.runs
    values = {
        "snapshot_id": run.snapshot_id,
        "state": run.state.value,
        "last_error": storable(run.last_error),
        "adapter_id": run.adapter_id,
    }

    def store(transaction: Transaction) -> None:
        if not transaction.execute(update(table).where(table.c.round == run.round).values(values)).rowcount:
            raise PoolError(f"there is no training run of round {run.round}: its threshold was never reached")

    return Write(store)


def add_attempt(round: int, now: float) -> Write[Attempt]:
    """Start the next attempt at a round."""
    table = schema.runs

    def run(transaction: Transaction) -> Attempt:
        former = transaction.execute(select(table.c.attempts).where(table.c.round == round)).scalar_one_or_none()
        if former is None:
            raise PoolError(f"there is no training run of round {round}: its threshold was never reached")
        attempt = Attempt(round=round, number=former + 1, state=RunState.RUNNING, started_at=now)
        transaction.execute(schema.attempts.insert().values(**attempt.model_dump()))
        changed = {"attempts": attempt.number, "state": RunState.RUNNING.value}
        transaction.execute(update(table).where(table.c.round == round).values(changed))
        return attempt

    return Write(run)


def end_attempt(attempt: Attempt, state: RunState, error: str, now: float) -> Write[Attempt]:
    """Store how an attempt ended."""
    table = schema.attempts
    ended = attempt.model_copy(update={"state": state, "error": storable(error), "ended_at": now})
    where = (table.c.round == attempt.round, table.c.number == attempt.number)

    def run(transaction: Transaction) -> Attempt:
        values = {"state": state.value, "error": ended.error, "ended_at": now}
        if not transaction.execute(update(table).where(*where).values(values)).rowcount:
            raise PoolError(f"round {attempt.round} has no attempt {attempt.number}")
        return ended

    return Write(run)


def add_adapter(adapter: Adapter) -> Write[None]:
    """Store a new adapter. The same again changes nothing, so a run that is taken up after a crash may repeat it."""
    table, record = schema.adapters, as_json(adapter)
    values = {"id": adapter.id, "round": adapter.round, "record": record, "created_at": adapter.created_at}

    def run(transaction: Transaction) -> None:
        stored = transaction.execute(select(table.c.record).where(table.c.id == adapter.id)).scalar_one_or_none()
        if stored is None:
            transaction.execute(table.insert().values(values))
        elif stored != record:
            raise PoolError(f"there is another adapter {adapter.id} in the pool: update it, or choose another id")

    return Write(run)


def update_adapter(adapter: Adapter) -> Write[None]:
    """Store an adapter in place of its former state."""
    table = schema.adapters

    def run(transaction: Transaction) -> None:
        statement = update(table).where(table.c.id == adapter.id).values(record=as_json(adapter))
        if not transaction.execute(statement).rowcount:
            raise PoolError(f"there is no adapter {adapter.id} in the pool")

    return Write(run)


def add_report(report: EvalReport) -> Write[None]:
    """Store an evaluation report. One of the same adapter and time takes the place of what was stored."""
    table = schema.reports
    values = {"adapter_id": report.adapter_id, "record": as_json(report), "created_at": report.created_at}

    def run(transaction: Transaction) -> None:
        same = (table.c.adapter_id == report.adapter_id) & (table.c.created_at == report.created_at)
        if transaction.execute(table.update().where(same).values(values)).rowcount == 0:
            transaction.execute(table.insert().values(values))

    return Write(run)


def set_shares(shares: Mapping[str, float], reason: str | Mapping[str, str], now: float) -> Write[None]:
    """Add target shares to the history, with one reason or one for each; the newest of a category holds."""
    rows = [
        {
            "category": category,
            "share": share,
            "reason": storable(reason if isinstance(reason, str) else reason[category]),
            "changed_at": now,
        }
        for category, share in shares.items()
    ]

    def run(transaction: Transaction) -> None:
        if rows:
            transaction.execute(schema.shares.insert().values(rows))

    return Write(run)
