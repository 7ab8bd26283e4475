"""`seedbed doctor`: each configured endpoint, tried."""

from dataclasses import asdict
from typing import Any

import anyio
from rich.console import Console as RichConsole
from rich.table import Table

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointError
from seedbed.core.events import Events
from seedbed.core.load import load_secrets
from seedbed.endpoints.memory import ProbeMemory
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.protocol import Capabilities
from seedbed.service.console import Console
from seedbed.service.running import loop_options
from seedbed.service.workspace import Workspace

TRIED = ("chat", "completions", "json_schema", "stop", "n", "logprobs", "usage")


def examine(workspace: Workspace, *, is_quiet: bool = False) -> dict[str, dict[str, Any]]:
    """Try every endpoint of a workspace; managed servers are started for it and stopped again."""
    return anyio.run(_examine_all, workspace, Console(is_quiet=is_quiet), backend_options=loop_options())


async def _examine_all(workspace: Workspace, console: Console) -> dict[str, dict[str, Any]]:
    found = {}
    for endpoint in workspace.config.endpoints:
        found[endpoint.name] = asdict(await _examine(workspace, endpoint, console))
    return found


async def _examine(workspace: Workspace, endpoint: EndpointConfig, console: Console) -> Capabilities:
    events = Events()
    events.add(console.on_event)
    try:
        async with open_fleet(
            [endpoint],
            secrets=load_secrets(workspace.config),
            budget=workspace.config.budget,
            max_attempts=1,
            log_folder=workspace.logs,
            events=events,
            accepted_licences=workspace.config.accept_licence,
            progress=console.download,
            memory=ProbeMemory(workspace.capabilities, is_renewed=True),
        ) as fleet:
            return await fleet.capabilities()
    except EndpointError as error:
        return Capabilities(answers=False, problems=(str(error),))


def print_examined(examined: dict[str, dict[str, Any]]) -> None:
    """Print what was found as a table, problems below it."""
    table = Table(title="endpoints, as tried", title_justify="left")
    table.add_column("")
    for name in examined:
        table.add_column(name)
    found = examined.values()
    table.add_row("answers", *(_yes(one["answers"]) for one in found))
    table.add_row("server", *(f"{one['server']} {one['version']}".strip() for one in found))
    table.add_row("models", *("\n".join(one["models"]) for one in found))
    for what in TRIED:
        table.add_row(what, *(_yes(one[what]) for one in found))
    console = RichConsole(highlight=False)
    console.print(table)
    for name, one in examined.items():
        for problem in one["problems"]:
            console.print(f"{name}: {problem}", markup=False)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
