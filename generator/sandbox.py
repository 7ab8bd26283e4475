"""Running a model's Python in a sandbox: bubblewrap's, with nothing in it but Python and an empty folder.

Model output is hostile text. The program sees no network, no environment, no file of the machine but /usr and Python
itself (read-only), no other process, and no capability; it may not start processes, and memory, CPU time, open files,
what it writes and how long it runs are limited. Where that cannot be had, nothing is run.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream

from seedbed.core.errors import ConfigError

MOST_OUTPUT = 64 * 1024
"""Bytes read of what a program prints; one that prints more is stopped."""

MOST_PROGRAM = 20_000
"""Characters of a program; a longer one is not run."""

_NOBODY = 65534
_FOLDER_BYTES = 1 << 20
_LAUNCHER = """
import resource, sys
memory, cpu = int(sys.argv[1]), int(sys.argv[2])
for name, limit in (("AS", memory), ("CPU", cpu), ("FSIZE", 1 << 20), ("NOFILE", 32), ("NPROC", 0), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
program = sys.stdin.buffer.read().decode()
sys.argv = ["program.py"]
exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
"""


class Ran(StrEnum):
    """How a program ended."""

    WELL = "well"
    FAILED = "failed"
    """With an exception, or it is no Python."""
    STOPPED = "stopped"
    """At a limit of time, memory or output."""
    WANTS_INPUT = "wants_input"
    """It asked for what only a person has: keys typed, a package, a file."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a program."""

    ended: Ran
    output: str
    """Standard output, as far as it was read."""
    error: str
    """The last line of standard error."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use."""

    time_s: float = 5.0
    memory_mb: int = 256


def require_sandbox() -> None:
    """Try the sandbox once.

    Raises:
        ConfigError: It cannot be had on this machine; the message says why.
    """
    if shutil.which("bwrap") is None:
        raise ConfigError(
            "generation.checks.run_code needs bubblewrap to hold programs of a model (`apt install bubblewrap`, Linux "
            "only); install it, or set run_code = false"
        )
    try:
        tried = subprocess.run(_command(Limits()), input=b"print(6 * 7)", capture_output=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(_cannot(str(error))) from error
    if tried.returncode != 0 or tried.stdout != b"42\n":
        raise ConfigError(_cannot(tried.stderr.decode("utf-8", "replace").strip()[-300:]))


async def run_python(program: str, limits: Limits) -> Run:
    """Run a program in the sandbox; `require_sandbox` must have passed."""
    if len(program) > MOST_PROGRAM:
        return Run(Ran.STOPPED, "", "the program is too long to be run")
    output, error, has_ended = bytearray(), bytearray(), False
    async with await anyio.open_process(_command(limits), env={}, cwd="/") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with anyio.move_on_after(limits.time_s):
            async with anyio.create_task_group() as reading:
                reading.start_soon(_read, process.stdout, output, reading.cancel_scope)
                reading.start_soon(_read, process.stderr, error, reading.cancel_scope)
                try:
                    await process.stdin.send(program.encode("utf-8", "replace"))
                    await process.stdin.aclose()
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass  # it ended before it read all; its exit code tells
            has_ended = len(output) < MOST_OUTPUT and len(error) < MOST_OUTPUT
            if has_ended:
                await process.wait()
        if process.returncode is None:
            has_ended = False
            process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
    said = error.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return Run(_ended(process.returncode, said, has_ended=has_ended), output.decode("utf-8", "replace"), said)


async def _read(stream: ByteReceiveStream, into: bytearray, whole: anyio.CancelScope) -> None:
    async for chunk in stream:
        into.extend(chunk[: MOST_OUTPUT - len(into)])
        if len(into) >= MOST_OUTPUT:
            whole.cancel()


def _ended(code: int | None, said: str, *, has_ended: bool) -> Ran:
    if not has_ended or code is None or code > 128 or said.startswith("MemoryError"):
        return Ran.STOPPED
    if code == 0:
        return Ran.WELL
    wants = ("EOFError", "ModuleNotFoundError", "FileNotFoundError", "BlockingIOError", "PermissionError")
    return Ran.WANTS_INPUT if said.startswith(wants) or "Network is unreachable" in said else Ran.FAILED


def _command(limits: Limits) -> list[str]:
    """Build the command line; as root the program becomes nobody, else it is nobody in a user namespace."""
    is_root = os.geteuid() == 0
    python, prefix = Path(sys._base_executable).resolve(), Path(sys.base_prefix).resolve()  # type: ignore[attr-defined]
    inside = Path("/python") / python.relative_to(prefix)
    # fmt: off
    return [
        "bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent",
        "--new-session", "--clearenv", "--cap-drop", "ALL",
        *(("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if is_root else ("--unshare-user", "--disable-userns", "--uid", str(_NOBODY), "--gid", str(_NOBODY))),  # noqa: E501
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--symlink", "usr/bin", "/bin", "--ro-bind", str(prefix), "/python", "--proc", "/proc", "--dev", "/dev",
        "--size", str(_FOLDER_BYTES), "--tmpfs", "/work", "--chmod", "0777", "/work", "--chdir", "/work", "--",
        *(("/usr/bin/setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--") if is_root else ()),  # noqa: E501
        str(inside), "-I", "-S", "-c", _LAUNCHER, str(limits.memory_mb << 20), str(max(1, round(limits.time_s))),
    ]
    # fmt: on


def _cannot(why: str) -> str:
    return (
        f"generation.checks.run_code needs a sandbox, and bubblewrap could make none here: {why or 'no reason given'}; "
        "allow user namespaces, or set run_code = false"
    )
