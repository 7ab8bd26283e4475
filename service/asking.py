"""Reading a workspace without holding it: from the running service where there is one, else from what is stored."""

from rich.console import Console as RichConsole

from seedbed.core.config import Secrets
from seedbed.core.errors import InputError, MissingFileError, ServiceError
from seedbed.core.events import Events
from seedbed.core.records import Phase, Status
from seedbed.pool.pool import Pool
from seedbed.prompts.library import PromptLibrary
from seedbed.service.context import Context
from seedbed.service.remote import service_of
from seedbed.service.status import read_status
from seedbed.service.summary import print_summary
from seedbed.service.workspace import Workspace


def current_status(workspace: Workspace) -> Status:
    """Return the status; a workspace that has no pool yet has nothing in it."""
    live = _status_of_service(workspace)
    if live is not None:
        return live
    try:
        with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
            return read_status(workspace, pool)
    except MissingFileError:
        target = workspace.config.pool.first_target
        return Status(phase=Phase.STOPPED, accepted=0, target=target, round=0, decided=0)


def _status_of_service(workspace: Workspace) -> Status | None:
    """Ask the running service, if one answers; its file may be left from one that was killed."""
    service = service_of(workspace.folder)
    if service is None:
        return None
    try:
        with service:
            return service.status()
    except ServiceError:
        return None


def login_link(workspace: Workspace) -> str:
    """Return a link that opens the running service's page, once.

    Raises:
        InputError: No service answers in this workspace.
    """
    service = service_of(workspace.folder)
    if service is None:
        raise InputError(f"no service answers in {workspace.folder}; `seedbed serve` starts one")
    with service:
        return f"{service.url}{service.login_link().path}"


def print_stored_summary(workspace: Workspace) -> None:
    """Print the last screen of a workspace.

    Raises:
        MissingFileError: Nothing has run in it yet.
    """
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        context = Context(workspace, pool, Events(), Secrets(), PromptLibrary(workspace.prompts))
        print_summary(context, RichConsole(highlight=False))
