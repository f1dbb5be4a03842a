"""Intervals over listeners: everything computed for the mean listener, and again for means of half of them.

A window is no mean over listeners: it is read from the mean listener's curve, which is less noisy than
any single one, and a small change can move it far (another penalty is chosen, another point of the
curve reaches the criterion). Leaving one listener out underrates or overrates that; means of random
halves tell it (the delete-d jackknife): their spread, times sqrt((n - d) / d), is the standard error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neurolm.brain import BoldRun
from neurolm.brain.preprocess import mean_run
from neurolm.brain.space import Unplaced
from neurolm.checks import bad, check_same_length
from neurolm.timescales.window_result import WindowResult

N_HALVES = 40
LEAST_FOUND = 0.8  # share of halves in which a window must be found for it to have an interval


def mean_and_halves(
    subjects: Sequence[Sequence[BoldRun]], n_halves: int = N_HALVES, *, seed: int = 0
) -> tuple[list[BoldRun], list[BoldRun]]:
    """The mean listener's runs, and runs whose columns are the means of random halves of the listeners.

    Parameters
    ----------
    subjects : sequence of sequence of BoldRun
        Z-scored runs of each listener, one for each story, on one time grid and in one space.

    Returns
    -------
    mean : list of BoldRun, (n_trs, n_voxels) each
    halves : list of BoldRun, (n_trs, n_halves * n_voxels) each
        n - n // 2 listeners in each half, the same ones in all stories.
    """
    n, rng = len(subjects), np.random.default_rng(seed)
    if n < 3:
        raise bad("subjects", "be at least 3 for intervals over listeners", n, "Analyse each of them alone.")
    drawn = [np.sort(rng.permutation(n)[: n - n // 2]) for _ in range(n_halves)]
    means, halves = [], []
    for runs in zip(*subjects, strict=True):
        mean = mean_run(list(runs))
        columns = np.concatenate([mean_run([runs[i] for i in half]).data for half in drawn], axis=1)
        means.append(mean)
        space = Unplaced("means of half of the listeners", columns.shape[1])
        halves.append(BoldRun(columns.astype(np.float32, copy=False), mean.tr_times, space, "halves", mean.story))
    return means, halves


def jackknifed(mean: WindowResult, halves: WindowResult, n_subjects: int) -> WindowResult:
    """The mean listener's result with 95 % intervals over listeners.

    Parameters
    ----------
    mean : WindowResult
        Of the mean listener, n_voxels.
    halves : WindowResult
        Of the same estimator, n_halves * n_voxels columns, half by half.
    n_subjects : int

    Returns
    -------
    WindowResult
        `interval` of the index: symmetric in its logarithm, within the scales; NaN where fewer than 80 %
        of the halves have a window. `details["curve_interval"]` (2, n_scales, n_voxels).

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, section 11.5.
    """
    n_voxels = len(mean.index)
    n, rest = divmod(len(halves.index), n_voxels)
    check_same_length("columns of halves over those of mean", rest, "nothing", 0, "Make both of mean_and_halves' runs.")
    with np.errstate(divide="ignore", invalid="ignore"):
        interval = np.exp(jackknife_interval(np.log(mean.index), np.log(halves.index.reshape(n, n_voxels)), n_subjects))
    curves = halves.curve.reshape(len(halves.curve), n, n_voxels).swapaxes(0, 1)
    details = {
        **mean.details,
        "interval_over": "listeners",
        "n_listeners": n_subjects,
        "curve_interval": np.stack(jackknife_interval(mean.curve, curves, n_subjects)),
    }
    if isinstance(forgetting := mean.details.get("forgetting"), WindowResult):
        details["forgetting"] = jackknifed(forgetting, halves.details["forgetting"], n_subjects)
    ends = np.fmin(mean.scales[0], mean.index), np.fmax(mean.scales[-1], mean.index)
    return replace(mean, interval=np.clip(interval, *ends), details=details)


def jackknife_interval(value: np.ndarray, halves: np.ndarray, n_subjects: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval (low, high) of a value from the same of random halves, (n_halves, ...); NaN where few have one."""
    from scipy.stats import t

    left_out = n_subjects // 2
    found = np.isfinite(halves).mean(0) >= LEAST_FOUND
    middle = np.nanmean(np.where(found, halves, 0.0), axis=0)
    error = np.sqrt((n_subjects - left_out) / left_out * np.nanmean((np.where(found, halves, 0.0) - middle) ** 2, axis=0))
    spread = np.where(found, t.ppf(0.975, n_subjects - 1) * error, np.nan)
    return value - spread, value + spread
