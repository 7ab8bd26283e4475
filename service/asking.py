"""Reading a workspace without holding it: from the running service where there is one, else from what is stored."""

import httpx
from rich.console import Console as RichConsole

from seedbed.core.config import Secrets
from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.events import Events
from seedbed.core.files import read_json
from seedbed.core.records import Phase, Status
from seedbed.pool.pool import Pool
from seedbed.prompts.library import PromptLibrary
from seedbed.service.api import ACCESS_FILE
from seedbed.service.context import Context
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
    path = workspace.folder / ACCESS_FILE
    if not path.exists():
        return None
    try:
        access = read_json(path)
        headers = {"authorization": f"Bearer {access['token']}"}
        answer = httpx.get(f"{access['url']}/v1/status", headers=headers, timeout=10, trust_env=False)
        answer.raise_for_status()
    except (httpx.HTTPError, InputError, KeyError):
        return None
    return Status.model_validate_json(answer.content)


def login_link(workspace: Workspace) -> str:
    """Return a link that opens the running service's page, once.

    Raises:
        InputError: No service answers in this workspace.
    """
    path = workspace.folder / ACCESS_FILE
    try:
        access = read_json(path)
        headers = {"authorization": f"Bearer {access['token']}"}
        answer = httpx.post(f"{access['url']}/v1/login-links", headers=headers, timeout=10, trust_env=False)
        return f"{access['url']}{answer.raise_for_status().json()['path']}"
    except (httpx.HTTPError, InputError, KeyError) as error:
        raise InputError(f"no service answers in {workspace.folder}; `seedbed serve` starts one") from error


def print_stored_summary(workspace: Workspace) -> None:
    """Print the last screen of a workspace.

    Raises:
        MissingFileError: Nothing has run in it yet.
    """
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        context = Context(workspace, pool, Events(), Secrets(), PromptLibrary(workspace.prompts))
        print_summary(context, RichConsole(highlight=False))
