"""A service as it runs, for tests: a real workspace, pool, decider and server, on a port of its own."""

import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
from fastapi import FastAPI

from seedbed.core.config import PoolConfig
from seedbed.core.files import write_json
from seedbed.core.filter_config import ContaminationConfig, FiltersConfig
from seedbed.core.records import Adapter, Candidate, Decision, Lineage, Phase, RunState, Status, Subject, Verdict
from seedbed.pool.records import Decided
from seedbed.service.api import build_app, serving
from seedbed.service.api_changes import Desk
from seedbed.service.context import Context, writing
from seedbed.service.control import Control
from seedbed.service.decider import DecisionThread
from seedbed.service.feed import Feed
from seedbed.service.generation import loaded_cascade
from seedbed.service.guarding import Gate
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.rounds import freeze_snapshot
from seedbed.service.status import read_status
from seedbed.service.stopping import Stop
from seedbed.service.training import adapter_folder, training_log
from seedbed.service.workspace import open_workspace

TOKEN = "the-token-of-this-run"
ROWS = {
    "Name the three longest rivers of Europe in order of length": "The Volga, the Danube and the Ural.",
    "How many moons does the planet Mars have": "Mars has two moons, Phobos and Deimos.",
    "Explain how a canal lock lifts a boat to the higher water": "The gates close and water from above fills it.",
    "Why does the sea taste of salt": "Rivers carry salts from rock into it, and only water leaves again.",
    "Which animal carries its house on its back": "A snail does.",
    "When is the longest day of the year in the north": "Around the 21st of June.",
}


@dataclass(frozen=True)
class Running:
    """A service that answers."""

    url: str
    app: FastAPI
    desk: Desk
    stop: Stop
    loop: anyio.lowlevel.EventLoopToken

    def within(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something in the service's event loop."""
        anyio.from_thread.run(work, token=self.loop)

    @property
    def context(self) -> Context:
        return self.desk.context

    @property
    def live(self) -> Live:
        return self.desk.live


def row(instruction: str, *shown: str, model: str = "m") -> Candidate:
    lineage = Lineage(recipe="alpaca", demonstration_ids=shown, model=model)
    return Candidate.of(
        instruction, "", ROWS.get(instruction, "An answer of a few words."), lineage=lineage, requested_category="qa"
    )


def store(context: Context, *rows: Candidate, accepted: bool = True) -> None:
    for one in rows:
        reason = "" if accepted else "near_duplicate"
        verdict = Verdict(filter="rouge", accepted=accepted, reason=reason, score=0.5, threshold=0.7)
        decision = Decision(
            subject=Subject.CANDIDATE,
            subject_id=one.id,
            sequence=0,
            accepted=accepted,
            verdicts=(verdict,),
            decided_at=1.0,
        )
        context.pool.commit([Decided(one, decision)])


def fill(context: Context) -> None:
    """Give a workspace rows, a snapshot, a trained round and adapters, so that every route has something to show."""
    rows = [row(text, "seed-1", model="small") for text in ROWS]
    store(context, *rows[:4])
    store(context, *rows[4:], accepted=False)
    run = context.pool.trigger_early()
    assert run is not None
    snapshot = freeze_snapshot(context, run.round)
    run = run.model_copy(update={"snapshot_id": snapshot.id, "adapter_id": "round-0000", "state": RunState.SUCCEEDED})
    context.pool.update_run(run)
    write_json(adapter_folder(context, run) / "state.json", {"steps": 2})
    (adapter_folder(context, run) / "metrics.jsonl").write_text('{"step": 1, "loss": 1.5}\n{"step": 2, "loss": 1.25}\n')
    training_log(context, run).write_text("step 1\nstep 2\n")
    for number in range(2):
        name = f"round-{number:04d}"
        context.pool.add_adapter(
            Adapter(
                id=name,
                round=number,
                snapshot_id=snapshot.id,
                base="tiny",
                base_sha256="0" * 64,
                path=f"adapters/{name}/adapter",
                created_at=float(number),
            )
        )


@contextmanager
def running_service(folder: Path, *, hosts: Sequence[str] = (), is_generating: bool = True) -> Iterator[Running]:
    """Serve a new workspace with something in it while the block runs.

    Args:
        folder: Of the workspace to be made.
        hosts: Names it may be asked by.
        is_generating: Whether a decider holds the indexes, as while rows are generated.
    """
    create_workspace(folder, base_url="http://127.0.0.1:9/v1", model="none")
    workspace = open_workspace(folder)
    chosen = {
        "filters": FiltersConfig(contamination=ContaminationConfig(digests=False)),
        "pool": PoolConfig(first_target=1000, validation_share=0.25),
    }
    workspace = replace(workspace, config=workspace.config.model_copy(update=chosen))
    with writing(workspace) as context:
        fill(context)
        stop = Stop()
        live = Live(phase=Phase.GENERATING)
        live.control = Control(context.pool, context.events, stop)
        if is_generating:
            live.decider = DecisionThread(loaded_cascade(workspace, context.pool), context.pool)

        def status() -> Status:
            return read_status(workspace, context.pool, phase=live.phase, alarms=live.alarms.standing)

        feed = Feed(workspace.logs / "events.jsonl", lambda: status().model_dump_json())
        context.events.add(feed)
        desk = Desk(context, live, live.control, feed)
        app = build_app(status, lambda: "", Gate(TOKEN), context.pool, workspace.seeds, desk=desk, hosts=tuple(hosts))
        try:
            with _served(app, folder, feed) as (url, loop):
                yield Running(url, app, desk, stop, loop)
        finally:
            if live.decider is not None:
                live.decider.close()


@contextmanager
def _served(app: FastAPI, folder: Path, feed: Feed) -> Iterator[tuple[str, anyio.lowlevel.EventLoopToken]]:
    """Serve in a thread with an event loop of its own."""
    ready, urls = threading.Event(), list[str]()
    over: list[anyio.Event] = []

    async def serve() -> None:
        over.append(anyio.Event())
        async with serving(app, host="127.0.0.1", port=0, token=TOKEN, folder=folder) as access:
            loops.append(anyio.lowlevel.current_token())
            urls.append(access.url)
            ready.set()
            await over[0].wait()
            feed.close()

    loops: list[anyio.lowlevel.EventLoopToken] = []

    def run() -> None:
        try:
            anyio.run(serve)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="service")
    thread.start()
    ready.wait()
    assert urls, "the service did not start"
    try:
        yield urls[0], loops[0]
    finally:
        anyio.from_thread.run_sync(over[0].set, token=loops[0])
        thread.join()
