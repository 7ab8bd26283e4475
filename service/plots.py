"""The plots of a report, where matplotlib is installed: as PNG files, and as SVG that follows light and dark."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from seedbed.service.figures import Figures
from seedbed.service.spread import Histogram

REASONS_NAMED = 3


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by what they are for."""

    ink: str
    dim: str
    line: str
    first: str
    second: str
    paper: str


LIGHT = Palette("#1c2321", "#4d5a55", "#c9d4ce", "#17663c", "#b4600f", "#ffffff")
DARK = Palette("#e8ecea", "#a9b6b0", "#3a4742", "#6fd39a", "#f0b36b", "#141917")
# Colours that no plot uses otherwise, to be replaced by CSS variables in the SVG.
MARKS = Palette("#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f", "#101112")

Draw = Callable[[Figures, Palette], Any]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot, drawn."""

    name: str
    title: str
    png: bytes
    svg: str


def can_plot() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw_plots(figures: Figures) -> list[Plot]:
    """Draw every plot that there is something to show in; none where matplotlib is not installed."""
    if not can_plot():
        return []
    plots = []
    with _plain_text():
        for name, (title, draw) in PLOTS.items():
            figure = draw(figures, LIGHT)
            if figure is not None:
                marked = draw(figures, MARKS)
                plots.append(Plot(name, title, _bytes(figure, "png"), _adaptive(_bytes(marked, "svg").decode())))
    return plots


def _funnel(figures: Figures, colours: Palette) -> Any:
    stages = [one for one in figures.funnel.stages if one.refused]
    if not figures.funnel.decided:
        return None
    figure, axes = _axes(colours, len(stages) + 1)
    names = [one.filter for one in stages] + ["accepted"]
    passed = [one.came - one.refused for one in stages] + [figures.funnel.accepted]
    refused = [one.refused for one in stages] + [0]
    axes.barh(names, passed, color=colours.first, label="went on")
    axes.barh(names, refused, left=passed, color=colours.second, label="refused")
    said = [_reasons(one.reasons) for one in stages] + [""]
    for place, (one, two, text) in enumerate(zip(passed, refused, said, strict=True)):
        counted = f"{one:,}" if not two else f"{one:,} · −{two:,} {text}"
        _label(axes, one + two, place, counted, colours)
    axes.set_xlim(0, figures.funnel.decided * 1.9)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= figures.funnel.decided])
    axes.set_xlabel("candidates")
    _legend(axes, colours)
    return figure


def _reasons(reasons: dict[str, int]) -> str:
    named = [f"{reason.replace('_', ' ')} {rows:,}" for reason, rows in list(reasons.items())[:REASONS_NAMED]]
    rest = sum(list(reasons.values())[REASONS_NAMED:])
    return ", ".join([*named, *([f"others {rest:,}"] if rest else [])])


def _categories(figures: Figures, colours: Palette) -> Any:
    rows = [one for one in figures.spread.categories if one.accepted or one.target]
    if not rows or not figures.funnel.accepted:
        return None
    figure, axes = _axes(colours, len(rows))
    names = [one.category or "(none)" for one in rows]
    axes.barh(names, [100 * one.share for one in rows], 0.55, color=colours.first, label="share of accepted rows")
    wanted = [(place, 100 * one.target) for place, one in enumerate(rows) if one.target is not None]
    axes.plot(
        [share for _, share in wanted],
        [place for place, _ in wanted],
        linestyle="none",
        marker="|",
        markersize=17,
        markeredgewidth=2.5,
        color=colours.ink,
        label="target",
    )
    for place, one in enumerate(rows):
        end = 100 * max(one.share, one.target or 0)
        _label(axes, end, place, f"{one.accepted:,}", colours)
    axes.set_xlim(0, 100 * max(max(one.share, one.target or 0) for one in rows) * 1.15)
    axes.set_xlabel("% of accepted rows; the number is rows")
    _legend(axes, colours)
    return figure


def _similarity(figures: Figures, colours: Palette) -> Any:
    found = figures.spread.similarity
    if not sum(found.accepted.counts) + sum(found.refused.counts):
        return None
    figure, axes = _axes(colours, 9)
    edges = found.accepted.edges
    axes.bar(edges, found.accepted.counts, 0.046, align="edge", color=colours.first, label="accepted")
    axes.bar(
        edges,
        found.refused.counts,
        0.046,
        bottom=found.accepted.counts,
        align="edge",
        color=colours.second,
        label="refused by novelty",
    )
    if found.threshold is not None:
        axes.axvline(found.threshold, color=colours.ink, linestyle="--", linewidth=1.2)
        axes.text(
            found.threshold,
            1.01,
            f"threshold {found.threshold:g}",
            color=colours.ink,
            fontsize=8.5,
            ha="center",
            transform=axes.get_xaxis_transform(),
        )
    highest = max(map(sum, zip(found.accepted.counts, found.refused.counts, strict=True)))
    axes.set_ylim(0, 1.08 * highest)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick == int(tick) and tick <= 1.08 * highest])
    axes.grid(visible=False, axis="x")
    axes.grid(axis="y", color=colours.line, linewidth=0.6)
    axes.set_xlim(0, 1.0)
    axes.set_xlabel(f"ROUGE-L to the nearest neighbour ({found.far:,} more accepted rows have none that is near)")
    axes.set_ylabel("rows")
    _legend(axes, colours)
    return figure


def _verbs(figures: Figures, colours: Palette) -> Any:
    found = figures.diversity
    if found is None or not found.verb_nouns:
        return None
    led = {verb: max(found.leading_words.get(verb, 0), sum(nouns.values())) for verb, nouns in found.verb_nouns.items()}
    verbs = sorted(led, key=lambda verb: (-led[verb], verb))
    totals = [led[verb] for verb in verbs]
    figure, axes = _axes(colours, len(verbs))
    axes.barh(verbs, totals, color=colours.first)
    for place, (total, nouns) in enumerate(zip(totals, (found.verb_nouns[verb] for verb in verbs), strict=True)):
        text = ", ".join(f"{noun} {count}" if count > 1 else noun for noun, count in nouns.items())
        _label(axes, total, place, text, colours)
    axes.set_xlim(0, max(totals) * 1.8)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick == int(tick) and tick <= max(totals)])
    axes.set_xlabel(f"of {found.rows:,} accepted rows drawn at random, those whose instruction this verb leads")
    return figure


def _lengths(figures: Figures, colours: Palette) -> Any:
    if not figures.funnel.accepted:
        return None
    from matplotlib.figure import Figure

    lengths = figures.spread.lengths
    figure = Figure(figsize=(10, 3.2), layout="constrained", facecolor=colours.paper)
    parts = figure.subplots(1, len(lengths))
    for axes, (name, found) in zip(parts, lengths.items(), strict=True):
        shown = _without_empty_ends(found)
        _style(axes, colours)
        axes.bar([label for label, _ in shown], [count for _, count in shown], color=colours.first)
        axes.grid(visible=False, axis="x")
        axes.grid(axis="y", color=colours.line, linewidth=0.6)
        middle = "" if found.median is None else f", median {found.median:g}"
        axes.set_title(f"{name}{middle}", fontsize=9.5, color=colours.ink)
        axes.tick_params(axis="x", rotation=60, labelsize=8)
        axes.set_xlabel("words", fontsize=9)
    parts[0].set_ylabel("accepted rows")
    return figure


def _without_empty_ends(found: Histogram) -> list[tuple[str, int]]:
    labels = [_between(low, high) for low, high in zip(found.edges, (*found.edges[1:], None), strict=True)]
    filled = [place for place, count in enumerate(found.counts) if count] or [0]
    return list(zip(labels, found.counts, strict=True))[min(filled) : max(filled) + 1]


def _between(low: float, high: float | None) -> str:
    if high is None:
        return f"{low:g}+"
    return f"{low:g}" if high - low == 1 else f"{low:g}–{high - 1:g}"


def _costs(figures: Figures, colours: Palette) -> Any:
    costs = [(name, one) for name, one in figures.costs_by_category.items() if one.tokens_per_accepted]
    if not costs:
        return None
    figure, axes = _axes(colours, len(costs))
    tokens = [one.tokens_per_accepted or 0 for _, one in costs]
    axes.barh([name or "(none)" for name, _ in costs], tokens, color=colours.first)
    for place, (count, (_, one)) in enumerate(zip(tokens, costs, strict=True)):
        money = f" · {one.money_per_accepted:.6f}" if one.money_per_accepted else ""
        _label(axes, count, place, f"{count:,.0f}{money}", colours)
    axes.set_xlim(0, max(tokens) * (1.3 if any(one.money_per_accepted for _, one in costs) else 1.12))
    axes.set_xlabel("tokens for each accepted row, refused ones paid for")
    return figure


def _selftest(figures: Figures, colours: Palette) -> Any:
    recalls = [one for one in figures.selftest["recalls"] if one["planted"]]
    if not recalls:
        return None
    names = list(dict.fromkeys(one["canary"] for one in recalls))
    planted = {name: sum(one["planted"] for one in recalls if one["canary"] == name) for name in names}
    found = {name: sum(one["found"] for one in recalls if one["canary"] == name) for name in names}
    figure, axes = _axes(colours, len(names))
    axes.barh(names, [100 * found[name] / planted[name] for name in names], color=colours.first)
    for place, name in enumerate(names):
        _label(axes, 100 * found[name] / planted[name], place, f"{found[name]:,} of {planted[name]:,}", colours)
    axes.set_xlim(0, 122)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("% of planted canaries found")
    return figure


PLOTS: dict[str, tuple[str, Draw]] = {
    "funnel": ("From candidates to accepted rows", _funnel),
    "categories": ("Categories against their targets", _categories),
    "similarity": ("Similarity to the nearest neighbour", _similarity),
    "verbs": ("Leading verbs and what they ask for", _verbs),
    "lengths": ("Lengths", _lengths),
    "costs": ("Tokens an accepted row costs", _costs),
    "selftest": ("What decontamination finds", _selftest),
}


def _axes(colours: Palette, bars: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.1 + 0.31 * bars), layout="constrained", facecolor=colours.paper)
    axes = figure.subplots()
    _style(axes, colours)
    axes.invert_yaxis()
    return figure, axes


def _style(axes: Any, colours: Palette) -> None:
    axes.set_facecolor(colours.paper)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=colours.line, linewidth=0.6)
    axes.tick_params(colors=colours.dim, length=0, labelsize=9)
    axes.xaxis.label.set_color(colours.dim)
    axes.yaxis.label.set_color(colours.dim)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(colours.line)


def _label(axes: Any, x: float, y: float, text: str, colours: Palette) -> None:
    """Write right of the end of a bar."""
    axes.annotate(text, (x, y), xytext=(7, 0), textcoords="offset points", va="center", color=colours.ink, fontsize=8.5)


def _legend(axes: Any, colours: Palette) -> None:
    axes.legend(fontsize=8.5, frameon=False, labelcolor=colours.ink, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)


@contextmanager
def _plain_text() -> Iterator[None]:
    """Have matplotlib write text as it is: a dollar sign begins no formula, and a missing letter warns of nothing."""
    import matplotlib as mpl

    settings: Any = {
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "seedbed",
        "font.family": "sans-serif",
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def _bytes(figure: Any, form: str) -> bytes:
    stream = io.BytesIO()
    unsaid: Sequence[str] = ("Date", "Creator", "Format", "Type") if form == "svg" else ("Software",)
    figure.savefig(stream, format=form, dpi=150, metadata=dict.fromkeys(unsaid))
    return stream.getvalue()


def _adaptive(svg: str) -> str:
    """Return an SVG whose colours are variables, set by whether light or dark is preferred."""
    body = svg[svg.index("<svg") :]
    for name in Palette.__slots__:
        body = body.replace(getattr(MARKS, name), f"var(--{name})")

    def variables(palette: Palette) -> str:
        return "".join(f"--{name}:{getattr(palette, name)};" for name in Palette.__slots__)

    style = (
        f"<style>:root{{{variables(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
        "text{font-family:system-ui,'DejaVu Sans',sans-serif!important}</style>"
    )
    return re.sub(r"(<svg[^>]*>)", lambda match: match.group(1) + style, body, count=1)
