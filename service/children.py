"""Training and evaluation run as child processes: a crash in them is an exit code and a log tail."""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

from seedbed.service.stopping import Stop

TAIL_LINES = 15
GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    exit_code: int
    log: Path
    was_stopped: bool
    """It was asked to end, by a signal of ours."""

    @property
    def tail(self) -> str:
        """The log's last lines."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


async def run_module(
    module: str, arguments: Sequence[str], *, log: Path, stop: Stop, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run `python -m MODULE` to its end, its output going to `log`; a wanted stop sends SIGTERM and waits.

    The child leads its own process group, so that a Ctrl-C at the terminal reaches it through us alone.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = await anyio.open_process(
            [sys.executable, "-m", module, *arguments],
            stdin=None,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        take_back = stop.add(lambda: _signal(process, signal.SIGTERM))
        try:
            exit_code = await process.wait()
        except BaseException:
            await _end(process)
            raise
        finally:
            take_back()
    return Ended(exit_code, log, stop.is_wanted)


async def _end(process: Process) -> None:
    """End a child whose parent is being cancelled: ask, wait, then kill."""
    with anyio.CancelScope(shield=True):
        _signal(process, signal.SIGTERM)
        with anyio.move_on_after(GRACE_S):
            await process.wait()
            return
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
