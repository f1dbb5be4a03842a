"""Intersubject correlation (ISC): what subjects with the same stimulus share.

Leave-one-out ISC correlates a subject with the mean of the others; pairwise ISC correlates two
subjects. Neither is a noise ceiling: `noise_ceiling` turns the pairwise mean into one.

Everything follows from the correlations of all pairs of subjects: with z-scored subjects and C their
correlation matrix, subject i against the mean of the others is (sum_j C_ij - 1) over the root of the
sum of C without row and column i.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurolm.arrays import batches, constant_columns
from neurolm.checks import bad, check_choice
from neurolm.progress import Progress, silent
from neurolm.statistics import circular_shifts, permutation_p, phase_randomization, tails, unit_columns

METHODS = ("leave_one_out", "pairwise")
FEWEST_SUBJECTS = 3  # for an interval; see docs/calibration.md
_VOXELS_AT_ONCE = 500


def intersubject_correlation(data: np.ndarray, method: str = "leave_one_out") -> np.ndarray:
    """Correlate subjects with each other, voxel by voxel.

    Parameters
    ----------
    data : array of shape (n_subjects, n_trs, n_voxels)
        The same stimulus, the same rows, the same voxels for all.
    method : {"leave_one_out", "pairwise"}

    Returns
    -------
    isc : array of shape (n_subjects, n_voxels) or (n_pairs, n_voxels)
        Leave-one-out: each subject with the mean of the z-scored others. Pairwise: pairs in the
        order of `numpy.triu_indices(n_subjects, 1)`. NaN in a voxel where a subject of the
        correlation is constant or not finite.

    References
    ----------
    Hasson et al. (2004), Science 303:1634-1640; Nastase et al. (2019), SCAN 14:667-685.
    """
    check_choice("method", method, METHODS)
    data = _checked(data)
    if method == "leave_one_out":
        return np.concatenate([_leave_one_out(c) for c in _pairs(data)], axis=-1)
    first, second = np.triu_indices(len(data), 1)
    return np.concatenate([c[first, second] for c in _pairs(data)], axis=-1)


def mean_pairwise_isc(data: np.ndarray) -> np.ndarray:
    """Mean correlation over all pairs of subjects: (n_voxels,)."""
    return np.concatenate([_mean_isc(c, "pairwise") for c in _pairs(_checked(data))])


@dataclass(frozen=True, eq=False)
class IscTest:
    """Mean ISC of each voxel and its null.

    isc : (n_voxels,)
    null : (n_null, n_voxels); fewer than asked for where no more different shifts exist
    p_values : (n_voxels,), one-sided
    """

    isc: np.ndarray
    null: np.ndarray
    p_values: np.ndarray
    method: str
    null_kind: str

    @property
    def smallest_p(self) -> float:
        """No p can be smaller than this: 1 / (1 + n_null)."""
        return 1 / (1 + len(self.null))


def isc_test(
    data: np.ndarray,
    method: str = "leave_one_out",
    *,
    null: str = "phase_randomization",
    n_null: int = 1000,
    min_shift: int = 1,
    rng: np.random.Generator | int = 0,
    progress: Progress = silent,
) -> IscTest:
    """Is the mean ISC larger than that of subjects who are out of step?

    Each subject gets surrogates of their own, the same for all voxels, which keeps autocorrelation and
    spatial covariance and destroys what is shared in time.

    Parameters
    ----------
    null : {"phase_randomization", "circular_shift"}
        Random phases for each subject, or lags drawn jointly for all subjects relative to the first:
        n_trs ** (n_subjects - 1) - 1 different ones, so that short runs of three subjects suffice. Two
        subjects have only n_trs - 1; then all of them are used and `smallest_p` is 1 / n_trs.
    min_shift : int
        In TRs: at least one subject is this far out of step with the first. 1 leaves out no shift but
        the measured one, and the size is exact.

    Returns
    -------
    IscTest
        p = (1 + #{null >= isc}) / (1 + n_null), one-sided; NaN where ISC is.

    References
    ----------
    Lerner et al. (2011), J Neurosci 31:2906-2915 (phase randomisation).
    """
    check_choice("null", null, ("phase_randomization", "circular_shift"))
    check_choice("method", method, METHODS)
    if n_null < 1:
        raise bad("n_null", "be >= 1", n_null)
    units = np.stack([unit_columns(one) for one in _checked(data)])
    measured = _mean_isc_of(units, method)
    units = np.nan_to_num(units)
    values = []
    for surrogate in _out_of_step(units, null, n_null, min_shift, np.random.default_rng(rng)):
        values.append(_mean_isc_of(surrogate, method))
        progress(len(values), n_null, "surrogates")
    null_values = np.stack(values)
    return IscTest(measured, null_values, permutation_p(measured, null_values, tolerance=1e-12), method, null)


def isc_interval(data: np.ndarray, method: str = "leave_one_out", *, ci: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Confidence interval of the mean ISC over subjects, for this stimulus: (low, high), each (n_voxels,).

    Every subject is left out in turn and the ISC of the others computed again: values of single
    subjects depend on each other, so that their spread says too little. The spread of these
    (jackknife) counts the noise of single pairs twice (Efron & Stein 1981); an estimate of it is taken
    off, and the interval is Student's on Fisher's z.

    Returns
    -------
    low, high : (n_voxels,)
        NaN with fewer than 3 subjects, and where ISC is.

    References
    ----------
    Efron & Stein (1981), Ann Stat 9:586-596; Chen et al. (2016), NeuroImage 142:248-259, on the
    dependence between pairs of subjects.
    """
    from scipy.stats import t

    check_choice("method", method, METHODS)
    data = _checked(data)
    high_tail = tails(ci)[1]
    if len(data) < FEWEST_SUBJECTS:
        unknown = np.full(data.shape[-1], np.nan)
        return unknown, unknown.copy()
    middle, error = (
        np.concatenate(parts)
        for parts in zip(*((_mean_isc(c, method), np.sqrt(_jackknife_variance(c, method))) for c in _pairs(data)))
    )
    middle = middle.clip(-1 + 1e-12, 1 - 1e-12)
    half = t.ppf(high_tail, len(data) - 1) * error / (1 - middle**2)
    return np.tanh(np.arctanh(middle) - half), np.tanh(np.arctanh(middle) + half)


def isc_bootstrap(
    data: np.ndarray,
    method: str = "leave_one_out",
    *,
    n_bootstrap: int = 1000,
    ci: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """`isc_interval` under its earlier name; `n_bootstrap` and `rng` have no effect.

    Drawing values of single subjects with replacement held the true mean in 68 % of voxels with 8
    subjects at a nominal 95 %.
    """
    return isc_interval(data, method, ci=ci)


def _out_of_step(units: np.ndarray, null: str, n: int, min_shift: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Surrogates of all subjects (n_subjects, n_trs, n_voxels), each with columns of length one."""
    n_subjects, n_trs, _ = units.shape
    if null == "circular_shift":
        for lags in circular_shifts([n_trs] * (n_subjects - 1), n, min_shift, rng):
            yield np.stack([units[0], *(np.roll(one, lag, axis=0) for one, lag in zip(units[1:], lags))])
        return
    streams = rng.spawn(n_subjects)
    for _ in range(n):
        yield np.stack([phase_randomization(one, stream) for one, stream in zip(units, streams)])


def _pairs(data: np.ndarray) -> Iterator[np.ndarray]:
    """Correlations of all pairs, (n_subjects, n_subjects, n_voxels), some voxels at a time."""
    for some in batches(data.shape[-1], _VOXELS_AT_ONCE):
        units = np.stack([unit_columns(one[:, some]) for one in data]).transpose(2, 0, 1)  # (n_voxels, n_subjects, n_trs)
        yield (units @ units.swapaxes(1, 2)).transpose(1, 2, 0)


def _leave_one_out(pairs: np.ndarray) -> np.ndarray:
    """(n_subjects, n_voxels): each subject with the mean of the others."""
    return _with_others(pairs.sum(0), pairs.sum((0, 1)))


def _with_others(along: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Leave-one-out ISC from each subject's sum of correlations with all, itself included, and the sum over all pairs."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((along - 1) / np.sqrt(np.maximum(total - 2 * along + 1, 0))).clip(-1, 1)


def _mean_isc(pairs: np.ndarray, method: str) -> np.ndarray:
    """(n_voxels,)"""
    n = len(pairs)
    return _leave_one_out(pairs).mean(0) if method == "leave_one_out" else (pairs.sum((0, 1)) - n) / (n * (n - 1))


def _mean_isc_of(units: np.ndarray, method: str) -> np.ndarray:
    """The same from columns of length one (n_subjects, n_trs, n_voxels), without making the pairs."""
    n, sum_of_all = len(units), units.sum(0)
    total = np.einsum("tv,tv->v", sum_of_all, sum_of_all)
    if method == "pairwise":
        return (total - n) / (n * (n - 1))
    return _with_others(np.einsum("stv,tv->sv", units, sum_of_all), total).mean(0)


def _jackknife_variance(pairs: np.ndarray, method: str) -> np.ndarray:
    """Variance of the mean ISC over samples of subjects: (n_voxels,)."""
    n = len(pairs)
    left_out = np.stack([_mean_isc(np.delete(np.delete(pairs, i, 0), i, 1), method) for i in range(n)])
    variance = (n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0)
    if n == FEWEST_SUBJECTS:  # three pairs do not separate subjects from noise
        return variance
    subjects, noise = _variance_of_pairs(pairs)
    once = 4 * subjects / n + 2 * noise / (n * (n - 1))
    twice = 4 * subjects / n + 4 * noise / (n * (n - 2))
    return variance * once / np.maximum(twice, np.finfo(float).tiny)


def _variance_of_pairs(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of r_ij = mean + a_i + a_j + e_ij between subjects (a, noise of their estimates included) and within (e)."""
    n = len(pairs)
    mean = _mean_isc(pairs, "pairwise")
    a = (n - 1) / (n - 2) * ((pairs.sum(1) - 1) / (n - 1) - mean)
    first, second = np.triu_indices(n, 1)
    residual = pairs[first, second] - mean - a[first] - a[second]
    return (a**2).sum(0) / (n - 1), (residual**2).sum(0) / (n * (n - 3) / 2)


def _checked(data: np.ndarray) -> np.ndarray:
    data = np.asarray(data)
    if data.ndim != 3 or len(data) < 2:
        raise bad(
            "data",
            "have shape (n_subjects, n_trs, n_voxels) with at least two subjects",
            data.shape,
            "Stack one run of each subject.",
        )
    for i, one in enumerate(data):
        if constant_columns(one).all():
            raise bad("data", "hold a signal for every subject", f"subject {i} constant or NaN in every voxel", "Leave it out.")
    return data
