"""Routes that run one stage by hand: freeze what is accepted, evaluate an adapter, remove what is old."""

from typing import Any

import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request

from seedbed.core.errors import SnapshotError
from seedbed.core.records import Snapshot
from seedbed.core.reports import EvalReport
from seedbed.service.answering import free
from seedbed.service.api_changes import AdapterId, Desk
from seedbed.service.context import Context
from seedbed.service.evaluations import ask_for, whole_report
from seedbed.service.exchanged import Evaluation, PrunedShown, PruneWanted
from seedbed.service.once import Key, Once
from seedbed.service.prune import prune, prune_now, prune_record
from seedbed.service.rounds import freeze_snapshot

FREEZING = "a freeze or a prune"


def stage_routes(desk: Desk, once: Once) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1")
    context, control = desk.context, desk.control

    @routes.post("/snapshots", response_model=Snapshot, tags=["training"])
    async def freeze_now(request: Request, key: Key = None) -> Any:
        """Freeze what is accepted now; equal rows give the snapshot that is there."""

        async def act() -> Snapshot:
            async with free(context.snapshots_lock, FREEZING):
                return await anyio.to_thread.run_sync(_frozen, context)

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.post("/pool/prune", response_model=PrunedShown, tags=["pool"])
    async def prune_pool(wanted: PruneWanted, request: Request, key: Key = None) -> Any:
        """Remove what is older than `[retention]` says, or tell what that would be."""

        def work() -> PrunedShown:
            stop = control.end
            return prune_record(prune(context, is_dry=True, stop=stop) if wanted.dry_run else prune_now(context, stop))

        async def act() -> PrunedShown:
            async with free(context.snapshots_lock, FREEZING):
                return await anyio.to_thread.run_sync(work)

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.post("/adapters/{adapter}/evaluate", response_model=Evaluation, tags=["training"])
    async def evaluate(adapter: AdapterId, request: Request, key: Key = None) -> Any:
        """Evaluate an adapter on held-out tasks when what runs has drained; it is neither promoted nor held by it."""

        async def act() -> Evaluation:
            report = await anyio.to_thread.run_sync(_report_of, context, adapter)
            if report is not None:
                return Evaluation(adapter_id=adapter, state="done", report=report)
            await anyio.to_thread.run_sync(ask_for, context.pool, adapter)
            context.events.emit("control.evaluation", adapter=adapter)
            control.look_again()
            return Evaluation(adapter_id=adapter, state="waiting")

        return await once.answer(request, key, act, is_repeatable=True)

    return routes


def _frozen(context: Context) -> Snapshot:
    """Freeze for the round that comes next.

    Raises:
        HTTPException: There is nothing to freeze, or what there is must not be frozen.
    """
    try:
        return freeze_snapshot(context, len(context.pool.runs()))
    except SnapshotError as error:  # where the workspace lies is nobody's business
        raise HTTPException(409, str(error).replace(f"{context.workspace.folder}/", "")) from error


def _report_of(context: Context, adapter: str) -> EvalReport | None:
    """Return an adapter's finished report, if it has one.

    Raises:
        HTTPException: There is no such adapter.
    """
    if adapter not in {one.id for one in context.pool.adapters()}:
        raise HTTPException(404, f"there is no adapter {adapter}")
    return whole_report(context, adapter)
