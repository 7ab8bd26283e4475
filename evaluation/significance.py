"""Whether a difference is more than chance: exact tests for pairs, Holm's correction, Wilson's interval."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from seedbed.evaluation.bootstrap import Interval

_MOST_TASKS_ENUMERATED = 14
_AT_ONCE = 4_000_000
_95 = 1.959963984540054
"""The 97.5% quantile of the normal distribution."""


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided exact p-value of McNemar's test for paired right (1) and wrong (0) answers.

    Only rows on which the two disagree tell anything; under chance each side wins half of them (binomial).
    """
    gained = sum(1 for one, other in zip(first, second, strict=True) if other > one)
    lost = sum(1 for one, other in zip(first, second, strict=True) if other < one)
    disagreements = gained + lost
    tail = sum(math.comb(disagreements, wins) for wins in range(min(gained, lost) + 1))
    # Integers divided, not floats multiplied: 2 ** -disagreements would underflow past a thousand rows.
    p_value: float = 2 * tail / 2**disagreements
    return min(1.0, p_value)


def sign_flip(differences: Sequence[float], tasks: Sequence[str], *, draws: int, seed: int = 0) -> float | None:
    """Return the two-sided p-value of the paired randomisation test, clustered by task.

    If the arms were equal, each task's difference could as well have had the other sign. All signs are tried up to 14
    tasks; beyond, `draws` random ones and the one that was seen (Phipson and Smyth 2010). Unlike McNemar's test it
    takes scores between 0 and 1, and rows of one task that hang together.

    Returns:
        None with fewer than two tasks, where nothing can be said.
    """
    _, task_of_row = np.unique(np.asarray(tasks), return_inverse=True) if len(tasks) else (None, np.zeros(0, int))
    sums = np.bincount(task_of_row, weights=np.asarray(differences, dtype=np.float64))  # (tasks,)
    count = len(sums)
    if count < 2:
        return None
    # A hair less than what was seen: sums of the same numbers in another order are equal, too.
    seen = abs(sums.sum()) - 1e-9
    if count <= _MOST_TASKS_ENUMERATED:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))  # (2 ** tasks, tasks)
        return float(np.mean(np.abs(signs @ sums) >= seen))
    rng, at_once, reached = np.random.default_rng(seed), max(1, _AT_ONCE // count), 0
    for start in range(0, draws, at_once):
        signs = rng.choice((1.0, -1.0), size=(min(at_once, draws - start), count))
        reached += int(np.sum(np.abs(signs @ sums) >= seen))
    return (reached + 1) / (draws + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given.

    Whatever is below 0.05 then is so with 5% risk of even one false claim among all, however they depend on each other.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = highest
    return corrected


def wilson(hits: int, trials: int) -> Interval:
    """Return a share with Wilson's 95% interval (Wilson 1927), which holds near 0 and 1 and for few trials."""
    if not trials:
        return Interval(0.0, 0.0, 1.0)
    share, square = hits / trials, _95 * _95
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = _95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))
