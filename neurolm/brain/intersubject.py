"""Intersubject correlation: what listeners to the same story share.

Leave-one-out ISC correlates a listener with the mean of the others; pairwise ISC correlates two
listeners. Neither is a noise ceiling: `noise_ceiling` turns the pairwise mean into one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurolm.arrays import columnwise_correlation, constant_columns
from neurolm.brain.surrogates import surrogates
from neurolm.checks import bad, check_choice
from neurolm.progress import Progress, silent

METHODS = ("leave_one_out", "pairwise")


def intersubject_correlation(data: np.ndarray, method: str = "leave_one_out") -> np.ndarray:
    """Correlate listeners with each other, voxel by voxel.

    Parameters
    ----------
    data : array of shape (n_subjects, n_trs, n_voxels)
        The same story, the same rows, the same voxels for all.
    method : {"leave_one_out", "pairwise"}

    Returns
    -------
    isc : array of shape (n_subjects, n_voxels) or (n_pairs, n_voxels)
        Leave-one-out: each listener with the mean of the z-scored others. Pairwise: pairs in the
        order of `numpy.triu_indices(n_subjects, 1)`. NaN in a voxel where a listener of the
        correlation is constant or not finite.

    References
    ----------
    Hasson et al. (2004), Science 303:1634-1640; Nastase et al. (2019), SCAN 14:667-685.
    """
    check_choice("method", method, METHODS)
    z = _zscored(data)
    if method == "leave_one_out":
        total = z.sum(0)
        return np.stack([columnwise_correlation(one, total - one) for one in z])
    first, second = np.triu_indices(len(z), 1)
    return np.stack([_dot(z[i], z[j]) for i, j in zip(first, second)])


def mean_pairwise_isc(data: np.ndarray) -> np.ndarray:
    """Mean correlation over all pairs of listeners, (n_voxels,), without making the pairs.

    With z-scored listeners it is (variance of their sum - n) / (n (n - 1)).
    """
    z = _zscored(data)
    n = len(z)
    total = z.sum(0)
    return (_dot(total, total) - n) / (n * (n - 1))


@dataclass(frozen=True, eq=False)
class IscTest:
    """Mean ISC of each voxel, its null and its bootstrap interval."""

    isc: np.ndarray  # (n_voxels,)
    null: np.ndarray  # (n_null, n_voxels)
    p_values: np.ndarray  # (n_voxels,), one-sided
    method: str
    null_kind: str


def isc_test(
    data: np.ndarray,
    method: str = "leave_one_out",
    *,
    null: str = "phase_randomization",
    n_null: int = 1000,
    min_shift: int = 10,
    rng: np.random.Generator | int = 0,
    progress: Progress = silent,
) -> IscTest:
    """Is the mean ISC larger than that of listeners who are out of step?

    Every listener gets surrogates of their own (random phases or a circular shift, the same for all
    voxels), which keeps each one's autocorrelation and spatial covariance and breaks what is shared.

    Returns
    -------
    IscTest
        p = (1 + #{null >= isc}) / (1 + n_null), one-sided; NaN where ISC is.

    References
    ----------
    Lerner et al. (2011), J Neurosci 31:2906-2915 (phase randomisation).
    """
    check_choice("null", null, ("phase_randomization", "circular_shift"))
    z = _zscored(data)
    rng = np.random.default_rng(rng)
    measured = _mean_isc(z, method)
    streams = [surrogates(np.nan_to_num(one), n_null, null=null, min_shift=min_shift, rng=child) for one, child in
               zip(z, rng.spawn(len(z)))]  # fmt: skip
    values = []
    for done, apart in enumerate(zip(*streams), start=1):
        values.append(_mean_isc(_zscored(np.stack(apart), check=False), method))
        progress(done, n_null, "surrogates")
    null_values = np.stack(values)
    p = (1 + (null_values >= measured).sum(0)) / (1 + len(null_values))
    return IscTest(measured, null_values, np.where(np.isfinite(measured), p, np.nan), method, null)


def isc_bootstrap(
    data: np.ndarray,
    method: str = "leave_one_out",
    *,
    n_bootstrap: int = 1000,
    ci: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of the mean ISC over listeners drawn with replacement: (low, high), each (n_voxels,).

    Pairs of a listener with their own copy are left out of the pairwise mean.

    References
    ----------
    Chen et al. (2016), NeuroImage 142:248-259.
    """
    isc = intersubject_correlation(data, method)
    n, rng = len(data), np.random.default_rng(rng)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap)  # how often each listener is drawn
    if method == "leave_one_out":
        weights = draws / n
    else:
        first, second = np.triu_indices(n, 1)
        weights = (draws[:, first] * draws[:, second]).astype(float)
        weights = weights[weights.sum(1) > 0]
        weights /= weights.sum(1, keepdims=True)
    tail = (1 - ci) / 2
    low, high = np.quantile(weights @ isc, [tail, 1 - tail], axis=0)
    return low, high


def _mean_isc(z: np.ndarray, method: str) -> np.ndarray:
    total = z.sum(0)
    if check_choice("method", method, METHODS) == "pairwise":
        return (_dot(total, total) - len(z)) / (len(z) * (len(z) - 1))
    return np.mean([columnwise_correlation(one, total - one) for one in z], axis=0)


def _zscored(data: np.ndarray, *, check: bool = True) -> np.ndarray:
    """(n_subjects, n_trs, n_voxels) float64, z-scored over time; NaN where a listener cannot be."""
    data = np.asarray(data)
    if data.ndim != 3 or len(data) < 2:
        raise bad(
            "data",
            "have shape (n_subjects, n_trs, n_voxels) with at least two subjects",
            data.shape,
            "Stack one run of each listener.",
        )
    z = np.empty(data.shape, dtype=np.float64)
    for i, one in enumerate(data):
        unusable = constant_columns(one)
        if check and unusable.all():
            raise bad("data", "hold a signal for every subject", f"subject {i} constant or NaN in every voxel", "Leave it out.")
        with np.errstate(invalid="ignore", divide="ignore"):
            z[i] = (one - one.mean(0, dtype=np.float64)) / one.std(0, dtype=np.float64)
        z[i][:, unusable] = np.nan
    return z


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("tv,tv->v", a, b) / len(a)
