"""Recovery of planted windows on the features, words and design of an analysis: where it fails, windows are withheld.

An estimator gives a window for every voxel that is predicted, whether or not these features can tell windows apart:
a language model's states carry their own memory, and a voxel that averages words over 64 words may come out as
one of 4. So voxels with known windows are simulated through the same words, volumes, delays and folds, and the
same estimator looks for them:

    drive       features of each word by itself, their leading directions mixed at random for each voxel
    window      a leaky average of the drive over the past, its time constant log-uniform in words
    response    resampled to the volumes, delayed by a canonical response, mixed with AR(1) noise as slow as the BOLD
    recovery    Spearman's correlation of found with planted windows, at several strengths of the signal

A measured voxel takes the recovery of the strength whose planted voxels were predicted as well as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain import BoldRun
from neurolm.brain.space import Unplaced
from neurolm.checks import bad, check_same_length
from neurolm.encoding import Design
from neurolm.features import Features
from neurolm.statistics import ar1_noise, columnwise_correlation
from neurolm.timescales.held_out_fit import FitSettings
from neurolm.timescales.window_result import WindowResult

SIGNALS = (0.2, 0.35, 0.5, 0.7, 0.9)  # planted correlation of a voxel's signal with its BOLD
SHORTEST, LONGEST = 1.5, 100.0  # words
N_DIRECTIONS = 12
LEAST_FOUND = 0.5  # share of planted voxels that must have a window for a rank correlation to mean anything
HELD_OUT = "held_out_correlation"


@dataclass(frozen=True)
class RecoverySettings:
    """How recovery is measured.

    Parameters
    ----------
    least : float
        Rank correlation of found with planted windows below which windows are withheld.
    n_voxels : int
        Planted voxels at each strength of the signal; 48 give a standard error of about .12 at rank correlation .5.
    """

    least: float = 0.5
    n_voxels: int = 48


@dataclass(frozen=True, eq=False)
class Recovery:
    """What an estimator finds of planted windows, one number for each strength of the signal, (n_signals,) each.

    held_out_r : median over its planted voxels
    rho : Spearman's correlation of found with planted windows; NaN where fewer than half of the voxels have one
    share_found : share of its voxels that have a window
    longest : largest planted window in words
    settings : RecoverySettings
    """

    held_out_r: np.ndarray
    rho: np.ndarray
    share_found: np.ndarray
    longest: float
    settings: RecoverySettings

    def of(self, held_out_r: np.ndarray) -> np.ndarray:
        """(n_voxels,) the rank correlation at the strength whose held-out r is nearest; NaN where r is."""
        known = np.isfinite(held_out_r)
        nearest = np.abs(np.where(known, held_out_r, 0)[:, None] - np.nan_to_num(self.held_out_r, nan=-9)).argmin(1)
        return np.where(known, self.rho[nearest], np.nan)

    def as_details(self) -> dict[str, Any]:
        """As JSON-able values, for a file."""
        told = {"held_out_r": self.held_out_r.tolist(), "rho": self.rho.tolist(), "share_found": self.share_found.tolist()}
        return {**told, "longest": self.longest, **asdict(self.settings)}


def planted_recovery(
    estimate: Callable[[list[BoldRun]], WindowResult],
    drive: Sequence[Features],
    runs: Sequence[BoldRun],
    fit: FitSettings,
    *,
    longest: float = LONGEST,
    settings: RecoverySettings | None = None,
) -> Recovery:
    """Plant windows in simulated voxels and let an estimator look for them.

    Parameters
    ----------
    estimate : function of runs
        The estimator on the features of the analysis; `details["held_out_correlation"]` of its result holds the held-out r
        of each voxel. It needs neither a test nor intervals.
    drive : sequence of Features
        Of each word by itself, one story for each run.
    runs : sequence of BoldRun
        The measured ones: their volumes, and how slow their BOLD is.
    fit : FitSettings
        Delays and seed.
    longest : float
        Largest planted window in words: the largest scale that the estimator can see.

    Returns
    -------
    Recovery
    """
    from scipy.stats import spearmanr

    settings = settings or RecoverySettings()
    check_same_length("drive", len(drive), "runs", len(runs))
    longest = min(LONGEST, longest)
    if longest <= SHORTEST:
        raise bad("longest", f"be above {SHORTEST:g} words", longest)
    rng = np.random.default_rng([fit.seed, 17])
    n = settings.n_voxels * len(SIGNALS)
    windows = np.exp(rng.uniform(np.log(SHORTEST), np.log(longest), n))
    planted = plant_windows(drive, runs, windows, np.repeat(SIGNALS, settings.n_voxels), fit, rng)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*of the targets chose the")  # no advice on penalties of simulated voxels
        found = estimate(planted)
    r = np.asarray(found.details[HELD_OUT])
    rows = []
    for own in np.arange(n).reshape(len(SIGNALS), -1):
        known = np.isfinite(found.index[own])
        index = found.index[own][known]
        varies = known.mean() >= LEAST_FOUND and len(np.unique(index)) > 1
        rho = float(spearmanr(index, windows[own][known]).statistic) if varies else np.nan
        rows.append((np.nanmedian(r[own]), rho, known.mean()))
    held_out_r, rhos, share = np.array(rows).T
    return Recovery(held_out_r, rhos, share, float(longest), settings)


def plant_windows(
    drive: Sequence[Features],
    runs: Sequence[BoldRun],
    windows: np.ndarray,
    signals: np.ndarray,
    fit: FitSettings,
    rng: np.random.Generator,
) -> list[BoldRun]:
    """BOLD of voxels that average the drive over the past with time constants `windows` (words): one run for each of `runs`.

    Parameters
    ----------
    signals : array of shape (n_voxels,)
        Correlation of each voxel's signal with its BOLD.
    """
    mixed = _mixed(drive, len(windows), rng)
    averaged = [replace(f, values=_leaky(m, windows), names=(), slices={}) for f, m in zip(drive, mixed)]
    design = Design.from_training(averaged, runs, fit.delays, max_gap_s=fit.max_gap_s)
    weights = _response(fit.delays, runs[0].tr)
    ar1 = noise_ar1(runs)
    signal: list[np.ndarray] = []
    for one, run in zip(averaged, runs):
        delayed = np.asarray(design.transform(one, run.tr_times), dtype=np.float64)
        signal.append(np.tensordot(weights, delayed.reshape(run.n_trs, len(weights), -1), axes=(0, 1)))
    together = np.concatenate(signal)
    middle, spread = together.mean(0), together.std(0)
    planted = []
    for heard, run in zip(signal, runs):
        noise = ar1_noise(rng.standard_normal(heard.shape), ar1)
        unit = (heard - middle) / np.where(spread > 0, spread, 1)
        data = zscore(signals * unit + np.sqrt(1 - signals**2) * noise)
        space = Unplaced("planted windows", len(windows))
        planted.append(BoldRun(data.astype(np.float32), run.tr_times, space, "planted", run.story))
    return planted


def noise_ar1(runs: Sequence[BoldRun]) -> float:
    """Median correlation of each row of BOLD with the next, over voxels and within runs, between 0 and .9."""
    each = np.concatenate([columnwise_correlation(run.data[1:], run.data[:-1]) for run in runs])
    known = each[np.isfinite(each)]
    return float(np.clip(np.median(known), 0, 0.9)) if len(known) else 0.0


def withheld(result: WindowResult, recovery: Recovery) -> WindowResult:
    """The result without the windows of voxels at whose held-out r planted ones are not found.

    Returns
    -------
    WindowResult
        `valid` still says where the prediction is significant. `details["recovery"]` is `Recovery.as_details()` with
        "n_withheld", and `details["recovery_rho"]` (n_voxels,) what each voxel was judged by.
    """
    rho = recovery.of(np.asarray(result.details[HELD_OUT]))
    keep = np.isfinite(rho) & (rho >= recovery.settings.least)
    lost = np.isfinite(result.index) & ~keep
    details = {
        **result.details,
        "recovery": {**recovery.as_details(), "n_withheld": int(lost.sum())},
        "recovery_rho": rho,
    }
    for name, one in result.details.items():
        if isinstance(one, WindowResult) and one.index.shape == keep.shape:
            details[name] = _without(one, keep)
        elif name == "ratio":
            details[name] = np.where(keep, one, np.nan)
    return replace(_without(result, keep), details=details)


def _without(result: WindowResult, keep: np.ndarray) -> WindowResult:
    return replace(result, index=np.where(keep, result.index, np.nan), interval=np.where(keep, result.interval, np.nan))


def _mixed(drive: Sequence[Features], n_voxels: int, rng: np.random.Generator) -> list[np.ndarray]:
    """(n_words, n_voxels) for each story: leading directions of the drive, each of unit variance, mixed at random."""
    values = np.concatenate([f.values for f in drive]).astype(np.float64)
    values = values - values.mean(0)
    left, size, _ = np.linalg.svd(values, full_matrices=False)
    n = min(N_DIRECTIONS, int((size > 1e-6 * size[0]).sum()))
    if not n:
        raise bad("drive", "vary over words", "the same features for every word")
    mixed = left[:, :n] * np.sqrt(len(left)) @ rng.standard_normal((n, n_voxels))
    return np.split(mixed, np.cumsum([len(f) for f in drive])[:-1])


def _leaky(drive: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Each column averaged over the past with its own time constant in words."""
    from scipy.signal import lfilter

    keep = np.exp(-1 / windows)
    return np.stack([lfilter([1 - k], [1, -k], column) for k, column in zip(keep, drive.T)], axis=1)


def _response(delays: Sequence[int], tr: float) -> np.ndarray:
    """(n_delays,) a canonical response (gamma of shape 6) at the delays."""
    from scipy.stats import gamma

    weights = gamma.pdf(np.asarray(delays) * tr, 6)
    return weights if weights.sum() > 1e-6 else np.ones(len(delays))
