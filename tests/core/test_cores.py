"""How many cores there are to compute on."""

import subprocess
import sys


def test_a_pinned_process_sees_only_the_cores_it_may_use() -> None:
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    asked = f"{pinned}; from seedbed.core.cores import usable_cores; print(usable_cores())"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"
