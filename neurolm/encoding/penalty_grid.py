"""A grid of ridge penalties that extends itself until the best penalties lie inside it.

A choice at an end of the grid matters where a wider grid predicts better: there the inner score
rises. It does not matter in targets that are not predicted at all (inner correlation below
2 / sqrt(n_trs)), nor where the score no longer depends on the penalty, as in designs with few columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurolm.encoding.held_out import HeldOutScores, held_out_scores
from neurolm.encoding.nested import NestedRidge

START = tuple(float(a) for a in np.logspace(1, 6, 11))
MOST_TARGETS = 2000  # evenly spaced over all targets: a share of 5 % is known to within 1 %
EDGE_SHARE = 0.05  # of choices, at an end beyond which the inner score rises
GAIN = 1e-3  # in the inner correlation: less is no better prediction
STEPS = 2  # values added at an end at once: a decade of the usual grid
LOOK_AHEAD = 4  # times as far is looked, across a stretch on which the score does not change
MOST_ROUNDS = 12
SMALLEST = 1e-7  # of the sum of X's eigenvalues: folds left out with smaller penalties lose all digits of float64


def penalty_grid(
    make_ridge: Callable[[tuple[float, ...]], NestedRidge], Y: np.ndarray, start: tuple[float, ...] = START
) -> tuple[float, ...]:
    """Extend a grid at either end until fewer than 5 % of choices lie at an end where that matters.

    Only the inner folds of the training rows are looked at, never a row that is scored.

    Parameters
    ----------
    make_ridge : function of a grid
        Makes the `NestedRidge` of one feature space.
    Y : array of shape (n_trs, n_targets)
        At most 2,000 columns of it, evenly spaced, are fitted.
    start : tuple of float
        Ascending, evenly spaced in the logarithm; at least two values.

    Returns
    -------
    tuple of float
        `start`, with as many values below and above it as were needed; none is added below 1e-7 times the sum of the
        eigenvalues of X'X, where leaving a fold out can no longer be computed.
    """
    Y = Y[:, np.unique(np.linspace(0, Y.shape[1] - 1, min(MOST_TARGETS, Y.shape[1])).astype(int))]
    grid = start
    for _ in range(MOST_ROUNDS):
        ratio, ridge = grid[1] / grid[0], make_ridge(grid)
        floor = SMALLEST * _total_variance(ridge)
        further = [ratio ** (STEPS * k) for k in range(LOOK_AHEAD, 0, -1)]
        probe = [a for f in further if (a := grid[0] / f) >= floor] + [*grid] + [grid[-1] * f for f in further[::-1]]
        known, wider = held_out_scores(ridge, Y), held_out_scores(make_ridge(tuple(probe)), Y)
        at_low, at_high = edge_shares(known, wider, grid, len(Y))
        if max(at_low, at_high) <= EDGE_SHARE:
            break
        below = [a for k in range(STEPS, 0, -1) if (a := grid[0] / ratio**k) >= floor] if at_low > EDGE_SHARE else []
        above = [grid[-1] * ratio**k for k in range(1, STEPS + 1)] if at_high > EDGE_SHARE else []
        if not below and not above:
            break
        grid = (*below, *grid, *above)
    return grid


def edge_shares(known: HeldOutScores, wider: HeldOutScores, grid: tuple[float, ...], n_trs: int) -> tuple[float, float]:
    """Shares of the choices of predicted targets that leave the grid downwards and upwards, and predict better for it, once they may."""
    is_predicted = wider.inner_scores > 2 / np.sqrt(n_trs)
    better = is_predicted & (wider.inner_scores > known.inner_scores + GAIN)
    n_choices = max(1, int(is_predicted.sum()))
    low, high = (wider.best_alphas < grid[0]) & better, (wider.best_alphas > grid[-1]) & better
    return float(low.sum() / n_choices), float(high.sum() / n_choices)


def _total_variance(ridge: NestedRidge) -> float:
    """The sum of the eigenvalues of X'X, X as it is fitted."""
    if ridge.standardize:
        return float(ridge.X.shape[0] * ridge.X.shape[1])
    X = np.asarray(ridge.X, dtype=np.float64)
    return float(np.square(X - X.mean(0)).sum())
