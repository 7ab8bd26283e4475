"""Running a command that takes long: signals drain it, the terminal shows it, the service answers meanwhile."""

import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio

from seedbed.core.records import Status
from seedbed.service.alarms import Alarms
from seedbed.service.api import build_app, new_token, serving
from seedbed.service.api_changes import Desk
from seedbed.service.console import Console
from seedbed.service.context import Context, writing
from seedbed.service.control import Control
from seedbed.service.crew import told_of
from seedbed.service.disk import DiskWatch
from seedbed.service.diversity import report_diversity
from seedbed.service.feed import Feed
from seedbed.service.guarding import Gate
from seedbed.service.history import History
from seedbed.service.live import NOT_READY, Live
from seedbed.service.recent import ForgetAfterChanges, Recent
from seedbed.service.status import read_status
from seedbed.service.stopping import Stop, stopping_on_signals
from seedbed.service.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serve:
    """Where the HTTP service is to answer."""

    host: str
    port: int


Job = Callable[[Context, Stop, Live], Awaitable[T]]


def run_job(
    workspace: Workspace, console: Console, job: Job[T], serve: Serve | None = None, *, stands_by: bool = False
) -> T:
    """Hold the workspace and run `job` in an event loop, on uvloop where it is there.

    A job that stands by sees to it that this process leads the pool before it decides anything.

    Raises:
        SeedbedError: What the job raises.
    """
    # Thousands of requests in flight are millions of live objects; scanning them often cost 40% of the CPU.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    sinks = (console.on_event,)
    with writing(workspace, download=console.download, sinks=sinks, stands_by=stands_by) as context:
        return anyio.run(_with_surroundings, context, console, job, serve, backend_options=loop_options())


def loop_options() -> dict[str, Any]:
    """Return anyio's options for the fastest loop there is."""
    try:
        import uvloop
    except ImportError:
        return {}
    return {"loop_factory": uvloop.new_event_loop}


async def _with_surroundings(context: Context, console: Console, job: Job[T], serve: Serve | None) -> T:
    live = Live(alarms=Alarms(context.events))
    async with stopping_on_signals(console.say) as stop, AsyncExitStack() as stack:
        if serve is not None:
            live.control = Control(context.pool, context.events, stop)
            await _serve(stack, context, console, live, live.control, serve)
        await stack.enter_async_context(told_of(context, live))
        async with anyio.create_task_group() as group:
            group.start_soon(console.watch, live.figures)
            result = await job(context, stop, live)
            group.cancel_scope.cancel()
    return result


async def _serve(
    stack: AsyncExitStack, context: Context, console: Console, live: Live, control: Control, serve: Serve
) -> None:
    disk = DiskWatch(context.workspace)

    def status_now() -> Status:
        return read_status(
            context.workspace,
            context.pool,
            phase=live.phase,
            endpoints=live.endpoints(),
            alarms=live.alarms.standing,
            diversity=live.diversity,
            reactions=live.reactions,
            disk=disk.bytes_by_kind(),
        )

    status = Recent(status_now)

    settings, own = context.workspace.config.service, context.secrets.service_token
    token = own.get_secret_value() if own else new_token()
    gate, folder = Gate(token), context.workspace.folder
    history = History()
    feed = Feed(context.workspace.logs / "events.jsonl", lambda: status().model_dump_json())
    context.events.add(feed)
    stack.callback(context.events.remove, feed)
    app = build_app(
        status,
        lambda: NOT_READY.get(live.phase, ""),
        gate,
        context.pool,
        context.workspace.seeds,
        desk=Desk(context, live, control, feed, history, {"service.host": serve.host, "service.port": serve.port}),
        hosts=settings.allowed_hosts,
        diversity=lambda: report_diversity(context.pool, context.workspace.config.diversity, live.reactions),
    )
    app.add_middleware(ForgetAfterChanges, forget=status.forget)
    is_guarded = bool(own and settings.allowed_hosts)
    where = serving(app, host=serve.host, port=serve.port, token=token, folder=folder, is_guarded=is_guarded)
    access = await stack.enter_async_context(where)
    stack.callback(feed.close)
    await stack.enter_async_context(history.following(status, time.time))
    console.say(f"open {access.url}/login?code={gate.new_code()} (once, within the hour; `seedbed page` makes another)")
    console.say(f"the API is at {access.url}/v1; the token of this run is in {folder / 'service.json'}")
