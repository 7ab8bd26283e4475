"""What an operator does by hand: train a round, evaluate, promote, roll back."""

from typing import Any

from seedbed.core.errors import InputError
from seedbed.core.records import Adapter, Phase
from seedbed.service.context import Context
from seedbed.service.evaluations import evaluate_whole
from seedbed.service.in_service import IN_SERVICE, sentence_of
from seedbed.service.keeper import Keeper
from seedbed.service.live import Live, training_gauge
from seedbed.service.promotion import promote, roll_back
from seedbed.service.rounds import freeze_snapshot
from seedbed.service.serving import bring_into_service
from seedbed.service.stopping import Stop
from seedbed.service.training import adapter_folder, train


async def train_round(context: Context, stop: Stop, live: Live, round: int | None) -> dict[str, Any]:
    """Train a triggered round, freezing its snapshot first where that is missing.

    Raises:
        InputError: No such round was triggered.
    """
    context.pool.fire_due()
    runs = {run.round: run for run in context.pool.runs()}
    wanted = max(runs, default=0) if round is None else round
    if wanted not in runs:
        accepted, threshold = context.pool.accepted_count(), context.pool.threshold(wanted)
        raise InputError(f"round {wanted} is not triggered: the pool has {accepted} of {threshold} accepted rows")
    run = runs[wanted]
    if not run.snapshot_id:
        run = run.model_copy(update={"snapshot_id": freeze_snapshot(context, run.round).id})
        context.pool.update_run(run)
    live.phase, live.gauge = Phase.TRAINING, training_gauge(adapter_folder(context, run))
    async with Keeper(context, live).gpu():
        adapter = await train(context, run, stop)
    return {"round": wanted, "snapshot": run.snapshot_id, "adapter": adapter.id if adapter else ""}


async def evaluate_adapter(context: Context, stop: Stop, live: Live, name: str) -> dict[str, Any]:
    """Evaluate an adapter, the latest where none is named; what becomes of it is not decided here."""
    report = await evaluate_whole(context, find_adapter(context, name), Keeper(context, live), live, stop)
    return {} if report is None else report.model_dump(mode="json")


async def promote_by_hand(context: Context, name: str, note: str) -> dict[str, Any]:
    """Put an adapter into service."""
    adapter = promote(context, find_adapter(context, name), note)
    return {"adapter": adapter.id, **await _serving(context)}


async def roll_back_by_hand(context: Context, note: str) -> dict[str, Any]:
    """Take the adapter in service out."""
    before = roll_back(context, note)
    return {"adapter": before.id if before else "", **await _serving(context)}


async def _serving(context: Context) -> dict[str, Any]:
    serving = await bring_into_service(context)
    file = context.workspace.adapters / IN_SERVICE
    return {"serving": serving.model_dump(mode="json"), "said": sentence_of(serving), "published": str(file)}


def find_adapter(context: Context, name: str) -> Adapter:
    """Return the adapter of that name, the latest where it is empty.

    Raises:
        InputError: There is none.
    """
    adapters = context.pool.adapters()
    if not adapters:
        raise InputError("no adapter has been trained yet; `seedbed run` or `seedbed train` makes one")
    if not name:
        return adapters[-1]
    for adapter in adapters:
        if adapter.id == name:
            return adapter
    raise InputError(f'there is no adapter "{name}"; known: {", ".join(adapter.id for adapter in adapters)}')
