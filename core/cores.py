"""How many cores there are to compute on."""

import os


def usable_cores() -> int:
    """Return how many cores this process may use: where it is pinned, fewer than the machine has."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1
