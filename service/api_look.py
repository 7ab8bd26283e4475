"""Routes for who looks on: settings, samples over time, how rows are spread, a training's loss, log and answers."""

from itertools import islice
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from seedbed.core.records import Adapter, Snapshot, TrainingRun
from seedbed.core.snapshots import frozen_snapshots
from seedbed.service.answering import TAGGED, Remembered, tagged
from seedbed.service.api_changes import AdapterId, Desk, Round
from seedbed.service.evaluating import report_folder
from seedbed.service.exchanged import Answers, Curve, Over, Tail
from seedbed.service.looking import SideBySide, answers_side_by_side, log_tail, loss_points
from seedbed.service.settings import Settings, SettingsShown
from seedbed.service.spread import Spread, spread_of
from seedbed.service.training import adapter_folder, training_log
from seedbed.service.workspace import CONFIG

MAX_ANSWERS = 100


def look_routes(desk: Desk) -> tuple[APIRouter, ...]:
    """Return the routes that show what a running service knows beside the pool."""
    return _service_routes(desk), _training_routes(desk)


def _service_routes(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["status"])
    workspace, pool = desk.context.workspace, desk.context.pool
    settings = Settings(workspace.config, workspace.folder / CONFIG, desk.given)

    over_time = Remembered()

    @routes.get("/history", response_model=Over, responses=TAGGED)
    async def history(request: Request) -> Response:
        """Tell how it went since this service started."""
        samples = desk.history.samples
        return over_time.answer(request, samples, lambda: Over(every_s=desk.history.every_s, samples=samples))

    @routes.get("/settings", response_model=SettingsShown, responses=TAGGED)
    def read_settings(request: Request) -> Response:
        """Tell every setting, its value and where that came from; secrets are not told."""
        return tagged(request, settings.shown())

    @routes.get("/pool/spread", tags=["pool"], response_model=Spread, responses=TAGGED)
    def read_spread(request: Request) -> Response:
        """Tell how rows are spread: categories against targets, nearest neighbours, lengths."""
        return tagged(request, spread_of(pool, workspace.categories.shares(), workspace.config.generation))

    return routes


def _training_routes(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["training"])
    context = desk.context

    async def run_of(round: int) -> TrainingRun:
        run = await anyio.to_thread.run_sync(context.pool.run, round)
        if run is None:
            raise HTTPException(404, f"round {round} was not triggered")
        return run

    async def adapter_of(name: str) -> Adapter:
        adapters = await anyio.to_thread.run_sync(context.pool.adapters)
        found = next((one for one in adapters if one.id == name), None)
        if found is None:
            raise HTTPException(404, f"there is no adapter {name}")
        return found

    @routes.get("/runs/{round}/loss", response_model=Curve, responses=TAGGED)
    async def loss(round: Round, request: Request) -> Response:
        """Tell the loss of a round's training so far."""
        run = await run_of(round)
        points = await anyio.to_thread.run_sync(loss_points, adapter_folder(context, run))
        return tagged(request, Curve(run=run, points=tuple(points)))

    @routes.get("/runs/{round}/log", response_model=Tail, responses=TAGGED)
    async def log(round: Round, request: Request) -> Response:
        """Give the end of a round's training log."""
        path = training_log(context, await run_of(round))
        return tagged(request, Tail(text=await anyio.to_thread.run_sync(log_tail, path)))

    @routes.get("/adapters/{adapter}/answers", response_model=Answers, responses=TAGGED)
    async def answers(
        adapter: AdapterId,
        request: Request,
        start: Annotated[int, Query(ge=0, le=10**6)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ANSWERS)] = 20,
    ) -> Response:
        """Put the answers of base and adapter side by side."""
        path = report_folder(context, await adapter_of(adapter)) / "answers.jsonl"

        def read() -> list[SideBySide]:
            return list(islice(answers_side_by_side(path), start, start + limit + 1))

        found = await anyio.to_thread.run_sync(read)
        following = start + limit if len(found) > limit else None
        return tagged(request, Answers(answers=tuple(found[:limit]), next=following))

    @routes.get("/snapshots", response_model=list[Snapshot], responses=TAGGED)
    def snapshots(request: Request) -> Response:
        """List snapshots, oldest first."""
        return tagged(request, frozen_snapshots(context.workspace.snapshots))

    @routes.get("/snapshots/{identity}", response_model=Snapshot, responses=TAGGED)
    def snapshot(identity: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")], request: Request) -> Response:
        """Tell what an adapter was trained on."""
        found = next((one for one in frozen_snapshots(context.workspace.snapshots) if one.id == identity), None)
        if found is None:
            raise HTTPException(404, f"there is no snapshot {identity}")
        return tagged(request, found)

    return routes
