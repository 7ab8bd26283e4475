"""Training and evaluation run as child processes: a crash in them is an exit code and a log tail.

A child ends when we do, however that is (`core/leashed.py`), and one that shows no sign of life is ended.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

from seedbed.service.stopping import Stop

TAIL_LINES = 15
GRACE_S = 60.0
LONGEST_LOOK_S = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    exit_code: int
    log: Path
    was_stopped: bool
    """It was asked to end, by a signal of ours."""
    silent_s: float = 0.0
    """So long it showed no sign of life before it was ended for that; 0: it was not."""

    @property
    def tail(self) -> str:
        """The log's last lines."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def told(self, who: str, setting: str) -> str:
        """Say how it ended: `who` it was, and the `setting` that says how long one may be silent."""
        how = f"ended with exit code {self.exit_code}"
        if self.silent_s:
            how = f"showed no sign of life for {self.silent_s:g} s ({setting}) and was ended"
        return f"{who} {how}; {self.log} ends with:\n{self.tail}"


async def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    log: Path,
    stop: Stop,
    out: Path | None = None,
    hung_after_s: float = 0.0,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run `python -m MODULE` to its end, its output going to `log`; a wanted stop sends SIGTERM and waits.

    The child leads its own process group, so that a Ctrl-C at the terminal reaches it through us alone.

    Args:
        module: What to run.
        arguments: Its command line.
        log: Its output is added to this file.
        stop: Whether it is wanted to end.
        out: The folder that it writes into; a change of a file there, or in `log`, is a sign of life.
        hung_after_s: Without a sign of life for so long it is ended; 0: never.
        environment: Variables beside our own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = await anyio.open_process(
            [sys.executable, "-m", "seedbed.core.leashed", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        take_back = stop.add(lambda: _signal(process, signal.SIGTERM))
        watch = _Watch(process, (log, out) if out else (log,), hung_after_s)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch.run)
                exit_code = await process.wait()
                tasks.cancel_scope.cancel()
        except BaseException:
            await _end(process)
            raise
        finally:
            take_back()
            with anyio.CancelScope(shield=True):
                await process.aclose()
    return Ended(exit_code, log, stop.is_wanted, hung_after_s if watch.has_ended_it else 0.0)


@dataclass(slots=True)
class _Watch:
    """Ends a child that shows no sign of life."""

    process: Process
    places: Sequence[Path]
    hung_after_s: float
    has_ended_it: bool = False

    async def run(self) -> None:
        seen, since = -1, anyio.current_time()
        while self.hung_after_s:
            changed, now = self._last_change(), anyio.current_time()
            if changed != seen:
                seen, since = changed, now
            elif now - since >= self.hung_after_s:
                self.has_ended_it = True
                await _end(self.process)
                return
            await anyio.sleep(min(LONGEST_LOOK_S, self.hung_after_s / 4))

    def _last_change(self) -> int:
        """Return when a file was last changed, in nanoseconds of the file system's clock."""
        inside = (Path(folder, name) for place in self.places for folder, _, names in os.walk(place) for name in names)
        return max(map(_changed_at, (*self.places, *inside)))


async def _end(process: Process) -> None:
    """End a child whose parent is being cancelled: ask, wait, then kill."""
    with anyio.CancelScope(shield=True):
        _signal(process, signal.SIGTERM)
        with anyio.move_on_after(GRACE_S):
            await process.wait()
            return
        _signal(process, signal.SIGKILL)
        await process.wait()


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # removed meanwhile
        return 0


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
