"""How much disk a workspace takes, by kind."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from seedbed.pool.database import FILE_NAME
from seedbed.service.workspace import Workspace

LOOK_EVERY_S = 30.0

CHECKPOINTS = ("checkpoint", "hf")
"""The folders in an adapter's that its training goes on from: the trainer's own, and that of Hugging Face's Trainer."""


def disk_use(workspace: Workspace) -> dict[str, int]:
    """Return the bytes of each kind; links are not followed, and what is removed meanwhile counts nothing."""
    folder, adapters = workspace.folder, workspace.adapters
    checkpoints = sum(size_of(path) for name in CHECKPOINTS for path in adapters.glob(f"*/{name}"))
    return {
        "database": sum(size_of(path) for path in folder.glob(f"{FILE_NAME}*")),
        "snapshots": size_of(workspace.snapshots),
        "checkpoints": checkpoints,
        "adapters": size_of(adapters) - checkpoints,
        "reports": size_of(workspace.reports),
        "logs": size_of(workspace.logs),
        "cache": size_of(workspace.answers.parent),
        "backups": size_of(folder / "backups"),
    }


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files under a folder; 0 where there is nothing."""
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(size_of(Path(entry)) for entry in entries)
    except FileNotFoundError:
        return 0


def in_bytes(size: float) -> str:
    """Write a size for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class DiskWatch:
    """Measures a workspace now and then, so that who polls costs nothing."""

    def __init__(self, workspace: Workspace, now: Callable[[], float] = time.monotonic) -> None:
        self._workspace, self._now = workspace, now
        self._measured_at = float("-inf")
        self._found: dict[str, int] = {}

    def bytes_by_kind(self) -> dict[str, int]:
        """Return what was measured, at most half a minute ago."""
        if self._now() - self._measured_at >= LOOK_EVERY_S:
            self._measured_at = self._now()
            self._found = disk_use(self._workspace)
        return self._found
