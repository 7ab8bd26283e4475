"""`python -m seedbed.core.leashed MODULE ARGUMENT …`: run a module that ends when whoever started it is gone.

The parent holds a pipe that is our standard input, and the kernel closes it however the parent ends. Then we ask
ourselves to end, as SIGTERM does, so that what can be saved is; whoever takes longer than `GRACE_S` is killed.
"""

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable

GRACE_S = 60.0


def when_parent_ends(act: Callable[[], None]) -> None:
    """Call `act`, on a thread, once standard input reaches its end."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()


def end() -> None:
    """End this process: gently, then for good."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the module in this process, under its own name and arguments."""
    module = sys.argv[1]
    when_parent_ends(end)
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
