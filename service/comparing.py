"""After an evaluation the judge compares the adapter's answers with the base's, if `evaluation.judge_answers` is on."""

from collections.abc import Sequence

import anyio

from seedbed.core.errors import SeedbedError
from seedbed.core.files import BadLine, read_json_lines, write_atomic, write_json
from seedbed.core.records import Adapter
from seedbed.core.reports import EvalReport
from seedbed.evaluation.answers import AnswerLine
from seedbed.evaluation.comparing import Compared, Comparer, Pair, pairs_of
from seedbed.evaluation.preference import preference
from seedbed.evaluation.report import append_preference
from seedbed.evaluation.spec import read_spec
from seedbed.generator.plan import ordered_id
from seedbed.service.console import Figures
from seedbed.service.context import Context
from seedbed.service.evaluating import report_folder
from seedbed.service.ledger import PoolLedger
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.teachers import opened_fleet

PREFERENCES = "preferences.jsonl"


async def compare_answers(context: Context, adapter: Adapter, report: EvalReport, stop: Stop, live: Live) -> EvalReport:
    """Let the judge compare the answers of an evaluation, and put what it prefers into the report.

    Servers that slept are awake again by now. What the judge cannot do is told and leaves the report as it is: the
    decision does not hang on it.

    Returns:
        The report, unchanged where no judge is wanted, it was asked before, it failed, or a stop came first.
    """
    config = context.workspace.config
    if not config.evaluation.judge_answers or report.preference is not None or stop.is_wanted:
        return report
    pairs = _pairs(context, adapter)
    if not pairs:
        return report
    model = config.endpoint(config.judge).model
    context.events.emit("evaluation.judging", adapter=adapter.id, judge=model, rows=len(pairs))
    try:
        rows = await _compared(context, pairs, stop, live)
    except SeedbedError as error:
        context.events.emit("evaluation.unjudged", adapter=adapter.id, reason=str(error))
        return report
    if rows is None:
        return report
    found = preference(model, rows, draws=config.evaluation.bootstrap_draws, seed=config.training.seed)
    if not found.n:
        reason = f"not one of {len(rows)} comparisons could be read; answers that are no choice are kept in the pool"
        context.events.emit("evaluation.unjudged", adapter=adapter.id, reason=reason)
        return report
    return _stored(context, adapter, report.model_copy(update={"preference": found}), rows)


async def _compared(context: Context, pairs: Sequence[Pair], stop: Stop, live: Live) -> list[Compared] | None:
    """Ask the judge; None where a stop came first."""
    config, done = context.workspace.config, 0

    def show(count: int) -> None:
        nonlocal done
        done = count

    live.gauge = lambda: Figures("judging", done, len(pairs), "rows")
    rows = None
    with anyio.CancelScope() as scope:
        take_back = stop.add(scope.cancel)
        try:
            async with opened_fleet(context, [config.endpoint(config.judge)]) as fleet:
                rows = await Comparer(
                    fleet.ask,
                    context.prompts,
                    ordered_id,
                    use_json_schema=(await fleet.capabilities()).json_schema,
                    books=PoolLedger(context.pool),
                ).compared(pairs, show)
        finally:
            take_back()
            live.gauge = lambda: None
    return rows


def _pairs(context: Context, adapter: Adapter) -> list[Pair]:
    folder = report_folder(context, adapter)
    lines = [
        AnswerLine.model_validate(line.value)
        for line in read_json_lines(folder / "answers.jsonl")
        if not isinstance(line, BadLine)
    ]
    tasks = read_spec(folder / "spec.json").tasks
    return pairs_of(lines, [(task.id, task.task, task.category) for task in tasks])


def _stored(context: Context, adapter: Adapter, report: EvalReport, rows: Sequence[Compared]) -> EvalReport:
    folder = report_folder(context, adapter)
    write_atomic(folder / PREFERENCES, b"".join(row.model_dump_json().encode() + b"\n" for row in rows))
    append_preference(folder / "report.md", report)
    write_json(folder / "report.json", report.model_dump(mode="json"))
    context.pool.add_report(report)
    if (found := report.preference) is not None:
        context.events.emit(
            "evaluation.judged",
            adapter=adapter.id,
            rows=found.n,
            wins=found.wins,
            losses=found.losses,
            share=found.share,
        )
    return report
