"""The command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="seedbed",
    help="Grow an instruction-tuning set from seed tasks, and train a LoRA adapter each time it is ripe.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the plain help page: importing rich for it would double the time to show it
)

Json = Annotated[bool, typer.Option("--json", help="Print one machine-readable object on standard output.")]


OVER_URL = (
    *("status", "snapshot", "train", "evaluate", "promote", "rollback"),
    *("import", "references", "control", "rows", "pool prune"),
)
"""Commands, or groups of them, that can work through a service elsewhere."""


class Here:
    """What the options before the command say."""

    workspace: Path = Path()
    url: str = ""


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from seedbed import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="The workspace folder; the current one by default.")
    ] = Path(),
    url: Annotated[
        str, typer.Option("--url", help="Work through a service elsewhere; its token is in SEEDBED_TOKEN.")
    ] = "",
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    Here.workspace, Here.url = workspace, url
    name = context.invoked_subcommand or ""
    if not any(one.startswith(f"{name} ") for one in OVER_URL):  # those are looked at when the whole name is known
        needs_no_workspace(name)


def needs_no_workspace(command: str) -> None:
    """See to it that a command that needs the workspace is not asked of a service elsewhere.

    Raises:
        ConfigError: It is.
    """
    from seedbed.core.errors import ConfigError

    if Here.url and not {command, command.partition(" ")[0]} & set(OVER_URL):
        raise ConfigError(f"--url goes with {', '.join(OVER_URL)}; {command} needs the workspace")


def emit(as_json: bool, value: dict[str, Any], text: str) -> None:
    """Print a command's result: one JSON object, or a line for people."""
    import json

    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False, default=str))
    elif text:
        typer.echo(text)


def main() -> None:
    """Run the command line; every error of ours is one line and an exit code, never a traceback."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from seedbed.service.commands import add_commands

    add_commands(app)
    try:
        outcome = app(standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - the outermost frame
        sys.exit(report(error))
    sys.exit(outcome if isinstance(outcome, int) else 0)


def report(error: BaseException) -> int:
    """Say what went wrong in one line on standard error, and return the exit code.

    An error that is not ours is a defect of Seedbed's: it keeps its traceback.
    """
    import traceback

    from seedbed.core.errors import SeedbedError
    from seedbed.core.files import is_of_the_disk

    if isinstance(error, BaseExceptionGroup):
        inner = first_of(error)
        return report(inner)
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort | KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return 130
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # a usage error of the parser's
        typer.echo(f"seedbed: {error.format_message()}", err=True)
        return 2
    if isinstance(error, SeedbedError):
        typer.echo(f"seedbed: {' '.join(str(error).split()) if error.exit_code == 2 else error}", err=True)
        return error.exit_code
    if is_of_the_disk(error):
        typer.echo(f"seedbed: {error}; see to the disk, and run the command again", err=True)
        return 1
    traceback.print_exception(error)
    typer.echo("seedbed: this is a defect of Seedbed's; please report it with the lines above", err=True)
    return 1


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the error of ours in a group of errors, or the first of any kind."""
    from seedbed.core.errors import SeedbedError

    flat: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, SeedbedError)), flat[0])
