"""I/O errors in a real process, by libfiu: writes and syncs fail with EIO at a chance, while they are wanted to."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

IS_THERE = shutil.which("fiu-run") is not None and shutil.which("fiu-ctrl") is not None
WHY_NOT = "libfiu is not installed: apt-get install fiu-utils (make faults)"

EIO = 5
POOL_CALLS = ("rw/pwrite", "sync/fsync", "sync/fdatasync")
"""What SQLite writes by; sockets and pipes go other ways."""


def under_libfiu(command: Sequence[str], control: Path) -> list[str]:
    """Return the command that runs `command` so that its system calls can be made to fail."""
    return ["fiu-run", "-x", "-f", str(control), *command]


@contextmanager
def failing(process: "subprocess.Popen[str]", control: Path, share: float, calls: Sequence[str]) -> Iterator[None]:
    """Let this share of a process's calls fail with EIO while the block runs.

    Args:
        process: Started by `under_libfiu` with the same `control`.
        control: The prefix of its control pipes.
        share: 0 to 1.
        calls: Names of libfiu's points below `posix/io/`.
    """
    for call in calls:
        point = f"name=posix/io/{call},probability={share},failinfo={EIO}"
        _control(process, control, f"enable_random {point}")
    try:
        yield
    finally:
        if process.poll() is None:
            for call in calls:
                _control(process, control, f"disable name=posix/io/{call}")


def _control(process: "subprocess.Popen[str]", control: Path, command: str) -> None:
    pipe = control.with_name(f"{control.name}-{process.pid}.in")
    while not pipe.exists():
        assert process.poll() is None, "the process ended"
        time.sleep(0.05)
    subprocess.run(["fiu-ctrl", "-f", str(control), "-c", command, str(process.pid)], check=True, timeout=60)
