"""Whether a difference is more than chance: paired bootstrap over tasks, and McNemar's exact test."""

import math
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
    values = np.asarray(differences, dtype=np.float64)  # (rows,)
    if not len(values):
        return Interval(0.0, -1.0, 1.0)
    _, task_of_row = np.unique(np.asarray(tasks), return_inverse=True)  # (rows,)
    sizes = np.bincount(task_of_row).astype(np.float64)  # (tasks,)
    if len(sizes) < 2:
        return Interval(float(values.mean()), -1.0, 1.0)
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
