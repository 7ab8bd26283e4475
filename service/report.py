"""`seedbed report`: a pool's figures and rows as one page that needs nothing else, with its plots as PNGs beside it."""

import base64
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from seedbed import __version__
from seedbed.core.errors import InputError
from seedbed.core.files import write_atomic
from seedbed.core.records import Candidate, Cost, Record
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided
from seedbed.service.cost import cost_cells
from seedbed.service.figures import Figures, figures_of
from seedbed.service.plots import Plot, draw_plots
from seedbed.service.workspace import Workspace

TEMPLATE = Path(__file__).with_name("report.html.j2")
GENERATOR = "Seedbed"
DRAWN = 20
PARTS = (
    ("funnel", "Funnel"),
    ("categories", "Categories"),
    ("similarity", "Similarity"),
    ("verbs", "Verbs"),
    ("lengths", "Lengths"),
    ("costs", "Costs"),
    ("checks", "Checks"),
    ("selftest", "Decontamination"),
    ("sources", "Teacher and seeds"),
    ("accepted", "Accepted rows"),
    ("refused", "Refused rows"),
)


class DrawnRow(Record):
    """A row as a report shows it."""

    id: str
    instruction: str
    input: str
    output: str
    category: str
    recipe: str
    filter: str = ""
    """What refused it; empty where it was accepted."""
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    neighbour_id: str | None = None


class Report(Record):
    """All that a report says."""

    figures: Figures
    seed: int
    """Of the draw."""
    accepted: tuple[DrawnRow, ...]
    refused: tuple[DrawnRow, ...]


@dataclass(frozen=True, slots=True)
class _Card:
    heading: str
    texts: Sequence[tuple[str, str]]
    id: str
    note: str


def report_of(workspace: Workspace, pool: Pool, seed: int = 0) -> Report:
    """Measure a pool and draw rows of it; the same pool and seed give the same rows."""
    accepted, refused = (
        tuple(_drawn(one) for one in pool.sample_decided(DRAWN, rng=Random(seed), accepted=kind))
        for kind in (True, False)
    )
    return Report(figures=figures_of(workspace, pool), seed=seed, accepted=accepted, refused=refused)


def write_report(report: Report, path: Path) -> list[Path]:
    """Write the page, and its plots as `NAME-PLOT.png` beside it; returns the files, the page first.

    An earlier report is replaced.

    Raises:
        InputError: `path` is a file that is no report.
    """
    if path.exists() and f'content="{GENERATOR} '.encode() not in _beginning(path):
        raise InputError(f"{path} exists and is no report of Seedbed's; name another file with --out")
    plots = draw_plots(report.figures)
    files = [path]
    for plot in plots:
        files.append(beside := path.with_name(f"{path.stem}-{plot.name}.png"))
        write_atomic(beside, plot.png)
    write_atomic(path, page_of(report, plots))
    return files


def page_of(report: Report, plots: Sequence[Plot]) -> str:
    """Return the page. Whatever a model wrote is escaped, and the page may run no script and fetch nothing."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["shown"] = visible
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        generator=f"{GENERATOR} {__version__}",
        figures=report.figures,
        seed=report.seed,
        parts=PARTS,
        charts={plot.name: {"title": plot.title, "source": _as_url(plot.svg)} for plot in plots},
        accepted=[_card(one) for one in report.accepted],
        refused=[_card(one) for one in report.refused],
        **_tables(report.figures),
    )


def visible(text: str) -> str:
    """Return text without characters that hide or turn round what stands beside them: each shows as its number."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"} else f"\\u{ord(char):04x}"
        for char in text
    )


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(1000)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _as_url(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _drawn(one: Decided) -> DrawnRow:
    row, verdict = one.subject, one.decision.deciding
    assert isinstance(row, Candidate)
    told = (
        {}
        if verdict is None
        else verdict.model_dump(include={"filter", "reason", "score", "threshold", "neighbour_id"})
    )
    if verdict is None and not one.decision.accepted:
        told = {"filter": str(one.decision.by), "reason": one.decision.note}
    return DrawnRow(
        id=row.id,
        instruction=row.instruction,
        input=row.input,
        output=row.output,
        category=row.category or row.requested_category,
        recipe=row.lineage.recipe,
        **told,
    )


def _card(row: DrawnRow) -> _Card:
    texts = [("instruction", row.instruction), ("input", row.input), ("output", row.output)]
    why = f"{row.filter}: {row.reason.replace('_', ' ')}" if row.filter else row.category
    notes = [row.category] if row.filter else []
    notes.append(row.recipe)
    if row.score is not None:
        notes.append(f"measured {row.score:.2f}{'' if row.threshold is None else f' against {row.threshold:g}'}")
    if row.neighbour_id:
        notes.append(f"nearest {row.neighbour_id[:16]}")
    return _Card(why, [(name, text) for name, text in texts if text], row.id[:12], " · ".join(notes))


def _tables(figures: Figures) -> dict[str, Any]:
    funnel, spread, spent = figures.funnel, figures.spread, figures.spent
    stages = [
        (one.filter, reason.replace("_", " "), f"{rows:,}", f"{rows / one.came:.1%}" if one.came else "")
        for one in funnel.stages
        for reason, rows in one.reasons.items()
    ]
    accepted = f"{funnel.accepted:,}"
    return {
        "made": f"{datetime.fromtimestamp(figures.made_at, UTC):%Y-%m-%d %H:%M} UTC",
        "facts": [
            ("candidates", f"{funnel.decided:,}"),
            ("accepted", f"{accepted} ({funnel.accepted / funnel.decided:.0%})" if funnel.decided else accepted),
            ("answers", f"{spent.requests:,}"),
            ("tokens", f"{spent.prompt_tokens + spent.completion_tokens:,}"),
            *([("cost", f"{spent.cost:,.4f}")] if spent.cost else []),
        ],
        "funnel": [*stages, ("accepted", "", accepted, "")],
        "unreadable": [(name.replace("_", " "), f"{rows:,}") for name, rows in funnel.unreadable.items()],
        "proposals": [(name.replace("_", " "), f"{rows:,}") for name, rows in funnel.proposals_refused.items()],
        "categories": [
            (
                one.category or "(none)",
                f"{one.accepted:,}",
                f"{one.decided:,}",
                f"{one.share:.1%}",
                "" if one.target is None else f"{one.target:.1%}",
            )
            for one in spread.categories
            if one.decided or one.target
        ],
        "similarity": list(_similarity(figures)),
        "diversity": list(_diversity(figures)),
        "verbs": [
            (verb, ", ".join(f"{noun} {count}" for noun, count in nouns.items()))
            for verb, nouns in (figures.diversity.verb_nouns if figures.diversity else {}).items()
        ],
        "lengths": [
            (name, f"{edge:g}", f"{count:,}")
            for name, found in spread.lengths.items()
            for edge, count in zip(found.edges, found.counts, strict=True)
            if count
        ],
        "costs": [_cost(name, one) for name, one in figures.costs_by_category.items()],
        "recipes": [_cost(name, one) for name, one in figures.costs_by_recipe.items()],
        "checks": [
            (name, f"{one.rows:,}", f"{one.wrong:,}", f"{one.share_wrong:.0%}") for name, one in figures.checks.items()
        ],
        "selftest_of": "a reference made of seed tasks"
        if figures.selftest["is_synthetic"]
        else ", ".join(figures.selftest["references"]),
        "selftest": [
            (
                one["reference"],
                one["canary"],
                one["planted"],
                one["found"],
                f"{one['found'] / one['planted']:.3f}" if one["planted"] else "",
            )
            for one in figures.selftest["recalls"]
        ],
        "teachers": [
            (one.model, one.endpoint, one.licence, one.terms or "not given", f"{one.requests:,}")
            for one in figures.teachers
        ],
    }


def _cost(name: str, one: Cost) -> tuple[str, ...]:
    return (name or "(none)", f"{one.accepted:,}", f"{one.requests:,}", *cost_cells(one))


def _similarity(figures: Figures) -> Iterator[tuple[str, ...]]:
    found = figures.spread.similarity
    yield "none near", f"{found.far:,}", ""
    for edge, accepted, refused in zip(found.accepted.edges, found.accepted.counts, found.refused.counts, strict=True):
        if accepted or refused:
            yield f"{edge:.2f}", f"{accepted:,}", f"{refused:,}"


def _diversity(figures: Figures) -> Iterator[tuple[str, str]]:
    found = figures.diversity
    if found is None:
        return
    yield "accepted rows drawn", f"{found.rows:,}"
    yield "category entropy, bits", f"{found.category_entropy:.2f}"
    yield "different words of all in instructions", f"{found.distinct_1:.2f}"
    yield "different word pairs of all", f"{found.distinct_2:.2f}"
    yield "share that begins with the commonest word", f"{found.leading_share:.0%}"
    yield "lineage depth, mean and most", f"{found.mean_depth:.1f}, {found.max_depth}"
