"""The evaluation phase: base against adapter on held-out tasks, in a process of its own."""

from pathlib import Path

from seedbed.core.errors import EvaluationError
from seedbed.core.files import read_json, write_json
from seedbed.core.records import Adapter
from seedbed.core.reports import EvalReport
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.evaluation.tasks import held_out_tasks, safety_tasks
from seedbed.service.children import run_module
from seedbed.service.context import Context
from seedbed.service.stopping import Stop
from seedbed.weights.resolve import cache_folder


def report_folder(context: Context, adapter: Adapter) -> Path:
    """Return where an adapter's evaluation writes."""
    return context.workspace.reports / adapter.id


async def evaluate(context: Context, adapter: Adapter, stop: Stop) -> EvalReport | None:
    """Evaluate an adapter, or go on with an evaluation that was cut off.

    Returns:
        The report, or None where a stop came first.

    Raises:
        EvaluationError: The evaluation failed; the message has its exit code and its log's tail.
    """
    out = report_folder(context, adapter)
    if not (out / "report.json").exists():
        context.events.emit("evaluation.started", adapter=adapter.id)
        write_json(out / "spec.json", specification(context, adapter).model_dump(mode="json"))
        log = context.workspace.logs / f"evaluation-{adapter.id}.log"
        arguments = [str(out / "spec.json"), str(out)]
        silence = context.workspace.config.evaluation.hung_after_s
        ended = await run_module("seedbed.evaluation", arguments, log=log, stop=stop, out=out, hung_after_s=silence)
        is_whole = (out / "report.json").exists()
        if ended.was_stopped and not is_whole:
            context.events.emit("evaluation.interrupted", adapter=adapter.id)
            return None
        if not is_whole:
            message = ended.told("the evaluation", "evaluation.hung_after_s")
            context.events.emit("evaluation.failed", adapter=adapter.id, error=message)
            raise EvaluationError(message)
    report = EvalReport.model_validate(read_json(out / "report.json"))
    context.pool.add_report(report)
    context.events.emit("evaluation.ended", adapter=adapter.id, decision=str(report.decision), reason=report.reason)
    return report


def specification(context: Context, adapter: Adapter) -> EvaluationSpec:
    """Say what is compared with what: held-out seeds and the user's sets, never a row of a trained category."""
    workspace = context.workspace
    config = workspace.config
    return EvaluationSpec(
        adapter_id=adapter.id,
        adapter=(workspace.folder / adapter.path).resolve(),
        snapshot=(workspace.snapshots / adapter.snapshot_id).resolve(),
        student=config.student,
        tasks=held_out_tasks(
            workspace.seeds, workspace.held_out, workspace.evaluation_sets(), config.evaluation.max_rows_per_task
        ),
        safety=safety_tasks(workspace.seeds),
        held_out_categories=workspace.held_out,
        training=config.training,
        evaluation=config.evaluation,
        is_tainted=adapter.is_tainted,
        with_unseen_form=config.evaluation.unseen_form,
        prompts=workspace.prompts.resolve(),
        cache=cache_folder(),
        accept_licence=config.accept_licence,
    )
