"""Confidence intervals of held-out scores, over stretches of time and over subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neurolm.arrays import batches
from neurolm.checks import bad
from neurolm.statistics import (
    correlation_of_sums,
    draw_counts,
    mean_interval,
    percentile_interval,
    run_slices,
    surrogate_draws,
    tails,
)


def bootstrap_correlation(
    Y: np.ndarray,
    Y_pred: np.ndarray,
    *,
    run_onsets: Sequence[int] = (0,),
    block_trs: int | None = None,
    n_bootstrap: int = 1000,
    ci: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of each voxel's held-out correlation over runs, or blocks of a run, drawn with replacement.

    Parameters
    ----------
    Y, Y_pred : array of shape (n_trs, n_voxels)
    run_onsets : sequence of int
    block_trs : int, optional
        Length of a block in TRs, longer than the memory of BOLD; None draws whole runs.

    Returns
    -------
    low, high : (n_voxels,)
        Percentiles. Each draw's correlation is exact, from the sums of its blocks.
    """
    slices = run_slices(run_onsets, len(Y))
    if block_trs is not None:
        slices = [slice(a, min(a + block_trs, s.stop)) for s in slices for a in range(s.start, s.stop, block_trs)]
    if len(slices) < 3:
        raise bad("runs or blocks", "be at least 3 to be drawn from", len(slices), "Give block_trs for a single run.")
    draws = draw_counts(len(slices), n_bootstrap, rng)
    parts = [percentile_interval(_drawn_correlation(Y[:, v], Y_pred[:, v], slices, draws), ci) for v in batches(Y.shape[1], 1000)]
    low, high = (np.concatenate(ends) for ends in zip(*parts))
    return low, high


def _drawn_correlation(Y: np.ndarray, Y_pred: np.ndarray, slices: list[slice], draws: np.ndarray) -> np.ndarray:
    """(n_bootstrap, n_voxels): correlation over the blocks that each row of `draws` counts."""
    y, p = (a.astype(np.float64) - a.mean(0) for a in (Y, Y_pred))
    parts = (y, p, y * y, p * p, y * p, np.ones_like(y))
    sums = np.stack([[part[s].sum(0) for s in slices] for part in parts])  # (6, n_blocks, n_voxels)
    sy, sp, syy, spp, syp, n = draws @ sums
    with np.errstate(invalid="ignore", divide="ignore"):  # a run that was never drawn
        return correlation_of_sums(syp - sy * sp / n, syy - sy**2 / n, spp - sp**2 / n)


def bootstrap_mean(
    values: np.ndarray, *, n_bootstrap: int = 2000, ci: float = 0.95, rng: np.random.Generator | int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval of the mean over subjects; `n_bootstrap` and `rng` have no effect.

    Percentiles of bootstrap draws, which this function used to give, hold the mean of 3 subjects in 75 %
    of cases at a nominal 95 %, of 5 in 83 % and of 27 in 93 %; the t interval in 95 % (docs/calibration.md).

    Parameters
    ----------
    values : array of shape (n_subjects, ...)
        Scores, or paired differences of scores. NaN stays NaN.

    Returns
    -------
    low, high : arrays of shape (...)
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 3:
        raise bad("values", "hold at least 3 subjects", len(values), "Two say nothing about the next one.")
    return mean_interval(values, ci)


_NEARLY_ONE = 1 - 1e-12


def residual_bootstrap(
    Y: np.ndarray,
    predictions: np.ndarray,
    n: int,
    *,
    run_onsets: Sequence[int] = (0,),
    rng: np.random.Generator | int = 0,
) -> Iterator[np.ndarray]:
    """Responses that could have been measured had the predicted part been the same: `n` arrays like Y.

    Parameters
    ----------
    Y, predictions : array of shape (n_trs, n_voxels)
        Predictions are out of sample; rows that were never predicted are NaN.
    run_onsets : sequence of int
        First row of each run; each run's residuals are shifted by their own lag, the same for all voxels.
    """
    signal = predicted_part(Y, predictions)
    rest = Y - signal
    for draw in surrogate_draws(len(Y), n, run_onsets=run_onsets, rng=rng):
        yield signal + draw(rest)


def predicted_part(Y: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Predictions scaled to fit Y best, 0 where they relate negatively: (n_trs, n_voxels)."""
    known = np.isfinite(predictions)
    p = np.where(known, predictions, 0).astype(np.float64)
    p = np.where(known, p - p.sum(0) / np.maximum(known.sum(0), 1), 0)
    with np.errstate(invalid="ignore"):
        product = np.einsum("tv,tv->v", p, Y - Y.mean(0))
    size = np.einsum("tv,tv->v", p, p)
    slope = np.divide(product, size, out=np.zeros_like(size), where=(size > 0) & (product > 0))
    return p * slope


def z_interval(scores: np.ndarray, drawn: np.ndarray, ci: float = 0.95) -> np.ndarray:
    """Student's interval (2, ...) in Fisher's z around `scores` (...), from bootstrap scores (n, ...); NaN where a score is."""
    z, drawn_z = (np.arctanh(np.clip(a, -_NEARLY_ONE, _NEARLY_ONE)) for a in (scores, drawn.astype(np.float64)))
    return np.tanh(spread_interval(z, drawn_z, ci))


def spread_interval(values: np.ndarray, drawn: np.ndarray, ci: float = 0.95) -> np.ndarray:
    """Student's interval (2, ...) around `values` (...), from the spread of bootstrap values (n, ...)."""
    from scipy.stats import t

    half = t.ppf(tails(ci)[1], len(drawn) - 1) * drawn.astype(np.float64).std(0, ddof=1)
    return np.stack([values - half, values + half])
