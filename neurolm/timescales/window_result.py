"""One result for every estimator of a temporal receptive window, and the rules that they share.

At zero signal every published estimator returns plausible windows. So an index is given only for
voxels whose held-out prediction is significant (`gate`); everywhere else it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurolm.brain.space import Space
from neurolm.checks import bad, check_choice, check_same_length
from neurolm.statistics import fdr, percentile_interval


@dataclass(frozen=True, eq=False)
class WindowResult:
    """A curve over scales for every voxel, and the window that it shows.

    Parameters
    ----------
    estimator : str
    scales : array of shape (n_scales,)
        Context lengths, lags, block sizes or timescales, rising, in `units`.
    curve : array of shape (n_scales, n_voxels)
    index : array of shape (n_voxels,)
        The window of each voxel in `units`; NaN where `valid` is False or nothing was found.
    interval : array of shape (2, n_voxels)
        Lower and upper end of the index's 95 % interval; NaN like the index.
    p : array of shape (n_voxels,)
        Of the voxel's held-out prediction, under a null that keeps autocorrelation; NaN for the
        units of a language model, which are not measured but known (only their forecasts are tested).
    valid : bool array of shape (n_voxels,)
        q <= level of the false discovery rate over voxels; True for units.
    units : {"words", "s"}
    model : WindowResult, optional
        The same estimator on the language model's own units: what the voxels are compared with.
    untrained : WindowResult, optional
        The same again on a model of that architecture that has learned nothing.
    details : mapping
        What the estimator gives besides: fitted curves, ratios, settings; of tested voxels "level", the false discovery
        rate, and "n_null", the surrogates behind p (0: not known).
    space : Space, optional
        Where the voxels are.
    """

    estimator: str
    scales: np.ndarray
    curve: np.ndarray
    index: np.ndarray
    interval: np.ndarray
    p: np.ndarray
    valid: np.ndarray
    units: str
    model: WindowResult | None = None
    untrained: WindowResult | None = None
    details: dict[str, Any] = field(default_factory=dict)
    space: Space | None = None

    def __post_init__(self) -> None:
        check_choice("units", self.units, ("words", "s"))
        n_scales, n_voxels = self.curve.shape
        check_same_length("scales", len(self.scales), "the rows of curve", n_scales)
        for name in ("index", "p", "valid"):
            check_same_length(name, len(getattr(self, name)), "the columns of curve", n_voxels)
        if self.interval.shape != (2, n_voxels):
            raise bad("interval", f"have shape (2, {n_voxels})", self.interval.shape)
        if np.isfinite(self.index[~self.valid]).any():
            n_plausible = int(np.isfinite(self.index[~self.valid]).sum())
            raise bad("index", "be NaN where the prediction is not significant", f"{n_plausible} finite values")

    def beside(self, model: WindowResult, untrained: WindowResult | None = None) -> WindowResult:
        """The same result with the language model's own windows beside it, and those of an untrained one."""
        return replace(self, model=model, untrained=untrained)


def gate(p: np.ndarray, level: float = 0.05) -> np.ndarray:
    """(n_voxels,) bool: where a voxel's prediction is significant at this false discovery rate.

    Under a global null the chance that any voxel passes is at most `level` (Benjamini-Hochberg).
    """
    q = fdr(p)
    return np.isfinite(q) & (q <= level)


def gated(
    estimator: str,
    scales: np.ndarray,
    curve: np.ndarray,
    index: np.ndarray,
    draws: np.ndarray,
    p: np.ndarray | None,
    units: str,
    *,
    level: float = 0.05,
    n_null: int = 0,
    details: dict[str, Any] | None = None,
    space: Space | None = None,
) -> WindowResult:
    """Put a result together: silence insignificant voxels, take the interval from bootstrap draws.

    Parameters
    ----------
    draws : array of shape (n_bootstrap, n_voxels)
        The index computed anew on each draw; percentiles 2.5 and 97.5 are taken over the finite
        ones, where at least half of them are.
    p : array of shape (n_voxels,) or None
        None for the units of a language model: nothing is silenced.
    level : float
        False discovery rate.
    n_null : int
        Surrogates behind p, where known: no p is smaller than 1 / (1 + n_null).
    """
    n_voxels = len(index)
    if p is None:
        p, valid = np.full(n_voxels, np.nan), np.ones(n_voxels, dtype=bool)
    else:
        check_same_length("p", len(p), "voxels", n_voxels, "Give the p of each voxel's held-out prediction.")
        valid = gate(p, level)
        details = {"level": level, "n_null": n_null, **(details or {})}
    interval = np.full((2, n_voxels), np.nan)
    if len(draws):
        found = np.isfinite(draws).sum(0) >= 0.5 * len(draws)
        interval[:, found] = percentile_interval(draws[:, found])
    index = np.where(valid, index, np.nan)
    interval[:, ~np.isfinite(index)] = np.nan
    return WindowResult(
        estimator,
        np.asarray(scales, dtype=np.float64),
        curve,
        index,
        interval,
        p,
        valid,
        units,
        details=details or {},
        space=space,
    )


def saturation(scales: np.ndarray, curve: np.ndarray, share: float = 0.95) -> np.ndarray:
    """Least scale at which the running maximum of a rising curve reaches `share` of its final value.

    Parameters
    ----------
    scales : (n_scales,), rising and positive
    curve : (n_scales, n_voxels)

    Returns
    -------
    (n_voxels,) interpolated in the logarithm of the scale; the first scale where the curve begins
    there already; NaN where the curve never rises above zero.
    """
    best = np.maximum.accumulate(curve, axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(best[-1] > 0, _first_reaching(scales, best, share * best[-1]), np.nan)


def crossing(scales: np.ndarray, curve: np.ndarray, level: float) -> np.ndarray:
    """Least scale at which a curve's running maximum reaches `level`: (n_voxels,), log-interpolated.

    NaN where the level is never reached: the window is longer than any scale that was asked for.
    """
    best = np.maximum.accumulate(curve, axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(best[-1] >= level, _first_reaching(scales, best, np.full(curve.shape[1], level)), np.nan)


def _first_reaching(scales: np.ndarray, rising: np.ndarray, target: np.ndarray) -> np.ndarray:
    log = np.log(np.asarray(scales, dtype=np.float64))
    after = np.argmax(rising >= target, axis=0)
    before = np.maximum(after - 1, 0)
    voxel = np.arange(rising.shape[1])
    low, high = rising[before, voxel], rising[after, voxel]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(after > before, (target - low) / (high - low), 0.0)
    return np.exp(log[before] + np.clip(part, 0, 1) * (log[after] - log[before]))
