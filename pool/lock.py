"""The lock of a workspace: one process writes."""

import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from seedbed.core.errors import WorkspaceHeldError
from seedbed.core.files import locked
from seedbed.pool.database import LOCK_NAME


def hold_workspace(folder: Path, now: float, command: str = "") -> ExitStack:
    """Lock the workspace for writing until the returned stack is closed, or the process ends.

    Args:
        folder: The workspace.
        now: Seconds since 1970, for those who ask since when.
        command: What to tell them it is held for; empty takes the program's name and its first argument.

    Raises:
        WorkspaceHeldError: Another process holds it; the message has its id, its command and since when.
    """
    since = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    stack = ExitStack()
    try:
        stack.enter_context(
            locked(folder / LOCK_NAME, f"pid {os.getpid()}, {command or command_line()}, since {since}")
        )
    except BlockingIOError as error:
        raise WorkspaceHeldError(
            f"{folder} is held for writing by another process ({error.args[0]}): stop that one, or wait for its end"
        ) from error
    return stack


def command_line() -> str:
    """Return the program's name and its first argument."""
    return " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:2]])
