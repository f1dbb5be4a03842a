"""How high a score can be, given how noisy the responses are; every ceiling says what it bounds.

what is scored                    from repeats of the same subject    from other subjects
------------------------------    --------------------------------    -------------------------------
a single repeat / listener        sqrt(SP / mean variance)            sqrt(r)
the mean of N repeats/listeners   CCmax = sqrt(SP / Var(mean))        sqrt(N r / (1 + (N - 1) r))

one subject among others: r with the mean of the others / sqrt(their reliability): `subject_ceilings`

SP is the signal power, r the mean pairwise correlation. From other subjects it bounds only what
listeners share: a listener's own signal may lie above it. Leave-one-out ISC is the ceiling of
neither and is not offered as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.arrays import constant_columns
from neurolm.brain.intersubject import intersubject_correlation, isc_interval, mean_pairwise_isc
from neurolm.checks import bad, check_choice
from neurolm.statistics import columnwise_correlation


def noise_ceiling(data: np.ndarray, *, source: str, scored: str) -> np.ndarray:
    """The correlation that a perfect model would reach: (n_voxels,).

    Parameters
    ----------
    data : array of shape (n_repeats or n_subjects, n_trs, n_voxels)
    source : {"repeats", "subjects"}
        What the first axis is: one subject hearing the story again, or different listeners.
    scored : {"single", "mean"}
        What the predictions are correlated with: one of them (and then averaged), or their mean.

    Returns
    -------
    ceiling : (n_voxels,)
        NaN where the responses share nothing (signal power or mean correlation <= 0), or a
        voxel is constant or not finite in one of them.

    References
    ----------
    Sahani & Linden (2003), NIPS 15; Schoppe et al. (2016), Front Comput Neurosci 10:10;
    Spearman (1910) and Brown (1910) for the reliability of a mean.
    """
    check_choice("source", source, ("repeats", "subjects"))
    check_choice("scored", scored, ("single", "mean"))
    data = _checked(data)
    if source == "subjects":
        r = mean_pairwise_isc(data)
        ratio = r if scored == "single" else spearman_brown(r, len(data))
    else:
        power = data.mean(0).var(0) if scored == "mean" else data.var(1).mean(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = signal_power(data) / power
    return np.sqrt(np.where(ratio > 0, np.minimum(ratio, 1), np.nan))


def ceiling_interval(data: np.ndarray, *, scored: str, ci: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Confidence interval over subjects of `noise_ceiling(data, source="subjects")`: (low, high), each (n_voxels,).

    The ends of the interval of the mean pairwise correlation, turned into ceilings; an end below 0
    is 0. NaN with fewer than three subjects and where there is no ceiling.
    """
    check_choice("scored", scored, ("single", "mean"))
    data = _checked(data)
    known = np.isfinite(noise_ceiling(data, source="subjects", scored=scored))
    ends = []
    for r in isc_interval(data, "pairwise", ci=ci):
        r = np.maximum(r, 0)
        ends.append(np.where(known, np.sqrt(r if scored == "single" else spearman_brown(r, len(data))), np.nan))
    return ends[0], ends[1]


def subject_ceilings(data: np.ndarray) -> np.ndarray:
    """The ceiling of each subject: correlation with the mean of the others over the root of that mean's reliability.

    Parameters
    ----------
    data : array of shape (n_subjects, n_trs, n_voxels)

    Returns
    -------
    ceiling : (n_subjects, n_voxels)
        NaN where a subject follows the others not at all, or the others share nothing. Two subjects have
        the same one, that of a single subject.
    """
    data = _checked(data)
    n = len(data)
    if n == 2:
        return np.tile(noise_ceiling(data, source="subjects", scored="single"), (2, 1))
    with_others = intersubject_correlation(data)
    pairwise = np.stack([mean_pairwise_isc(np.delete(data, s, 0)) for s in range(n)])
    with np.errstate(invalid="ignore", divide="ignore"):
        ceiling = with_others / np.sqrt(spearman_brown(pairwise, n - 1))
    return np.where((pairwise > 0) & (with_others > 0), np.minimum(ceiling, 1), np.nan)


def spearman_brown(r: Any, n: int) -> Any:
    """Reliability of the mean of `n` measurements whose mean pairwise correlation is `r`."""
    return n * r / (1 + (n - 1) * r)


def signal_power(repeats: np.ndarray) -> np.ndarray:
    """Variance of what repeats share, without bias: [Var(sum) - sum of Var] / (N (N - 1)), (n_voxels,).

    May be negative by chance. NaN where a voxel is constant or not finite in a repeat.
    """
    repeats = _checked(repeats)
    n = len(repeats)
    power = (repeats.sum(0).var(0) - repeats.var(1).sum(0)) / (n * (n - 1))
    return np.where(_usable(repeats), power, np.nan)


def cc_max(repeats: np.ndarray) -> np.ndarray:
    """Ceiling of the correlation with the mean of these repeats (Schoppe et al. 2016)."""
    return noise_ceiling(repeats, source="repeats", scored="mean")


def cc_norm(prediction: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Correlation with the mean of the repeats over its ceiling: Cov(p, mean) / sqrt(Var(p) SP), (n_voxels,).

    NaN where signal power is <= 0. Do not average it over voxels whose ceiling is low: there it is
    noise over noise.
    """
    repeats = _checked(repeats)
    if prediction.shape != repeats.shape[1:]:
        raise bad("prediction", f"have the shape of one repeat, {repeats.shape[1:]}", prediction.shape)
    mean = repeats.mean(0)
    power = signal_power(repeats)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = mean.std(0) / np.sqrt(np.where(power > 0, power, np.nan))
    return columnwise_correlation(prediction, mean) * scale


def explainable_variance(repeats: np.ndarray, *, bias_correction: bool = True) -> np.ndarray:
    """Share of a single repeat's variance that comes back: Var(mean) / mean(Var), (n_voxels,).

    Parameters
    ----------
    repeats : array of shape (n_repeats, n_trs, n_voxels)
    bias_correction : bool
        Subtract (1 - EV) / (n_repeats - 1): the mean of a few repeats still holds noise.

    Notes
    -----
    The formula of voxelwise_tutorials.
    """
    repeats = _checked(repeats)
    with np.errstate(divide="ignore", invalid="ignore"):
        ev = repeats.mean(0).var(0) / repeats.var(1).mean(0)
    if bias_correction:
        ev = ev - (1 - ev) / (len(repeats) - 1)
    return np.where(_usable(repeats), ev, np.nan)


def _checked(data: np.ndarray) -> np.ndarray:
    data = np.asarray(data)
    if data.ndim != 3 or len(data) < 2 or data.shape[1] < 3:
        raise bad(
            "data",
            "have shape (n_repeats or n_subjects, n_trs, n_voxels) with at least 2 of the first and 3 of the second",
            data.shape,
            "A ceiling needs the same story measured more than once.",
        )
    return data.astype(np.float64, copy=False)


def _usable(data: np.ndarray) -> np.ndarray:
    return ~np.any([constant_columns(one) for one in data], axis=0)
