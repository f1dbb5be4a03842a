"""Intervals over listeners: everything computed for the mean listener, and again without each of them.

A window is no mean over listeners: it is read from the mean listener's curve, which is less noisy
than any single one. Drawing listeners with replacement would double the noise of that mean and so
change the curve; leaving one out hardly changes it, and how much the windows move tells how sure
they are (the jackknife).
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


def mean_and_left_out(subjects: Sequence[Sequence[BoldRun]]) -> tuple[list[BoldRun], list[BoldRun]]:
    """The mean listener's runs, and runs whose columns are the means without listener 0, 1, ...

    Parameters
    ----------
    subjects : sequence of sequence of BoldRun
        Z-scored runs of each listener, one for each story, on one time grid and in one space.

    Returns
    -------
    mean : list of BoldRun, (n_trs, n_voxels) each
    left_out : list of BoldRun, (n_trs, n_subjects * n_voxels) each
    """
    if len(subjects) < 3:
        raise bad("subjects", "be at least 3 for intervals over listeners", len(subjects), "Analyse each of them alone.")
    n = len(subjects)
    means, left_out = [], []
    for runs in zip(*subjects, strict=True):
        mean = mean_run(list(runs))
        total = mean.data.astype(np.float64) * n
        columns = np.concatenate([(total - run.data) / (n - 1) for run in runs], axis=1)
        means.append(mean)
        space = Unplaced("mean listeners without one", columns.shape[1])
        left_out.append(BoldRun(columns.astype(np.float32), mean.tr_times, space, "left out", mean.story))
    return means, left_out


def jackknifed(mean: WindowResult, left_out: WindowResult) -> WindowResult:
    """The mean listener's result with 95 % intervals over listeners.

    Parameters
    ----------
    mean : WindowResult
        Of the mean listener, n_voxels.
    left_out : WindowResult
        Of the same estimator, n_subjects * n_voxels columns, listener by listener.

    Returns
    -------
    WindowResult
        `interval` of the index, symmetric in its logarithm; NaN where a window is unknown without
        some listener. `details["curve_interval"]` (2, n_scales, n_voxels).

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.
    """
    n_voxels = len(mean.index)
    n, rest = divmod(len(left_out.index), n_voxels)
    check_same_length("columns of left_out over those of mean", rest, "nothing", 0, "Make both of mean_and_left_out's runs.")
    with np.errstate(divide="ignore", invalid="ignore"):
        interval = np.exp(jackknife_interval(np.log(mean.index), np.log(left_out.index.reshape(n, n_voxels))))
    curves = left_out.curve.reshape(len(left_out.curve), n, n_voxels).swapaxes(0, 1)
    curve_interval = np.stack(jackknife_interval(mean.curve, curves))
    details = {**mean.details, "interval_over": "listeners", "n_listeners": n, "curve_interval": curve_interval}
    if isinstance(forgetting := mean.details.get("forgetting"), WindowResult):
        details["forgetting"] = jackknifed(forgetting, left_out.details["forgetting"])
    return replace(mean, interval=interval, details=details)


def jackknife_interval(value: np.ndarray, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval (low, high) of a value from what was computed without each of n listeners, (n, ...)."""
    from scipy.stats import t

    n = len(left_out)
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0))
    spread = t.ppf(0.975, n - 1) * error
    return value - spread, value + spread
