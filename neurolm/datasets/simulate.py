"""Simulated voxels with planted weights: the truth that an analysis must find again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import constant_columns
from neurolm.checks import bad, check_finite
from neurolm.statistics import ar1_noise

AR1 = 0.4  # lag-1 autocorrelation of the noise; of the order that BOLD at a TR of 2 s has


@dataclass(frozen=True)
class SimulatedSubject:
    """Simulated responses and everything that is true of them.

    Parameters
    ----------
    bold : array of shape (n_trs, n_voxels), float32
        Signal plus noise, unit variance each voxel in expectation.
    signal : array of shape (n_trs, n_voxels)
        What a perfect model predicts.
    weights : array of shape (n_features, n_voxels)
        signal = X @ weights.
    explainable_correlation : array of shape (n_voxels,)
        Correlation of signal and bold in expectation, sqrt(snr / (1 + snr)): what a perfect model
        reaches on long data. 0 where the SNR is 0.
    """

    bold: np.ndarray
    signal: np.ndarray
    weights: np.ndarray
    explainable_correlation: np.ndarray


def simulate_subject(
    design_matrix: Any,
    n_voxels: int = 50,
    *,
    weights: Any = None,
    snr: Any = 0.5,
    n_delays: int = 1,
    rank: int | None = 3,
    ar1: float = AR1,
    run_onsets: Any = (0,),
    seed: int | np.random.Generator = 0,
) -> SimulatedSubject:
    """Plant weights in a design matrix and add autocorrelated noise.

    Parameters
    ----------
    design_matrix : array of shape (n_trs, n_features)
        With `n_delays` > 1, delay-major as `Delays` makes it: all features at the first delay first.
        Whatever the analysis will use, or something it must tell apart from it.
    n_voxels : int
    weights : array of shape (n_features, n_voxels), optional
        Plant these, scaled to the SNR, instead of drawing them: several listeners who share them
        share their signal. `n_delays` and `rank` are then not used.
    snr : float or array of shape (n_voxels,)
        Variance of the signal over variance of the noise; 0 plants no signal.
    n_delays : int
        How many delayed copies the design holds. Over them the weights of a voxel follow one smooth
        bump, whose peak differs from voxel to voxel.
    rank : int or None
        Voxels read this many mixtures of the features; None gives every voxel its own.
    ar1 : float in [0, 1)
        Lag-1 autocorrelation of the noise.
    run_onsets : sequence of int
        First row of each run: noise does not continue from one run to the next.
    seed : int or numpy Generator

    Returns
    -------
    subject : SimulatedSubject
        Reproducible: the same arguments give the same numbers.
    """
    X = np.asarray(design_matrix, dtype=np.float64)
    n_features, snr = _check(X, n_voxels, snr, n_delays, ar1)
    rng = np.random.default_rng(seed)
    if weights is None:
        weights = _plant(rng, n_features, n_voxels, n_delays, rank)
    elif np.shape(weights) != (X.shape[1], n_voxels):
        raise bad("weights", f"have shape (n_features, n_voxels), here {(X.shape[1], n_voxels)}", np.shape(weights))
    signal = X @ weights
    scale = np.where(snr > 0, np.sqrt(snr / (1 + snr)), 0) / _spread(signal)
    noise = _ar1_noise(rng, len(X), n_voxels, ar1, run_onsets) / np.sqrt(1 + snr)
    bold = signal * scale + noise
    return SimulatedSubject(bold.astype(np.float32), signal * scale, weights * scale, np.sqrt(snr / (1 + snr)))


def _check(X: np.ndarray, n_voxels: int, snr: Any, n_delays: int, ar1: float) -> tuple[int, np.ndarray]:
    if X.ndim != 2 or 0 in X.shape:
        raise bad("design_matrix", "have shape (n_trs, n_features)", X.shape)
    check_finite("design_matrix", X)
    if constant_columns(X).all():
        raise bad("design_matrix", "have a column that changes", "constant columns only")
    if n_delays < 1 or X.shape[1] % n_delays:
        raise bad("n_delays", f"divide the {X.shape[1]} columns of the design", n_delays, "The design is delay-major.")
    snr = np.broadcast_to(np.asarray(snr, dtype=np.float64), (n_voxels,))
    if not (np.isfinite(snr) & (snr >= 0)).all():
        raise bad("snr", "be finite and >= 0", snr, "0 plants no signal.")
    if not 0 <= ar1 < 1:
        raise bad("ar1", "lie in [0, 1)", ar1)
    return X.shape[1] // n_delays, snr


def _plant(rng: np.random.Generator, n_features: int, n_voxels: int, n_delays: int, rank: int | None) -> np.ndarray:
    """Weights (n_delays * n_features, n_voxels): low rank over features, one smooth bump over delays."""
    if rank is None:
        over_features = rng.standard_normal((n_features, n_voxels))
    else:
        over_features = rng.standard_normal((n_features, rank)) @ rng.standard_normal((rank, n_voxels))
    peak = rng.uniform(0.25, 0.75, n_voxels) * (n_delays - 1)
    width = max(n_delays / 4, 0.5)
    over_delays = np.exp(-0.5 * ((np.arange(n_delays)[:, None] - peak) / width) ** 2)  # (n_delays, n_voxels)
    return (over_delays[:, None, :] * over_features[None, :, :]).reshape(n_delays * n_features, n_voxels)


def _spread(signal: np.ndarray) -> np.ndarray:
    spread = signal.std(axis=0)
    return np.where(spread > 0, spread, 1)


def _ar1_noise(rng: np.random.Generator, n_trs: int, n_voxels: int, ar1: float, run_onsets: Any) -> np.ndarray:
    """Stationary AR(1) noise of unit variance, begun again with each run."""
    starts = sorted({0, *(int(onset) for onset in run_onsets)})
    if starts[0] < 0 or starts[-1] >= n_trs:
        raise bad("run_onsets", f"lie in [0, n_trs), here [0, {n_trs})", list(run_onsets))
    noise = rng.standard_normal((n_trs, n_voxels))
    for start, end in zip(starts, [*starts[1:], n_trs], strict=True):
        noise[start:end] = ar1_noise(noise[start:end], ar1)
    return noise
