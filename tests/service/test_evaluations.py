"""Evaluations that a person asks a running service for: done while nothing is generated, stored until they are done."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from seedbed.core.files import write_json
from seedbed.core.records import Adapter
from seedbed.core.reports import EvalReport, PromotionDecision
from seedbed.pool.records import Intent, IntentState
from seedbed.service.context import Context, writing
from seedbed.service.control import Control
from seedbed.service.evaluations import ask_for, asked_for, whole_report
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.rounds import Rounds
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace

Steps = Callable[[Context, Live, Control], Awaitable[None]]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="m")
    with writing(open_workspace(tmp_path / "w")) as opened:
        for number in range(2):
            name = f"round-{number:04d}"
            opened.pool.add_adapter(
                Adapter(
                    id=name,
                    round=number,
                    snapshot_id="s",
                    base="b",
                    base_sha256="0" * 64,
                    path=f"adapters/{name}/adapter",
                    created_at=float(number),
                )
            )
        yield opened


def evaluated(context: Context, adapter: str) -> EvalReport:
    """Leave what an evaluation's process leaves."""
    report = EvalReport(
        adapter_id=adapter,
        snapshot_id="s",
        base_sha256="0" * 64,
        held_out_categories=("qa",),
        scores=(),
        differences=(),
        decision=PromotionDecision.HOLD_UNDECIDED,
        reason="not enough rows to tell",
        created_at=5.0,
    )
    write_json(context.workspace.reports / adapter / "report.json", report.model_dump(mode="json"))
    return report


def while_paused(context: Context, steps: Steps, state: IntentState = IntentState.PAUSED) -> None:
    """Run the lifecycle of a service that is not to generate, and `steps` beside it."""
    context.pool.set_intent(Intent(state=state))

    async def run() -> None:
        stop, live = Stop(), Live()
        live.control = Control(context.pool, context.events, stop)
        async with anyio.create_task_group() as group:
            group.start_soon(Rounds(context, stop, live).run)
            await steps(context, live, live.control)
            stop.request()

    anyio.run(run)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - the pool has no event for it
        await anyio.sleep(0.01)


def test_what_is_asked_for_is_done_in_that_order_and_what_is_done_is_asked_for_no_more(context: Context) -> None:
    told: list[str] = []
    context.events.add(lambda event: told.append(f"{event.kind} {event.fields.get('adapter', '')}"))
    reports = {name: evaluated(context, name) for name in ("round-0000", "round-0001")}
    ask_for(context.pool, "round-0001", lambda: 1.0)
    ask_for(context.pool, "round-0000", lambda: 2.0)
    assert asked_for(context.pool) == ["round-0001", "round-0000"]

    async def steps(context: Context, _: Live, __: Control) -> None:
        await until(lambda: not asked_for(context.pool))

    while_paused(context, steps)
    assert {one.adapter_id: one for one in context.pool.reports()} == reports
    assert whole_report(context, "round-0000") == reports["round-0000"]
    ended = [one for one in told if one.startswith("evaluation.ended")]
    assert ended == ["evaluation.ended round-0001", "evaluation.ended round-0000"]


def test_it_begins_when_it_is_asked_for_and_not_at_the_next_change(context: Context) -> None:
    evaluated(context, "round-0000")

    async def steps(context: Context, live: Live, control: Control) -> None:
        await until(lambda: live.phase.value == "paused")
        ask_for(context.pool, "round-0000")
        control.look_again()
        await until(lambda: not asked_for(context.pool))

    while_paused(context, steps)
    assert whole_report(context, "round-0000") is not None


def test_one_that_fails_stands_as_an_alarm_until_one_succeeds_and_is_not_tried_again_by_itself(
    context: Context,
) -> None:
    async def steps(context: Context, live: Live, control: Control) -> None:
        ask_for(context.pool, "round-0000")
        control.look_again()
        await until(lambda: bool(live.alarms.standing))
        (said,) = live.alarms.standing
        assert "adapter round-0000 could not be evaluated" in said
        assert "is no adapter folder" in said  # the last lines of the evaluation's own log
        await until(lambda: not asked_for(context.pool))
        evaluated(context, "round-0001")
        ask_for(context.pool, "round-0001")
        control.look_again()
        await until(lambda: not asked_for(context.pool))
        assert live.alarms.standing == ()

    while_paused(context, steps)


def test_a_service_that_drains_begins_none_and_keeps_it_for_later(context: Context) -> None:
    evaluated(context, "round-0000")
    ask_for(context.pool, "round-0000")

    async def drained(_: Context, live: Live, __: Control) -> None:
        await until(lambda: live.phase.value == "paused")

    while_paused(context, drained, IntentState.DRAINING)
    assert asked_for(context.pool) == ["round-0000"]
    assert context.pool.reports() == []
