"""From a judge's verdicts to the share of answers it prefers, how sure that is, and what length has to do with it."""

from collections.abc import Sequence

import numpy as np

from seedbed.core.reports import Interval, Preference
from seedbed.evaluation.bootstrap import Interval as Estimate
from seedbed.evaluation.bootstrap import mean_interval
from seedbed.evaluation.comparing import Compared, Side
from seedbed.evaluation.significance import sign_flip

_STEPS = 50
_LONGEST_STEP = 2.0
_RIDGE = np.array([1e-3, 1e-1])
"""On the constant and on the slope: verdicts that are all alike have no finite estimate without it."""
_DRAWS_OF_LENGTH = 2000
"""At most: each draw is a regression."""


def preference(judge: str, rows: Sequence[Compared], *, draws: int, seed: int = 0) -> Preference:
    """Summarise what a judge prefers.

    The share at equal length is that of AlpacaEval 2 without its term for each task (Dubois et al. 2024,
    arXiv:2404.04475): the log odds that the adapter wins are a constant plus a slope times tanh of the standardised
    difference in length, and what counts is the constant.

    Args:
        judge: The model that judged.
        rows: Its verdicts.
        draws: Of the bootstrap, clustered by task, and of the sign-flip test.
        seed: Of both.
    """
    known = [(row, value) for row in rows if (value := row.value) is not None]
    values = [value for _, value in known]
    tasks = [row.pair.task for row, _ in known]
    found = mean_interval(values, tasks, draws=draws, seed=seed)
    lengths = [float(len(row.pair.adapter) - len(row.pair.base)) for row, _ in known]
    controlled = length_controlled(values, lengths, tasks, draws=min(draws, _DRAWS_OF_LENGTH), seed=seed)
    asked = [row for row, _ in known if row.is_asked]
    first = [side for row in asked for side in _for_first_place(row)]
    return Preference(
        judge=judge,
        n=len(known),
        tasks=len(set(tasks)),
        unread=len(rows) - len(known),
        wins=sum(value == 1 for value in values),
        ties=sum(value == 0.5 for value in values),
        losses=sum(value == 0 for value in values),
        share=found.mean if known else 0.5,
        interval=Interval(n=len(known), low=found.low, high=found.high),
        p=sign_flip([value - 0.5 for value in values], tasks, draws=draws, seed=seed),
        length_controlled=controlled.mean,
        length_controlled_interval=Interval(n=len(known), low=controlled.low, high=controlled.high),
        orders_agree=sum(row.base_first == row.adapter_first for row in asked) / len(asked) if asked else None,
        first_place=sum(first) / len(first) if first else None,
    )


def length_controlled(
    values: Sequence[float], lengths: Sequence[float], tasks: Sequence[str], *, draws: int, seed: int = 0
) -> Estimate:
    """Return the share of wins at answers of equal length, with the interval of a bootstrap by task.

    Args:
        values: 1, 0.5 or 0 a row.
        lengths: Adapter's minus base's, in characters.
        tasks: The task of each row.
        draws: Resamples.
        seed: Of the resampling.
    """
    if not values:
        return Estimate(0.5, 0.0, 1.0)
    outcome = np.asarray(values, dtype=np.float64)  # (rows,)
    difference = np.asarray(lengths, dtype=np.float64)
    spread = difference.std()
    slope_by = np.tanh(difference / spread) if spread else np.zeros_like(difference)  # (rows,)
    once = _shares(outcome, slope_by, np.ones((1, len(outcome))))[0]
    _, task_of_row = np.unique(np.asarray(tasks), return_inverse=True)
    count = int(task_of_row.max()) + 1
    if count < 2:
        return Estimate(float(once), 0.0, 1.0)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)  # (draws, tasks)
    low, high = np.quantile(_shares(outcome, slope_by, times[:, task_of_row].astype(np.float64)), [0.025, 0.975])
    return Estimate(float(once), float(low), float(high))


def _shares(outcome: np.ndarray, slope_by: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fit one weighted logistic regression a draw by Newton's method, and return each share at slope_by = 0.

    Args:
        outcome: (rows,) 0 to 1.
        slope_by: (rows,) what the slope multiplies.
        weights: (draws, rows).
    """
    fitted = np.zeros((len(weights), 2))  # constant and slope of each draw
    for _ in range(_STEPS):
        odds = fitted[:, :1] + fitted[:, 1:] * slope_by
        expected = 1 / (1 + np.exp(-odds))  # (draws, rows)
        error, curve = weights * (outcome - expected), weights * expected * (1 - expected)
        gradient = np.stack([error.sum(1), error @ slope_by], axis=1) - _RIDGE * fitted
        mixed = curve @ slope_by
        hessian = np.empty((len(weights), 2, 2))
        hessian[:, 0, 0], hessian[:, 1, 1] = curve.sum(1) + _RIDGE[0], curve @ slope_by**2 + _RIDGE[1]
        hessian[:, 0, 1] = hessian[:, 1, 0] = mixed
        step = np.clip(np.linalg.solve(hessian, gradient[..., None])[..., 0], -_LONGEST_STEP, _LONGEST_STEP)
        fitted += step
        if np.abs(step).max() < 1e-9:
            break
    shares: np.ndarray = 1 / (1 + np.exp(-fitted[:, 0]))
    return shares


def _for_first_place(row: Compared) -> list[bool]:
    found = []
    if row.base_first not in {None, Side.TIE}:
        found.append(row.base_first is Side.BASE)
    if row.adapter_first not in {None, Side.TIE}:
        found.append(row.adapter_first is Side.ADAPTER)
    return found
