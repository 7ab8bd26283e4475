"""What becomes of an evaluated adapter: promoted or held, rolled back, and published for whoever loads it."""

from collections.abc import Sequence

from seedbed.core.errors import InputError
from seedbed.core.records import Adapter, Promotion, ServingState
from seedbed.core.reports import EvalReport, PromotionDecision
from seedbed.service.context import Context
from seedbed.service.in_service import Published, read_in_service, write_in_service


def apply_decision(context: Context, adapter: Adapter, report: EvalReport) -> Adapter:
    """Promote or hold, as the report decided; an adapter that was decided on stays as it is.

    One that became tainted after its evaluation is held, whatever the report says.
    """
    if adapter.promotion != Promotion.PENDING:
        return adapter
    if report.decision == PromotionDecision.PROMOTE and not adapter.is_tainted:
        return promote(context, adapter, report.reason)
    decision = PromotionDecision.HOLD_TAINTED if adapter.is_tainted else report.decision
    reason = "tainted: it was trained on benchmark text" if adapter.is_tainted else report.reason
    held = adapter.model_copy(update={"promotion": Promotion.HELD, "reason": reason})
    context.pool.update_adapter(held)
    context.events.emit("adapter.held", adapter=adapter.id, decision=str(decision), reason=reason)
    return held


def promote(context: Context, adapter: Adapter, reason: str) -> Adapter:
    """Put an adapter into service: it becomes the one that `adapters/in-service.json` names.

    The one in service is that of the latest promoted round, so those of later rounds are rolled back.

    Raises:
        InputError: The adapter was trained on a row that overlaps a benchmark.
    """
    if adapter.is_tainted:
        raise InputError(f"adapter {adapter.id} is tainted: it was trained on benchmark text; train a new one")
    for newer in context.pool.adapters():
        if newer.promotion == Promotion.PROMOTED and newer.round > adapter.round:
            update = {"promotion": Promotion.ROLLED_BACK, "reason": f"{adapter.id} was promoted in its place"}
            context.pool.update_adapter(newer.model_copy(update=update))
    chosen = adapter.model_copy(update={"promotion": Promotion.PROMOTED, "reason": reason})
    context.pool.update_adapter(chosen)
    publish(context)
    context.events.emit("adapter.promoted", adapter=adapter.id, reason=reason)
    return chosen


def roll_back(context: Context, reason: str) -> Adapter | None:
    """Take the adapter in service out; the one promoted before it takes its place. Returns that one, if any.

    Raises:
        InputError: No adapter is in service.
    """
    current = in_service(context.pool.adapters())
    if current is None:
        raise InputError("no adapter is in service, so there is nothing to roll back")
    context.pool.update_adapter(current.model_copy(update={"promotion": Promotion.ROLLED_BACK, "reason": reason}))
    publish(context)
    context.events.emit("adapter.rolled_back", adapter=current.id, reason=reason)
    return in_service(context.pool.adapters())


def in_service(adapters: Sequence[Adapter]) -> Adapter | None:
    """Return the latest promoted adapter."""
    return next(iter(promoted(adapters)), None)


def promoted(adapters: Sequence[Adapter]) -> list[Adapter]:
    """Return the promoted adapters, the one in service first, then those that a rollback would bring, in order."""
    found = [adapter for adapter in adapters if adapter.promotion == Promotion.PROMOTED]
    return sorted(found, key=lambda adapter: -adapter.round)


def publish(context: Context) -> None:
    """Write which adapter is in service to a file beside the adapters, for whoever loads them.

    Every look at the serving endpoint does so again: a process may have died between the pool's write and this one.
    """
    current = in_service(context.pool.adapters())
    named = None if current is None else Published(adapter=current.id, path=current.path, base=current.base)
    record = read_in_service(context.workspace)
    if named == record.in_service:
        return
    state = ServingState.WAITING if named else ServingState.BASE
    update = {"state": state, "reason": "it has not been looked at yet" if named else ""}
    serving = record.serving.model_copy(update=update)
    write_in_service(context.workspace, record.model_copy(update={"in_service": named, "serving": serving}))
