"""What a running command holds: the workspace, its open pool, its events and secrets."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from seedbed.core.config import Secrets
from seedbed.core.events import EventFile, Events, Sink
from seedbed.core.load import load_secrets
from seedbed.pool.pool import Pool
from seedbed.prompts.library import PromptLibrary
from seedbed.service.webhook import Webhook
from seedbed.service.workspace import Workspace
from seedbed.weights.resolve import Progress


@dataclass(frozen=True, slots=True)
class Context:
    """Everything the lifecycle works with."""

    workspace: Workspace
    pool: Pool
    events: Events
    secrets: Secrets
    prompts: PromptLibrary
    download: Progress | None = None
    """Told of downloads."""
    serving_lock: anyio.Lock = field(default_factory=anyio.Lock)
    """Held by who changes what the serving endpoint holds: the service's own looks, and people over HTTP."""
    snapshots_lock: anyio.Lock = field(default_factory=anyio.Lock)
    """Held by who freezes a snapshot or removes what is old, so that none goes before its round names it."""


@contextmanager
def reading(workspace: Workspace) -> Iterator[Context]:
    """Open a workspace to look at it, also while another process writes it; its events go nowhere.

    Raises:
        MissingFileError: Nothing has run in it yet.
        PoolVersionError: Another version of Seedbed wrote its pool.
    """
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        yield Context(workspace, pool, Events(), Secrets(), PromptLibrary(workspace.prompts))


@contextmanager
def writing(
    workspace: Workspace, download: Progress | None = None, sinks: Sequence[Sink] = (), *, stands_by: bool = False
) -> Iterator[Context]:
    """Open a workspace for work: its pool is held against other writers, its events go to `logs/events.jsonl`.

    Args:
        workspace: The workspace.
        download: Told of downloads.
        sinks: Further places for events.
        stands_by: Open a pool on a server also where another process leads it.

    Raises:
        WorkspaceHeldError: Another process holds it.
        PoolVersionError: A newer Seedbed wrote it.
        ConfigError: A key's variable is not set.
    """
    secrets = load_secrets(workspace.config)
    events = Events()
    with Pool.open(workspace.folder, workspace.config.pool, stands_by=stands_by) as pool:
        sink = EventFile(workspace.logs / "events.jsonl")
        events.add(sink)
        webhook = Webhook(secrets.webhook, workspace.folder.resolve().name, events) if secrets.webhook else None
        for other in sinks:
            events.add(other)
        if webhook:
            events.add(webhook)
        events.emit("command.started", arguments=list(sys.argv[1:]), process=os.getpid())
        try:
            yield Context(workspace, pool, events, secrets, PromptLibrary(workspace.prompts), download)
        finally:
            events.emit("command.ended")
            if webhook:
                webhook.close()
            sink.close()
