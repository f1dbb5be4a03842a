"""One result for every estimator of a temporal receptive window, and the rules that they share.

At zero signal every published estimator returns plausible windows. So an index is given only for
voxels whose held-out prediction is significant (`gate`); everywhere else it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.space import Space, space_arrays, space_from_arrays
from neurolm.checks import bad, check_choice, check_same_length
from neurolm.statistics import fdr, percentile_interval
from neurolm.storage import read_h5_of, write_h5


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
        The index computed again on each draw; percentiles 2.5 and 97.5 are taken over the finite
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


Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def fit_curves(
    model: Model, y: np.ndarray, start: np.ndarray, bounds: np.ndarray, n_steps: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the same curve to every column of y.

    Parameters
    ----------
    model : function of parameters (n_voxels, n_parameters)
        Returns values (n_voxels, n_points) and derivatives (n_voxels, n_points, n_parameters).
    y : array of shape (n_points, n_voxels)
    start : array of shape (n_voxels, n_parameters)
    bounds : array of shape (2, n_parameters)
        Steps that leave them end on them.
    n_steps : int

    Returns
    -------
    parameters : array of shape (n_voxels, n_parameters)
    cost : array of shape (n_voxels,)
        Sum of squared residuals; never larger than at the start.
    """
    check_same_length("columns of y", y.shape[1], "start", len(start))
    target, best = y.T, np.clip(start, *bounds)
    values, slopes = model(best)
    cost = ((target - values) ** 2).sum(1)
    damping = np.full(len(best), 1e-2)
    for _ in range(n_steps):
        gram = np.einsum("vpi,vpj->vij", slopes, slopes)
        pull = np.einsum("vpi,vp->vi", slopes, target - values)
        diagonal = np.einsum("vii->vi", gram)
        damped = gram + np.einsum("vi,ij->vij", damping[:, None] * diagonal + 1e-9, np.eye(best.shape[1]))
        tried = np.clip(best + np.linalg.solve(damped, pull[..., None])[..., 0], *bounds)
        new_values, new_slopes = model(tried)
        new_cost = ((target - new_values) ** 2).sum(1)
        better = new_cost < cost
        best = np.where(better[:, None], tried, best)
        values = np.where(better[:, None], new_values, values)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
    return best, cost


FORMAT = "neurolm windows 1"
ARRAYS = ("scales", "curve", "index", "interval", "p", "valid")
BESIDE = ("model", "untrained")


def save_windows(path: str | Path, result: WindowResult, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a result, those beside it and those in its details.

    Parameters
    ----------
    provenance : mapping
        Settings, versions and hashes, as JSON-able values.
    """
    arrays, attributes = _taken_apart(result, "")
    write_h5(path, arrays, attributes | {"format": FORMAT, "provenance": dict(provenance or {})})


def load_windows(path: str | Path) -> tuple[WindowResult, dict[str, Any]]:
    """Read what `save_windows` wrote: the result and its provenance.

    Raises
    ------
    FileError
        If the file is missing, cut short or something else.
    """
    arrays, attributes = read_h5_of(path, FORMAT, "Make it again with `neurolm timescales map`.")
    return _put_together(arrays, attributes, ""), attributes["provenance"]


def _taken_apart(result: WindowResult, prefix: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays: dict[str, np.ndarray] = {f"{prefix}{name}": np.asarray(getattr(result, name)) for name in ARRAYS}
    about: dict[str, Any] = {"estimator": result.estimator, "units": result.units, "details": {}, "inside": []}
    attributes: dict[str, Any] = {}
    if result.space is not None:
        placed, about["space"] = space_arrays(result.space)
        arrays |= {prefix + name: values for name, values in placed.items()}
    inside: dict[str, Any] = {name: getattr(result, name) for name in BESIDE} | dict(result.details)
    for name, value in inside.items():
        if isinstance(value, WindowResult):
            about["inside"].append(name)
            more, told = _taken_apart(value, f"{prefix}{name}/")
            arrays |= more
            attributes |= told
        elif isinstance(value, np.ndarray):
            arrays[f"{prefix}details/{name}"] = value
        elif name not in BESIDE:
            about["details"][name] = value
    return arrays, attributes | {f"{prefix}about": about}


def _put_together(arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any], prefix: str) -> WindowResult:
    about = attributes[f"{prefix}about"]
    own = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    inside = {name: _put_together(arrays, attributes, f"{prefix}{name}/") for name in about["inside"]}
    details = {name.removeprefix("details/"): values for name, values in own.items() if name.startswith("details/")}
    beside: dict[str, Any] = {name: inside.pop(name, None) for name in BESIDE}
    space = space_from_arrays(own, about["space"]) if "space" in about else None
    fields: dict[str, Any] = {name: own[name] for name in ARRAYS} | {"valid": own["valid"].astype(bool)}
    return WindowResult(
        about["estimator"],
        **fields,
        units=about["units"],
        details={**about["details"], **details, **inside},
        space=space,
        **beside,
    )
