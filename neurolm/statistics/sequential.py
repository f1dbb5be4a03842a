"""Sequential permutation tests: columns leave the null once their p is known well enough.

A column whose null has reached its score `stop_after` times has the p `stop_after` / draws (Besag & Clifford
1991), whatever further draws would bring, and need not be fitted again. Of voxels that are not
predicted most leave after some dozens of draws; those that may pass a false discovery rate keep all.
The largest score over voxels of a draw needs every voxel in it: no max-T where columns leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from neurolm.arrays import batches
from neurolm.progress import Progress, silent
from neurolm.statistics.surrogates import Draw

STOP_AFTER = 10
FIRST_DRAWS = 20


def draw_ranges(n: int, stop_after: int | None) -> Iterator[slice]:
    """All draws at once, or for a sequential test slices that double: columns can leave after each."""
    start, size = 0, n if stop_after is None else FIRST_DRAWS
    while start < n:
        yield slice(start, min(start + size, n))
        start, size = start + size, start + size


def null_by_draws(
    score: Callable[[np.ndarray], np.ndarray],
    Y: np.ndarray,
    measured: np.ndarray,
    draws: Sequence[Draw],
    *,
    stop_after: int | None = None,
    n_targets_batch: int = 20_000,
    progress: Progress = silent,
) -> np.ndarray:
    """Scores of surrogates of the columns of Y: (n_draws, n_columns), NaN where a column had left.

    Parameters
    ----------
    score : function of (n_trs, n_targets) returning (n_targets,)
        Each column by itself; surrogates are given as further columns.
    measured : array of shape (n_columns,)
        The scores of Y itself.
    draws : sequence of functions that make a surrogate
        From `surrogate_draws`.
    stop_after : int, optional
        Exceedances after which a column leaves; None keeps all.
    n_targets_batch : int
        Most targets that go into one call of `score`.
    """
    null = np.full((len(draws), len(measured)), np.nan, dtype=measured.dtype)
    active = np.ones(len(measured), dtype=bool)
    for some in draw_ranges(len(draws), stop_after):
        columns = np.flatnonzero(active)
        if not len(columns):
            break
        for part in batches(some.stop - some.start, max(1, n_targets_batch // len(columns))):
            rows = np.arange(some.start + part.start, min(some.start + part.stop, some.stop))
            made = [draws[i](Y[:, columns]).astype(Y.dtype, copy=False) for i in rows]
            null[np.ix_(rows, columns)] = score(np.concatenate(made, axis=1)).reshape(len(rows), -1)
            progress(rows[-1] + 1, len(draws), "permutations")
        active = ~has_left(measured, null, stop_after, some.stop)
    return null


def has_left(scores: np.ndarray, null: np.ndarray, stop_after: int | None, n_drawn: int) -> np.ndarray:
    """Where the null of the first `n_drawn` draws has reached the score `stop_after` times; scores that are NaN leave at once."""
    if stop_after is None:
        return np.zeros(scores.shape, dtype=bool)
    return (~(null[:n_drawn] < scores)).sum(0) >= stop_after
