"""Routes that change something: control, a person's decisions on rows, training, adapters; and the watching of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Request, Response
from fastapi.responses import StreamingResponse

from seedbed.core.errors import InputError
from seedbed.core.records import Decision, TrainingRun
from seedbed.pool.records import Intent, IntentState
from seedbed.service.by_hand import promote_by_hand, roll_back_by_hand
from seedbed.service.context import Context
from seedbed.service.control import Control
from seedbed.service.exchanged import (
    BudgetWanted,
    Changed,
    ConcurrencyWanted,
    Noted,
    Quarantined,
    QuarantineWanted,
    SharesWanted,
    TargetWanted,
)
from seedbed.service.feed import MAX_WATCHERS, Feed
from seedbed.service.hand_decisions import decide_by_hand, quarantine_by_hand
from seedbed.service.history import History
from seedbed.service.live import Live
from seedbed.service.once import Key, Once

RowId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]
AdapterId = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")]
LastEvent = Annotated[str, Header(alias="Last-Event-ID", max_length=60, pattern=r"^([0-9]{1,18}-[0-9]{1,18})?$")]
Round = Annotated[int, Path(ge=0, lt=2**31)]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the changing routes work with; a service that only shows has none."""

    context: Context
    live: Live
    control: Control
    feed: Feed
    history: History = field(default_factory=History)
    given: Mapping[str, str | int] = field(default_factory=dict)
    """Settings of the command line, by their keys."""


def change_routes(desk: Desk, once: Once) -> tuple[APIRouter, ...]:
    """Return the routes that change what the desk holds."""
    return _control_routes(desk, once), _row_routes(desk, once), _training_routes(desk, once)


def _control_routes(desk: Desk, once: Once) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["control"])
    context, control = desk.context, desk.control

    @routes.post("/control/{action}", response_model=Intent)
    async def steer(action: Literal["start", "pause", "drain", "stop"], request: Request, key: Key = None) -> Any:
        """Start, pause or drain generation, or stop the process; all but `stop` outlive a restart."""

        async def act() -> Intent:
            if action == "stop":
                control.stop()
                return control.intent
            states = {"start": IntentState.RUNNING, "pause": IntentState.PAUSED, "drain": IntentState.DRAINING}
            return await control.set_state(states[action])

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.get("/control", response_model=Intent)
    async def read_intent() -> Intent:
        """Tell what is wanted."""
        return control.intent

    @routes.put("/control/target", response_model=Intent)
    async def set_target(wanted: TargetWanted, request: Request, key: Key = None) -> Any:
        """Stop generating at so many accepted rows."""
        return await once.answer(request, key, lambda: control.set_target(wanted.target), is_repeatable=True)

    @routes.put("/control/concurrency", response_model=Intent)
    async def set_concurrency(wanted: ConcurrencyWanted, request: Request, key: Key = None) -> Any:
        """Run so many recipes at once."""
        return await once.answer(request, key, lambda: control.set_concurrency(wanted.concurrency), is_repeatable=True)

    @routes.put("/control/budget", response_model=Intent)
    async def set_budget(wanted: BudgetWanted, request: Request, key: Key = None) -> Any:
        """Limit what is spent; a service that waits for it goes on."""

        async def act() -> Intent:
            return await control.set_budget(wanted.max_tokens, wanted.max_cost)

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.put("/control/shares", response_model=Changed)
    async def set_shares(wanted: SharesWanted, request: Request, key: Key = None) -> Any:
        """Set the target shares of categories."""
        known = {category.name for category in context.workspace.categories.trained}
        if unknown := set(wanted.shares) - known:
            raise HTTPException(409, f"no trained category is named {', '.join(sorted(unknown))}")

        async def act() -> Changed:
            await control.set_shares(wanted.shares, wanted.note)
            return Changed(done={"shares": wanted.shares})

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.get("/events", responses={200: {"content": {"text/event-stream": {}}}}, response_class=StreamingResponse)
    async def events(last_event_id: LastEvent = "") -> Response:
        """Watch what happens; `Last-Event-ID` catches up."""
        if desk.feed.watchers >= MAX_WATCHERS:
            raise HTTPException(429, f"{MAX_WATCHERS} are watching already")
        return StreamingResponse(desk.feed.watch(last_event_id), media_type="text/event-stream")

    return routes


def _row_routes(desk: Desk, once: Once) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["pool"])
    context, live = desk.context, desk.live

    @routes.post("/pool/rows/{identity}/{verdict}", response_model=Decision)
    async def decide(
        identity: RowId,
        verdict: Literal["accept", "refuse"],
        wanted: Noted,
        request: Request,
        key: Key = None,
    ) -> Any:
        """Accept or refuse a row by hand; the indexes follow."""

        async def act() -> Decision:
            async with known_things():
                accepted = verdict == "accept"
                return await decide_by_hand(context, live, identity, accepted=accepted, note=wanted.note)

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.post("/pool/quarantine", response_model=Quarantined)
    async def quarantine_rows(wanted: QuarantineWanted, request: Request, key: Key = None) -> Any:
        """Refuse every accepted row that descends from a seed, a prompt or a model."""
        return await once.answer(request, key, lambda: quarantine_by_hand(context, live, wanted), is_repeatable=True)

    return routes


def _training_routes(desk: Desk, once: Once) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["training"])
    context, control = desk.context, desk.control

    @routes.post("/runs", response_model=TrainingRun)
    async def start_training(request: Request, key: Key = None) -> Any:
        """Train on what is accepted now."""
        async with known_things():
            return await once.answer(request, key, control.start_training)

    @routes.post("/runs/{round}/cancel", response_model=TrainingRun)
    async def cancel_training(round: Round, request: Request, key: Key = None) -> Any:
        """End a round's training; its rows count for the next."""
        async with known_things():
            return await once.answer(request, key, lambda: control.cancel_training(round))

    @routes.post("/adapters/{adapter}/promote", response_model=Changed)
    async def promote(adapter: AdapterId, wanted: Noted, request: Request, key: Key = None) -> Any:
        """Put an adapter into service, whatever its evaluation said."""

        async def act() -> Changed:
            async with known_things():
                return Changed(done=await promote_by_hand(context, adapter, wanted.note))

        return await once.answer(request, key, act, is_repeatable=True)

    @routes.post("/adapters/rollback", response_model=Changed)
    async def roll_back(wanted: Noted, request: Request, key: Key = None) -> Any:
        """Take the adapter in service out; the one before takes its place."""

        async def act() -> Changed:
            async with known_things():
                return Changed(done=await roll_back_by_hand(context, wanted.note))

        return await once.answer(request, key, act)

    return routes


@asynccontextmanager
async def known_things() -> AsyncIterator[None]:
    """Answer 409 where what was asked cannot be done as things stand."""
    try:
        yield
    except InputError as error:
        raise HTTPException(409, str(error)) from error
