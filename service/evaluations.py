"""Evaluations that a person asks a running service for: stored until done, and done while nothing is generated."""

import time
from collections.abc import Callable

from seedbed.core.errors import EvaluationError, GpuLeaseError
from seedbed.core.records import Adapter, Phase
from seedbed.core.reports import EvalReport
from seedbed.pool.pool import Pool
from seedbed.service.comparing import compare_answers
from seedbed.service.context import Context
from seedbed.service.evaluating import evaluate, report_folder
from seedbed.service.keeper import Keeper
from seedbed.service.live import Live, evaluation_gauge
from seedbed.service.stopping import Stop

ALARM = "evaluation"
PREFIX = "evaluate/"


def ask_for(pool: Pool, adapter_id: str, now: Callable[[], float] = time.time) -> None:
    """Store that an adapter is to be evaluated."""
    pool.note(f"{PREFIX}{adapter_id}", f"{now():.6f}")


def asked_for(pool: Pool) -> list[str]:
    """Return the adapters that are to be evaluated, in the order in which that was asked."""
    notes = pool.notes(PREFIX)
    return [name.removeprefix(PREFIX) for name in sorted(notes, key=lambda name: float(notes[name]))]


def whole_report(context: Context, adapter_id: str) -> EvalReport | None:
    """Return an adapter's report where nothing is left to evaluate or to judge."""
    for report in context.pool.reports():
        if report.adapter_id == adapter_id:
            is_judged = report.preference is not None or not context.workspace.config.evaluation.judge_answers
            return report if is_judged else None
    return None


async def evaluate_asked_for(context: Context, keeper: Keeper, live: Live, stop: Stop) -> None:
    """Do the evaluations that were asked for; one that fails stands as an alarm, and is done when asked for again."""
    for name in asked_for(context.pool):
        if stop.is_wanted:
            return
        adapter = next(one for one in context.pool.adapters() if one.id == name)
        try:
            report = await evaluate_whole(context, adapter, keeper, live, stop)
        except (EvaluationError, GpuLeaseError) as error:
            live.alarms.set(ALARM, f"adapter {name} could not be evaluated: {error}")
        else:
            if report is None:
                return
            live.alarms.set(ALARM, "")
        context.pool.forget([f"{PREFIX}{name}"])


async def evaluate_whole(
    context: Context, adapter: Adapter, keeper: Keeper, live: Live, stop: Stop
) -> EvalReport | None:
    """Evaluate an adapter and let the judge compare, where one is to; None where a stop came first.

    Raises:
        EvaluationError: The evaluation failed.
        GpuLeaseError: A server that shares the GPU would not sleep.
    """
    live.phase, live.gauge = Phase.EVALUATING, evaluation_gauge(report_folder(context, adapter))
    async with keeper.gpu():
        report = await evaluate(context, adapter, stop)
    return None if report is None else await compare_answers(context, adapter, report, stop, live)
