"""Copies of a workspace's pool, wherever that is."""

from datetime import UTC, datetime
from pathlib import Path

from seedbed.core.config import PoolConfig
from seedbed.core.load import load_config
from seedbed.pool.backup import backup, restore
from seedbed.pool.database import FILE_NAME
from seedbed.pool.migrate import latest_version, version_of
from seedbed.pool.pool import Pool
from seedbed.pool.server import Server, is_server
from seedbed.pool.transfer import copy_in, copy_out
from seedbed.service.workspace import CONFIG, Workspace


def back_up(folder: Path, destination: Path) -> None:
    """Copy the pool of the workspace `folder` into an SQLite file; others may write the pool meanwhile."""
    config = _config(folder)
    if is_server(config):
        copy_out(Server.of(config), destination)
    else:
        backup(folder, destination)


def put_back(source: Path, folder: Path) -> Path | None:
    """Make a backup the pool of the workspace `folder`; returns where the pool that was there lies now."""
    config = _config(folder)
    if is_server(config):
        return copy_in(source, Server.of(config), folder / "backups", datetime.now(UTC))
    return restore(source, folder)


def upgrade(workspace: Workspace) -> int | None:
    """Bring a pool in a file that an older Seedbed wrote up to this one's schema, with a backup first.

    Returns:
        The schema version it had; None where there was nothing to do.

    Raises:
        WorkspaceHeldError: Another process has it open.
    """
    if is_server(workspace.config.pool):
        return None
    version = version_of(workspace.folder / FILE_NAME)
    if not 0 < version < latest_version():
        return None
    Pool.open(workspace.folder, workspace.config.pool).close()
    return version


def _config(folder: Path) -> PoolConfig:
    """Read where the pool is; a folder without a config has it in a file."""
    return load_config(folder / CONFIG).pool if (folder / CONFIG).exists() else PoolConfig()
