"""The steps at which a process is killed, and running a command that dies at one (`dying/sitecustomize.py`)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

DYING = Path(__file__).parent / "dying"
AFTER, BEFORE = True, False


@dataclass(frozen=True)
class Step:
    """A call at which a process dies."""

    name: str
    module: str
    function: str
    """A function of the module, or `Class.method`."""
    is_after: bool = BEFORE
    """Whether the call was made, or is about to be."""
    call: int = 1
    """Which call of the process it is."""
    is_child: bool = False
    """Whether the trainer's or the evaluation's process makes it."""
    who: str = "service and child"
    """Who dies, where a child makes the call: `service`, `child` or both."""

    def __str__(self) -> str:
        return self.name


def run_dying(arguments: list[str], step: Step, mark: Path, environment: Mapping[str, str]) -> int:
    """Run `seedbed` so that it dies at a step; returns its exit code. The file `mark` is there once it died."""
    paths = [str(DYING), *filter(None, [environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))])]
    dies_at = json.dumps({**asdict(step), "mark": str(mark)})
    more = {**environment, "PYTHONPATH": os.pathsep.join(paths), "SEEDBED_DIES_AT": dies_at}
    ended = run_seedbed(arguments, more)
    assert mark.exists(), f"the step was never reached: {ended.stdout}{ended.stderr}"
    if not step.is_child or "service" in step.who:
        assert ended.returncode == -signal.SIGKILL
    return ended.returncode


def run_seedbed(arguments: list[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `seedbed` to its end."""
    command = [sys.executable, "-m", "seedbed", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
