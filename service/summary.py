"""The last screen of a run: what came in, what was refused and why, what was trained, and where it all lies."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from seedbed.core.config import Config
from seedbed.core.records import CHECK_PREFIX, Adapter
from seedbed.core.reports import EvalReport
from seedbed.core.snapshots import frozen_snapshots
from seedbed.pool.pool import Decided, Pool
from seedbed.service.context import Context
from seedbed.service.cost import cost_cells, costs_by_category, costs_by_recipe
from seedbed.service.decontamination import selftest_of, selftest_text
from seedbed.service.training import read_metrics

ROWS = 5
RECENT = 60
CLIP = 160


def print_summary(context: Context, console: Console) -> None:
    """Print the last screen."""
    pool, workspace = context.pool, context.workspace
    console.rule("[bold]what came of it")
    console.print(funnel_table(pool))
    console.print(category_table(pool, workspace.config))
    console.print(checks_text(pool))
    console.print(selftest_text(selftest_of(workspace)))
    for accepted in (True, False):
        console.print(Text(f"{'accepted' if accepted else 'refused'} rows, of the latest", style="bold"))
        for decided in varied(pool.recent(accepted, RECENT)):
            console.print(row_panel(decided))
    adapters, reports = pool.adapters(), pool.reports()
    for adapter in adapters[-1:]:
        console.print(training_text(workspace.adapters / adapter.id, adapter))
    for report in reports[-1:]:
        for table in report_tables(report):
            console.print(table)
        for line in further_results(report):
            console.print(Text(line))
        console.print(Text(report.reason, style="bold"))
    console.print(files_text(context, adapters[-1] if adapters else None), soft_wrap=True)


def funnel_table(pool: Pool) -> Table:
    """Tabulate what became of the candidates, by filter and reason."""
    counts = pool.counts()
    table = Table(title=f"{counts.decided} candidates decided, {counts.accepted} accepted", title_justify="left")
    table.add_column("filter and reason", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    total = max(1, counts.decided)
    table.add_row("accepted", str(counts.accepted), f"{counts.accepted / total:.1%}")
    for reason, count in sorted(counts.refused.items(), key=lambda item: -item[1]):
        table.add_row(f"refused: {reason}", str(count), "" if reason.startswith("parse.") else f"{count / total:.1%}")
    for reason, count in sorted(counts.proposals_refused.items(), key=lambda item: -item[1]):
        table.add_row(f"proposal refused: {reason}", str(count), "")
    return table


def category_table(pool: Pool, config: Config) -> Table:
    """Tabulate accepted rows by category, and what one cost: all that was asked, refused rows included."""
    counts = pool.counts()
    table = Table(title="accepted rows by category", title_justify="left")
    table.add_column("category")
    table.add_column("accepted", justify="right")
    table.add_column("of decided", justify="right")
    table.add_column("tokens a row", justify="right")
    table.add_column("cost a row", justify="right")
    costs = costs_by_category(config, pool.spent(), counts)
    for category, decided in sorted(counts.decided_categories.items()):
        accepted = counts.categories.get(category, 0)
        table.add_row(
            category or "(none)", str(accepted), f"{accepted / max(1, decided):.0%}", *cost_cells(costs.get(category))
        )
    for recipe, cost in costs_by_recipe(config, pool.spent(), counts).items():
        table.add_row(f"recipe: {recipe}", str(cost.accepted), "", *cost_cells(cost))
    return table


def checks_text(pool: Pool) -> Text:
    """Say how many answers each check found wrong, refused rows included."""
    counts = pool.counts()
    lines = [
        f"{name.removeprefix(CHECK_PREFIX)}: {counts.checked_wrong.get(name, 0)} of {rows} answers wrong "
        f"({counts.checked_wrong.get(name, 0) / rows:.0%})"
        for name, rows in counts.checked.items()
    ]
    return Text("checked answers\n", style="bold").append("\n".join(f"  {line}" for line in lines) or "  none yet")


def varied(recent: Sequence[Decided]) -> list[Decided]:
    """Choose rows that differ in category or in the reason of their refusal, as far as there are such."""
    first: dict[str, Decided] = {}
    for decided in recent:
        verdict = decided.decision.deciding
        kind = f"{verdict.filter}.{verdict.reason}" if verdict else decided.subject.requested_category
        first.setdefault(kind, decided)
    chosen = [*first.values()][:ROWS]
    return chosen + [decided for decided in recent if decided not in chosen][: ROWS - len(chosen)]


def row_panel(decided: Decided) -> Panel:
    """Frame one decided row; its text is shown as text, never read as markup."""
    subject, verdict = decided.subject, decided.decision.deciding
    body = Text()
    body.append("instruction: ", style="bold").append(clip(subject.instruction) + "\n")
    if getattr(subject, "input", ""):
        body.append("input: ", style="bold").append(clip(getattr(subject, "input", "")) + "\n")
    body.append("output: ", style="bold").append(clip(getattr(subject, "output", "")))
    if verdict is None:
        title = f"accepted {subject.id[:12]} · {subject.requested_category}"
        return Panel(body, title=Text(title), title_align="left")
    measured = "" if verdict.score is None else f" {verdict.score:.2f} against {verdict.threshold}"
    if verdict.neighbour_id:
        body.append("\nnearest: ", style="bold").append(verdict.neighbour_id)
    if verdict.evidence:
        body.append("\nevidence: ", style="bold").append(clip(" ".join(verdict.evidence)))
    title = f"refused {subject.id[:12]} · {verdict.filter}.{verdict.reason}{measured}"
    return Panel(body, title=Text(title), title_align="left", border_style="red")


def training_text(folder: Path, adapter: Adapter) -> Text:
    """Say how a training went: the losses at its two ends."""
    metrics = read_metrics(folder)
    losses = [row["val_loss"] for row in metrics if "val_loss" in row]
    text = Text(f"adapter {adapter.id} on {adapter.base}: ", style="bold")
    if len(losses) >= 2:
        text.append(
            f"validation loss {losses[0]:.3f} before, {losses[-1]:.3f} after ({losses[-1] / losses[0] - 1:+.0%})"
        )
    return text


def report_tables(report: EvalReport) -> Iterator[Table]:
    """Tabulate the held-out scores of each arm, with n, and the paired differences with their intervals."""
    scores = Table(title="held-out categories (never demonstrated, requested or trained)", title_justify="left")
    for name in ("arm", "category"):
        scores.add_column(name, no_wrap=True)
    for name in ("n", "score", "exact", "ROUGE-L", "ends"):
        scores.add_column(name, justify="right")
    for score in report.scores:
        shown = (score.exact_match, score.rouge_l, score.eos_share)
        cells = ["" if value is None else f"{value:.3f}" for value in shown]
        scores.add_row(score.arm, score.category, str(score.n), f"{score.score:.3f}", *cells)
    yield scores
    differences = Table(title="adapter - base, in points, with 95% interval", title_justify="left")
    for name in ("category", "n", "points", "interval"):
        differences.add_column(name, justify="left" if name == "category" else "right")
    for one in report.differences:
        interval = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
        differences.add_row(one.category, str(one.n), f"{100 * one.mean:+.1f}", interval)
    yield differences


def further_results(report: EvalReport) -> Iterator[str]:
    """Say in a line each what a report holds beside scores, as far as it was asked for."""
    if (drop := report.form_drop) is not None:
        between = f"{100 * drop.low:+.1f} to {100 * drop.high:+.1f}"
        yield f"in a form never trained in: {100 * drop.mean:+.1f} points ({between}, n = {drop.n}), {drop.finding}"
    for one in report.checks:
        strict = one.intervals["prompt_strict"]
        yield f"checks kept by {one.arm}: {one.prompt_strict:.0%} of {strict.n} rows ({one.prompt_loose:.0%} loosely)"
    for name, interval in report.safety_intervals.items():
        share = report.safety[name]
        yield f"{name.replace('_', ' ')}: {share:.0%} of {interval.n} ({interval.low:.0%} to {interval.high:.0%})"
    if (found := report.preference) is not None:
        between = f"{found.interval.low:.0%} to {found.interval.high:.0%}"
        yield (
            f"{found.judge} prefers the adapter: {found.share:.0%} of {found.n} rows ({between}; {found.wins} won, "
            f"{found.ties} tied, {found.losses} lost), {found.length_controlled:.0%} at equal length"
        )


def files_text(context: Context, adapter: Adapter | None) -> Text:
    """Name the files worth opening."""
    folder = context.workspace.folder
    kind = "SQLite" if isinstance(context.pool.path, Path) else "PostgreSQL"
    lines: list[tuple[str, Path | str]] = [(f"the pool ({kind})", context.pool.path)]
    snapshots = context.workspace.snapshots
    lines += [("training rows", snapshots / one.id / "train.jsonl") for one in frozen_snapshots(snapshots)[-1:]]
    if adapter is not None:
        lines.append(("the adapter (PEFT)", folder / adapter.path))
        report = context.workspace.reports / adapter.id
        lines.append(("its held-out report", report / "report.md"))
        lines += [("the same as a plot", path) for path in report.glob("scores.png")]
    lines.append(("settings", folder / "seedbed.toml"))
    lines.append(("what happened", context.workspace.logs / "events.jsonl"))
    text = Text("files\n", style="bold")
    for name, path in lines:
        text.append(f"  {name:<22}", style="not bold").append(f"{path}\n", style="not bold cyan")
    return text


def clip(text: str, limit: int = CLIP) -> str:
    """Shorten text to one line for the screen; control characters become spaces."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
