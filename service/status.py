"""What is going on, from what is stored and what the running process knows."""

from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.core.diversity import Diversity, Reaction
from seedbed.core.records import (
    CHECK_PREFIX,
    Adapter,
    Checked,
    Phase,
    Promotion,
    Serving,
    ServingState,
    Status,
    TrainingRun,
)
from seedbed.pool.pool import Pool
from seedbed.pool.records import PoolCounts
from seedbed.service.cost import cost_of, costs_by_category, costs_by_recipe
from seedbed.service.crew import nodes_of
from seedbed.service.disk import disk_use
from seedbed.service.diversity import written_lately
from seedbed.service.in_service import read_in_service, sentence_of
from seedbed.service.promotion import in_service
from seedbed.service.workspace import Workspace


def read_status(
    workspace: Workspace,
    pool: Pool,
    *,
    phase: Phase | None = None,
    endpoints: Mapping[str, Mapping[str, Any]] = {},
    alarms: Sequence[str] = (),
    diversity: Diversity | None = None,
    reactions: Sequence[Reaction] = (),
    disk: Mapping[str, int] | None = None,
) -> Status:
    """Gather the status.

    `phase`, `endpoints`, `alarms` and `reactions` are known to a running process only; without them it is stopped, and
    the alarms are those that follow from what is stored. `diversity` and `disk` are measured where the process has not.
    """
    counts, spent = pool.counts(), pool.spent()
    adapters, runs = pool.adapters(), pool.runs()
    current = in_service(adapters)
    serving = read_in_service(workspace).serving
    round_now = len([run for run in runs if run.adapter_id])
    return Status(
        phase=phase or Phase.STOPPED,
        accepted=counts.accepted,
        target=pool.threshold(round_now),
        round=round_now,
        decided=counts.decided,
        refused=dict(counts.refused),
        categories=dict(counts.categories),
        requests_in_flight=counts.unanswered if phase else 0,
        requests_answered=spent.requests,
        requests_failed=counts.failed,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        cost=cost_of(workspace.config, spent),
        costs={
            "categories": costs_by_category(workspace.config, spent, counts),
            "recipes": costs_by_recipe(workspace.config, spent, counts),
        },
        checks=checks_of(counts),
        adapter_in_service=current.id if current else "",
        serving=serving,
        alarms=(*alarms, *_failed(runs), *_tainted(adapters, current), *(_refused(serving) if phase is None else ())),
        disk=dict(disk_use(workspace) if disk is None else disk),
        diversity=diversity or written_lately(pool, workspace.config.diversity),
        reactions=tuple(reactions),
        endpoints={name: dict(state) for name, state in endpoints.items()},
        nodes=nodes_of(pool),
    )


def checks_of(counts: PoolCounts) -> dict[str, Checked]:
    """Return what each check found among the rows that it could tell of."""
    return {
        name.removeprefix(CHECK_PREFIX): Checked(
            rows=rows,
            wrong=(wrong := counts.checked_wrong.get(name, 0)),
            share_wrong=wrong / rows,
        )
        for name, rows in counts.checked.items()
    }


def _failed(runs: Sequence[TrainingRun]) -> list[str]:
    told = {run.round: run.last_error.splitlines()[0].removesuffix(" ends with:") for run in runs if run.last_error}
    return [f"round {number}: {error}" for number, error in told.items()]


def _refused(serving: Serving) -> list[str]:
    """Tell of a refusal that no running process tells of."""
    return [sentence_of(serving)] if serving.state is ServingState.REFUSED else []


def _tainted(adapters: Sequence[Adapter], current: Adapter | None) -> list[str]:
    """Name the adapters that were rolled back as tainted and that no newer one has replaced since."""
    since = -1 if current is None else current.round
    taken = [one for one in adapters if one.is_tainted and one.promotion is Promotion.ROLLED_BACK and one.round > since]
    return [f"adapter {one.id} was taken out of service: it was trained on benchmark text" for one in taken]
