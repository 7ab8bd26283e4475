"""Commands that only look: doctor, plan, status, why, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seedbed.service.cli import Here, Json, emit

if TYPE_CHECKING:
    from seedbed.core.diversity import Diversity
    from seedbed.core.records import Cost, Node


def doctor(as_json: Json = False) -> None:
    """Try what each endpoint can do."""
    from seedbed.service.doctor import examine, print_examined
    from seedbed.service.workspace import open_workspace

    examined = examine(open_workspace(Here.workspace), is_quiet=as_json)
    if as_json:
        emit(True, {"endpoints": examined}, "")
    else:
        print_examined(examined)
    if not all(one["answers"] for one in examined.values()):
        raise typer.Exit(1)


def plan(
    target: Annotated[int | None, typer.Option(help="Accepted rows; the next training's threshold by default.")] = None,
    as_json: Json = False,
) -> None:
    """Print what a run would ask and cost.

    With one prompt of each recipe, before anything is spent.
    """
    from seedbed.service.forecast import forecast, print_forecast
    from seedbed.service.workspace import open_workspace

    foreseen = forecast(open_workspace(Here.workspace), target)
    if as_json:
        emit(True, foreseen, "")
    else:
        print_forecast(foreseen)


def status(as_json: Json = False) -> None:
    """Print what is going on.

    From the running service where there is one, else from what is stored.
    """
    from seedbed.service.asking import current_status
    from seedbed.service.disk import in_bytes
    from seedbed.service.in_service import sentence_of
    from seedbed.service.workspace import open_workspace

    if Here.url:
        from seedbed.service.work_commands import running_service

        service = running_service()
        assert service is not None
        with service:
            found = service.status()
    else:
        found = current_status(open_workspace(Here.workspace))
    if as_json:
        emit(True, found.model_dump(mode="json"), "")
        return
    typer.echo(f"{found.phase}: {found.accepted} of {found.target} accepted rows for round {found.round}")
    typer.echo(f"{found.decided} candidates decided, {found.prompt_tokens + found.completion_tokens} tokens spent")
    for group, costs in found.costs.items():
        each = ", ".join(_cost_of(name, cost) for name, cost in costs.items() if cost.accepted)
        if each:
            typer.echo(f"tokens an accepted row by {group}: {each}")
    for name, one in found.checks.items():
        typer.echo(f"check {name}: {one.wrong} of {one.rows} answers wrong ({one.share_wrong:.0%})")
    said = f"; {sentence_of(found.serving)}" if found.adapter_in_service else ""
    typer.echo(f"adapter in service: {found.adapter_in_service or 'none'}{said}")
    if used := {kind: size for kind, size in found.disk.items() if size}:
        each = ", ".join(f"{kind} {in_bytes(size)}" for kind, size in used.items())
        typer.echo(f"disk: {in_bytes(sum(used.values()))} ({each})")
    for node in found.nodes:
        typer.echo(_node_of(node))
    if found.diversity is not None:
        typer.echo(_diversity_of(found.diversity))
    for reaction in found.reactions:
        typer.echo(f"reaction to {reaction.cause.replace('_', ' ')}: {reaction.changes}; {reaction.reason}")
    for alarm in found.alarms:
        typer.echo(f"alarm: {alarm}")


def _diversity_of(found: Diversity) -> str:
    word, rows = next(iter(found.leading_words)), found.leading_share
    return (
        f"diversity of the latest {found.rows} rows: {found.distinct_2:.2f} of word pairs different, "
        f'{found.near_duplicates:.0%} like another row, {rows:.0%} begin with "{word}", '
        f"{found.category_entropy:.1f} bits of category, depth {found.mean_depth:.1f}"
    )


def _node_of(node: Node) -> str:
    said = "is gone; lost with it:" if node.is_lost else f"is {node.phase.value.replace('_', ' ')}:"
    return (
        f"{node.role} {node.name} on {node.host} {said} {node.in_flight} requests in flight, {node.undecided} rows "
        f"undecided, {node.accepted_per_min:.1f} accepted a minute; seen {node.last_seen_s:.0f} s ago"
    )


def _cost_of(name: str, cost: Cost) -> str:
    money = f" ({cost.money_per_accepted:.6f})" if cost.money else ""
    return f"{name or '(none)'} {cost.tokens_per_accepted:.0f}{money}"


def why(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A row's or proposal's id, or its beginning.")],
    as_json: Json = False,
) -> None:
    """Explain one row's decision.

    The row, every verdict on it, and its neighbour side by side with the shared words marked.
    """
    from seedbed.service.explain import explain, print_explained
    from seedbed.service.workspace import open_workspace

    explained: dict[str, Any] = explain(open_workspace(Here.workspace), identity)
    if as_json:
        emit(True, explained, "")
    else:
        print_explained(explained)


def report(
    out: Annotated[Path | None, typer.Option(help="The page; reports/data.html of the workspace by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw of rows that are shown.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a page on the data, with plots beside it.

    And print the last screen of a run again; with --json the page's figures and rows instead.
    """
    from seedbed.pool.pool import Pool
    from seedbed.service.asking import print_stored_summary
    from seedbed.service.report import report_of, write_report
    from seedbed.service.workspace import open_workspace

    workspace = open_workspace(Here.workspace)
    if not as_json:
        print_stored_summary(workspace)
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        made = report_of(workspace, pool, seed)
    files = [str(path) for path in write_report(made, out or workspace.reports / "data.html")]
    plots = f", {len(files) - 1} plots beside it" if files[1:] else "; without matplotlib it has no plots"
    emit(as_json, made.model_dump(mode="json") | {"files": files}, f"the report is in {files[0]}{plots}")


def page() -> None:
    """Print a link that opens the running service's page, once."""
    from seedbed.service.asking import login_link
    from seedbed.service.workspace import open_workspace

    typer.echo(login_link(open_workspace(Here.workspace)))
