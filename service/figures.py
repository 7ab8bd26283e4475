"""The figures of a pool, for its report and its data set's card: what came in, what was refused, what it is worth."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seedbed import __version__
from seedbed.core.config import EndpointConfig
from seedbed.core.diversity import Diversity
from seedbed.core.files import sha256_of
from seedbed.core.load import fingerprint
from seedbed.core.records import Checked, Cost, Record, Spent
from seedbed.pool.pool import Pool
from seedbed.seeds.load import PACKAGED_TASKS
from seedbed.service.cost import cost_of, costs_by_category, costs_by_recipe
from seedbed.service.decontamination import selftest_of
from seedbed.service.diversity import kept_rows
from seedbed.service.funnel import Funnel, funnel_of
from seedbed.service.spread import Spread, spread_of
from seedbed.service.status import checks_of
from seedbed.service.workspace import Workspace
from seedbed.weights.catalogue import packaged_catalogue

UNKNOWN_LICENCE = "unknown, ask your provider"
OWN_SEEDS = "written by hand for Seedbed, under its licence (Apache-2.0)"
BROUGHT_SEEDS = "brought by the owner of the workspace; whose they are, only that person can say"


class TeacherNote(Record):
    """A model that wrote rows, and what may be done with them."""

    endpoint: str
    model: str
    licence: str
    terms: str
    requests: int
    """Answered by it so far."""


class SeedsNote(Record):
    """Where the seed tasks came from."""

    file: str
    sha256: str
    tasks: int
    categories: dict[str, int]
    held_out: tuple[str, ...]
    provenance: str


class Figures(Record):
    """What is known of a pool in numbers."""

    seedbed_version: str
    made_at: float
    """Seconds since 1970."""
    workspace: str
    """The folder's name, no more of its path."""
    config_fingerprint: str
    teachers: tuple[TeacherNote, ...]
    seeds: SeedsNote
    funnel: Funnel
    spread: Spread
    diversity: Diversity | None
    """Of accepted rows drawn at random; None where there are none."""
    recipes: dict[str, int]
    spent: Spent
    costs_by_category: dict[str, Cost]
    costs_by_recipe: dict[str, Cost]
    checks: dict[str, Checked]
    selftest: dict[str, Any]
    """As `seedbed contamination selftest --json` gives it."""


def figures_of(workspace: Workspace, pool: Pool, now: Callable[[], float] = time.time) -> Figures:
    """Measure a pool; it may be written meanwhile."""
    config, counts, spent = workspace.config, pool.counts(), pool.spent()
    return Figures(
        seedbed_version=__version__,
        made_at=now(),
        workspace=workspace.folder.resolve().name,
        config_fingerprint=fingerprint(config),
        teachers=teachers_of(workspace, pool),
        seeds=seeds_of(workspace),
        funnel=funnel_of(counts),
        spread=spread_of(pool, workspace.categories.shares(), config.generation),
        diversity=kept_rows(pool),
        recipes=dict(counts.recipes),
        spent=Spent(
            requests=spent.requests,
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            cost=cost_of(config, spent),
        ),
        costs_by_category=costs_by_category(config, spent, counts),
        costs_by_recipe=costs_by_recipe(config, spent, counts),
        checks=checks_of(counts),
        selftest=selftest_of(workspace),
    )


def teachers_of(workspace: Workspace, pool: Pool) -> tuple[TeacherNote, ...]:
    """Name the teachers of the config, and after them every other endpoint that answered in this pool."""
    configured, used = {one.name: one for one in workspace.config.endpoints}, pool.spent().endpoints
    names = [*workspace.config.teachers, *sorted(set(used) - set(workspace.config.teachers))]
    return tuple(_note(name, configured.get(name), used[name].requests if name in used else 0) for name in names)


def _note(name: str, endpoint: EndpointConfig | None, requests: int) -> TeacherNote:
    if endpoint is None:
        return TeacherNote(
            endpoint=name, model="no longer in the settings", licence=UNKNOWN_LICENCE, terms="", requests=requests
        )
    known = packaged_catalogue().find(endpoint.weights or endpoint.model)
    return TeacherNote(
        endpoint=name,
        model=known.title if known else endpoint.model,
        licence=endpoint.licence or (known.licence if known else UNKNOWN_LICENCE),
        terms=endpoint.terms or (known.licence_url if known else ""),
        requests=requests,
    )


def seeds_of(workspace: Workspace) -> SeedsNote:
    """Say where a workspace's seed tasks came from."""
    path: Path = workspace.folder / workspace.config.seeds.tasks
    digest = sha256_of(path)
    return SeedsNote(
        file=workspace.config.seeds.tasks,
        sha256=digest,
        tasks=len(workspace.seeds),
        categories=dict(sorted(Counter(seed.category for seed in workspace.seeds).items())),
        held_out=workspace.held_out,
        provenance=OWN_SEEDS if digest == sha256_of(PACKAGED_TASKS) else BROUGHT_SEEDS,
    )
