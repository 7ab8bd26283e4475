"""Ends a server when its parent is gone, even where the parent was killed: the parent holds a pipe, we wait on it.

    python -m seedbed.endpoints.leash COMMAND ARGUMENT …

runs a program that knows nothing of this: it ends (with all its children) when our standard input closes, and we
end with its exit code when it ends by itself. It has a session of its own, so Ctrl-C in a terminal does not reach it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from seedbed.core.leashed import when_parent_ends

GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the command and return its exit code."""
    command = sys.argv[1:]
    if not command:
        sys.stderr.write("usage: python -m seedbed.endpoints.leash COMMAND ARGUMENT …\n")
        return 2
    try:
        child = subprocess.Popen(  # noqa: S603 - the user's own config names the program
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_us,  # noqa: PLW1509 - no thread of ours runs yet
        )
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        return 127
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_stop, args=(child,)).start())
    when_parent_ends(lambda: _stop(child))
    return child.wait()


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End the child's whole session: gently, then for good."""
    _signal_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal_group(child.pid, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _end_with_us() -> None:
    """Have the kernel kill the child if we are killed ourselves (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
