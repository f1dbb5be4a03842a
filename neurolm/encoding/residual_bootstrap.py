"""Confidence intervals of held-out scores: residuals are shifted in time and the whole fit is repeated.

A cross-validated score varies between data sets because the rows that are predicted are few and slow,
and because the fit itself depends on noise that neighbouring folds share. Resampling fixed predictions knows
the first alone: such intervals hold the truth in about .82 of data sets at a nominal .95. Here
the BOLD is split into what the model predicts out of sample and the rest; the rest is shifted circularly,
which keeps its autocorrelation and covariance over voxels, put back, and everything is fitted again. The
spread of these scores, in Fisher's z, gives Student's interval. Measured coverage: docs/calibration.md.

References
----------
Efron & Tibshirani (1993), An Introduction to the Bootstrap, section 9.4 (bootstrapping residuals);
Politis & Romano (1992), in Exploring the Limits of Bootstrap (circular resampling of time series).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neurolm.statistics import surrogate_draws, tails

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
