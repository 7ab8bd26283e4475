"""Target shares: the operator's, moved by what each evaluation says, every change with its reason in the pool."""

from seedbed.core.config import GenerationConfig
from seedbed.core.reports import EvalReport
from seedbed.generator.shares import moved_shares
from seedbed.pool.pool import Pool
from seedbed.service.context import Context
from seedbed.service.workspace import Workspace

_BY_EVALUATION = "evaluation of "
_BASE = "base: "


def target_shares(workspace: Workspace, pool: Pool) -> dict[str, float]:
    """Return the share of each trained category as it holds now: the latest in the pool, else the category file's."""
    base = workspace.categories.shares()
    return {**base, **{name: share for name, share in pool.shares().items() if name in base}}


def note_base(workspace: Workspace, pool: Pool) -> None:
    """Store the shares of the category file where it says others than when it was stored last."""
    known = {one.category: one.share for one in pool.share_history() if one.reason.startswith(_BASE)}
    changed = {name: share for name, share in workspace.categories.shares().items() if known.get(name) != share}
    if changed:
        pool.set_shares(changed, f"{_BASE}{workspace.config.seeds.categories}")


def wanted_shares(workspace: Workspace, pool: Pool) -> dict[str, float]:
    """Return what the operator wants, which evaluations move from: the category file's, or what was set since."""
    base = workspace.categories.shares()
    set_by_hand = [one for one in pool.share_history() if not one.reason.startswith(_BY_EVALUATION)]
    return {**base, **{one.category: one.share for one in set_by_hand if one.category in base}}


def follow_scores(context: Context, report: EvalReport) -> bool:
    """Store the shares that a report moves; False where it moves none, or has moved them before."""
    workspace, pool = context.workspace, context.pool
    settings = workspace.config.generation
    mark = f"{_BY_EVALUATION}{report.adapter_id}: "
    if settings.share_move <= 1 or not report.trained_scores:
        return False
    if any(one.reason.startswith(mark) for one in pool.share_history()):
        return False
    scores = [one for one in report.trained_scores if one.arm == "adapter"]
    base = wanted_shares(workspace, pool)
    moves = moved_shares(base, scores, most=settings.share_move, fixed=_held_small(settings))
    pool.set_shares({one.category: one.share for one in moves}, {one.category: mark + one.reason for one in moves})
    context.events.emit("shares.moved", adapter=report.adapter_id, shares={one.category: one.share for one in moves})
    return True


def _held_small(settings: GenerationConfig) -> tuple[str, ...]:
    """Name the categories whose share the field found right at a few percent, whatever they score."""
    return (*settings.refusal.categories, *settings.unanswerable.categories)
