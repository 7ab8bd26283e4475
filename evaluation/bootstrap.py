"""How sure a mean is, and a difference: bootstrap over tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Counts of all draws at once are draws x tasks; past this they are drawn in parts.
_LARGEST_TABLE = 20_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the 95% interval of the bootstrap."""

    mean: float
    low: float
    high: float


def paired_interval(differences: Sequence[float], tasks: Sequence[str], *, draws: int, seed: int = 0) -> Interval:
    """Return the mean of per-row differences and its percentile interval, resampling whole tasks.

    Rows of one task share an instruction, so their differences hang together; resampling rows would pretend to know
    more than there is (cluster bootstrap; Cameron, Gelbach and Miller 2008, who also show that the interval is too
    narrow below a dozen or so clusters). With fewer than two tasks nothing can be said: the interval is everything that
    a difference of scores in [0, 1] can be.

    Args:
        differences: One number a row, one arm minus the other.
        tasks: The task of each row.
        draws: Resamples.
        seed: Of the resampling: the same rows always get the same interval.
    """
    return mean_interval(differences, tasks, draws=draws, seed=seed, least=-1.0)


def mean_interval(
    numbers: Sequence[float], tasks: Sequence[str], *, draws: int, seed: int = 0, least: float = 0.0
) -> Interval:
    """Return a mean with its percentile interval, resampling whole tasks; `least` to 1 is what a number can be."""
    values = np.asarray(numbers, dtype=np.float64)  # (rows,)
    if not len(values):
        return Interval(0.0, least, 1.0)
    _, task_of_row = np.unique(np.asarray(tasks), return_inverse=True)  # (rows,)
    sizes = np.bincount(task_of_row).astype(np.float64)  # (tasks,)
    if len(sizes) < 2:
        return Interval(float(values.mean()), least, 1.0)
    sums = np.bincount(task_of_row, weights=values)  # (tasks,)
    means = _resampled_means(sums, sizes, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def _resampled_means(sums: np.ndarray, sizes: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw as many tasks as there are, with repetition, and average over the rows of those drawn."""
    count = len(sizes)
    at_once = max(1, _LARGEST_TABLE // count)
    means = []
    for start in range(0, draws, at_once):
        # How often each task is drawn; the order of draws does not matter to a mean.
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(at_once, draws - start))  # (draws, tasks)
        means.append((times @ sums) / (times @ sizes))
    return np.concatenate(means)
