"""Do the words and the BOLD belong together? Asked before anything is fitted.

A wrong onset, a trimmed volume too many or a file of another story ruins an encoding model
without any error. The word rate drives the BOLD of language regions some seconds later; where
that peak lies elsewhere, something is shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain.bold_run import BoldRun
from neurolm.stimuli.transcript import Transcript
from neurolm.temporal import lanczos_matrix, whole_grid

NAMES = ("coverage", "rows", "speech_rate", "silence", "voxels", "lag", "runs")  # of the findings, for `override`
PLAUSIBLE_LAG_S = (0.0, 12.0)  # the haemodynamic response peaks 4 to 8 s after the words
PLAUSIBLE_RATE = (0.8, 6.0)  # words per second of speech, story pauses included
LONG_SILENCE_S = 30.0
N_SHIFTS = 1000
CLEAR_PEAK = 1.5  # times what 95 % of shifts stay below: a single run out of many is not called odd by chance


@dataclass(frozen=True)
class AlignmentFinding:
    """One thing that was checked: `status` is "ok", "warning" or "failed"."""

    name: str
    status: str
    message: str


@dataclass(frozen=True)
class AlignmentCheck:
    """What was understood of one story and its BOLD.

    tr_times : (n_trs,) seconds on the story's clock
    words_per_tr : (n_trs,) words whose middle lies in each measured row
    mean_bold, bold_sd : (n_trs,) z-scored BOLD, over usable voxels and subjects; the mean is z-scored again
    lags_s : (n_lags,) seconds by which the BOLD follows the words
    lag_correlation : (n_lags,) correlation of word rate and mean BOLD at each lag
    null_95 : 95th percentile of the largest correlation over lags, under circular shifts
    p : probability of so large a peak under those shifts
    run_bold : (n_runs, n_trs) each subject's own mean BOLD, z-scored; NaN for a run of other rows
    run_correlation, run_null_95, run_p : (n_runs, n_lags), (n_runs,), (n_runs,) the same for each subject's own run
    """

    story: str
    subjects: tuple[str, ...]
    n_words: int
    n_words_before: int
    n_words_after: int
    words_span_s: tuple[float, float]
    tr: float
    tr_times: np.ndarray
    words_per_tr: np.ndarray
    mean_bold: np.ndarray
    bold_sd: np.ndarray
    lags_s: np.ndarray
    lag_correlation: np.ndarray
    null_95: float
    p: float
    run_bold: np.ndarray
    run_correlation: np.ndarray
    run_null_95: np.ndarray
    run_p: np.ndarray
    findings: tuple[AlignmentFinding, ...]

    @property
    def failed(self) -> tuple[AlignmentFinding, ...]:
        return tuple(f for f in self.findings if f.status == "failed")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AlignmentCheck:
        """What `dataclasses.asdict` took apart and JSON kept."""
        arrays = [f.name for f in fields(cls) if f.type == "np.ndarray"]
        kept: dict[str, Any] = {f.name: values[f.name] for f in fields(cls)}
        kept |= {name: np.array(kept[name]) for name in arrays}
        kept |= {name: tuple(kept[name]) for name in ("subjects", "words_span_s")}
        return cls(**kept | {"findings": tuple(AlignmentFinding(**f) for f in kept["findings"])})


def check_alignment(transcript: Transcript, runs: Sequence[BoldRun], *, seed: int = 0) -> AlignmentCheck:
    """Check one story against the BOLD of everyone who heard it.

    Parameters
    ----------
    transcript : Transcript
    runs : sequence of BoldRun
        The same story, one run for each subject, all with the same `tr_times`.
    seed : int
        Of the circular shifts.
    """
    run = runs[0]
    edges = np.append(run.tr_times, run.tr_times[-1] + run.tr)
    words_per_tr = np.histogram(transcript.mid_times, edges)[0]
    mean_bold, bold_sd = _bold_over_voxels(runs)
    lags, r, null = lag_curve(transcript, run, mean_bold, np.random.default_rng(seed))
    null_95, p = _against(null, r)
    run_bold = _bold_of_each(runs)
    run_curves, run_null_95, run_p = _lag_of_each(transcript, run, run_bold, seed)
    findings = (
        _coverage(transcript, run),
        _same_rows(runs),
        _speech_rate(transcript),
        _silence(transcript),
        _bad_voxels(runs),
        lag_finding(lags, r, null_95, p),
        _runs(runs, lags, run_curves, run_null_95, run_p),
    )
    return AlignmentCheck(
        transcript.name,
        tuple(r.subject for r in runs),
        len(transcript),
        int((transcript.mid_times < edges[0]).sum()),
        int((transcript.mid_times >= edges[-1]).sum()),
        (float(transcript.onsets[0]), float(transcript.offsets[-1])),
        run.tr,
        run.tr_times,
        words_per_tr,
        mean_bold,
        bold_sd,
        lags,
        r,
        null_95,
        p,
        run_bold,
        run_curves,
        run_null_95,
        run_p,
        findings,
    )


def lag_curve(
    transcript: Transcript, run: BoldRun, mean_bold: np.ndarray, rng: np.random.Generator, max_lag: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation of word rate and BOLD at lags of -max_lag..max_lag TRs, and its null.

    The null shifts the BOLD circularly by more than twice `max_lag`, which keeps its
    autocorrelation, and takes the largest correlation over all lags each time.

    Returns
    -------
    lags_s, r : arrays of shape (2 * max_lag + 1,); positive lags: the BOLD follows the words
    null : array of shape (N_SHIFTS,); empty where the run is too short for a null
    """
    max_lag = min(max_lag, run.n_trs // 8)
    grid, n_before = whole_grid(run.tr_times, float(transcript.onsets[0]))
    grid = np.concatenate([grid, grid[-1] + run.tr * np.arange(1, max_lag + 1)])
    rate = lanczos_matrix(transcript.mid_times, grid + run.tr / 2).sum(1)
    lags = np.arange(-max_lag, max_lag + 1)
    rows = n_before + np.arange(run.n_trs)
    shifted = np.stack([np.where(rows - lag >= 0, rate[np.maximum(rows - lag, 0)], 0.0) for lag in lags], axis=1)
    shifted = zscore(shifted) / run.n_trs
    r = mean_bold @ shifted
    least = 2 * max_lag + 1
    if run.n_trs <= 2 * least + 1 or not np.isfinite(r).all():
        return lags * run.tr, r, np.zeros(0)
    amounts = rng.integers(least, run.n_trs - least, N_SHIFTS)
    return lags * run.tr, r, np.array([(np.roll(mean_bold, amount) @ shifted).max() for amount in amounts])


def _against(null: np.ndarray, r: np.ndarray) -> tuple[float, float]:
    """95th percentile of a null and the p of the largest r; NaN where either is not known."""
    if not len(null) or not np.isfinite(r).all():
        return float("nan"), float("nan")
    return float(np.quantile(null, 0.95)), float((1 + (null >= r.max()).sum()) / (1 + len(null)))


def _bold_over_voxels(runs: Sequence[BoldRun]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (z-scored) and standard deviation over usable voxels and subjects: (n_trs,) each; NaN where there is none."""
    same = [run for run in runs if run.n_trs == runs[0].n_trs]
    columns = [zscore(run.data[:, ~run.bad_voxels]) for run in same if not run.bad_voxels.all()]
    if not columns:
        return np.full(runs[0].n_trs, np.nan), np.full(runs[0].n_trs, np.nan)
    mean = np.mean([c.mean(1) for c in columns], axis=0)
    variance = np.mean([((c - mean[:, None]) ** 2).mean(1) for c in columns], axis=0)
    return zscore(mean[:, None])[:, 0], np.sqrt(variance)


def _bold_of_each(runs: Sequence[BoldRun]) -> np.ndarray:
    """(n_runs, n_trs) mean over usable voxels, z-scored; NaN for runs of another length or without a usable voxel."""
    bold = np.full((len(runs), runs[0].n_trs), np.nan)
    for i, run in enumerate(runs):
        if run.n_trs == runs[0].n_trs and not run.bad_voxels.all():
            bold[i] = zscore(zscore(run.data[:, ~run.bad_voxels]).mean(1)[:, None])[:, 0]
    return bold


def _lag_of_each(transcript: Transcript, run: BoldRun, bold: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Lag curve (n_runs, n_lags), the end of its null and p, (n_runs,) each, of every run by itself.

    The shifts of one run are far from independent, so that all runs are held against the shifts of all.
    """
    found = [lag_curve(transcript, run, row, np.random.default_rng([seed, i])) for i, row in enumerate(bold)]
    everyone = np.concatenate([null for *_, null in found])
    told = np.array([_against(everyone, r) for _, r, _ in found])
    return np.array([r for _, r, _ in found]), told[:, 0], told[:, 1]


def _runs(runs: Sequence[BoldRun], lags: np.ndarray, curves: np.ndarray, null_95: np.ndarray, p: np.ndarray) -> AlignmentFinding:
    """Runs that do not fit although the mean of all does: a clear peak where no response can be."""
    known = np.isfinite(p)
    if not known.any():
        return AlignmentFinding("runs", "warning", "no run is long and complete enough for a lag of its own.")
    finite = np.where(np.isfinite(curves), curves, -np.inf)
    peaks = lags[finite.argmax(axis=1)]
    is_clear = known & (p < 0.05) & (finite.max(axis=1) > CLEAR_PEAK * null_95)
    is_odd = is_clear & ((peaks < PLAUSIBLE_LAG_S[0]) | (peaks > PLAUSIBLE_LAG_S[1]))
    if is_odd.any():
        named = ", ".join(f"{runs[i].subject or 'run'} at {peaks[i]:g} s" for i in np.flatnonzero(is_odd).tolist())
        return AlignmentFinding(
            "runs", "failed", f"{named}: the BOLD of {is_odd.sum()} of {len(runs)} runs follows other words. Check their onsets."
        )
    said = f"{int((known & (p < 0.05)).sum())} of {len(runs)} runs follow the words by themselves (p < 0.05), none at an odd lag."
    return AlignmentFinding("runs", "ok", said)


def _coverage(transcript: Transcript, run: BoldRun) -> AlignmentFinding:
    start, end = run.tr_times[0], run.tr_times[-1] + run.tr
    after = int((transcript.onsets >= end).sum())
    before = int((transcript.offsets <= start).sum())
    spans = (
        f"BOLD of {run.n_trs} rows covers {start:.1f} to {end:.1f} s, "
        f"words {transcript.onsets[0]:.1f} to {transcript.offsets[-1]:.1f} s"
    )
    inside = len(transcript) - after - before
    if inside < 0.8 * len(transcript) or end - transcript.offsets[-1] > max(60.0, 0.3 * (end - start)):
        return AlignmentFinding("coverage", "failed", f"{spans}: they do not fit. Check the story, the TR and the trimming.")
    if after or before:
        return AlignmentFinding("coverage", "warning", f"{spans}; {before} words lie before it and {after} after it.")
    return AlignmentFinding("coverage", "ok", f"{spans}.")


def _same_rows(runs: Sequence[BoldRun]) -> AlignmentFinding:
    other = [r.subject for r in runs if r.n_trs != runs[0].n_trs or not np.allclose(r.tr_times, runs[0].tr_times)]
    if other:
        return AlignmentFinding(
            "rows", "failed", f"{', '.join(other)}: other row times than {runs[0].subject}. Check the run lengths."
        )
    return AlignmentFinding("rows", "ok", f"all {len(runs)} runs have {runs[0].n_trs} rows at the same times.")


def _speech_rate(transcript: Transcript) -> AlignmentFinding:
    seconds = transcript.offsets[-1] - transcript.onsets[0]
    rate = len(transcript) / seconds if seconds > 0 else float("inf")
    low, high = PLAUSIBLE_RATE
    if low <= rate <= high:
        return AlignmentFinding("speech_rate", "ok", f"{rate:.2f} words/s.")
    return AlignmentFinding(
        "speech_rate", "failed", f"{rate:.2f} words/s; speech has {low} to {high}. Check the unit of the word times."
    )


def _silence(transcript: Transcript) -> AlignmentFinding:
    gaps = transcript.onsets[1:] - np.maximum.accumulate(transcript.offsets)[:-1]
    longest = float(gaps.max()) if len(gaps) else 0.0
    if longest <= LONG_SILENCE_S:
        return AlignmentFinding("silence", "ok", f"longest pause {longest:.1f} s.")
    i = int(gaps.argmax())
    return AlignmentFinding(
        "silence", "warning", f"{longest:.1f} s without words after {transcript.words[i]!r} at {transcript.offsets[i]:.1f} s."
    )


def _bad_voxels(runs: Sequence[BoldRun]) -> AlignmentFinding:
    counts = {run.subject: int(run.bad_voxels.sum()) for run in runs if run.bad_voxels.any()}
    if not counts:
        return AlignmentFinding("voxels", "ok", "no constant or NaN voxel.")
    text = ", ".join(f"{subject}: {count}" for subject, count in counts.items())
    whole = [run.subject for run in runs if run.bad_voxels.all()]
    status = "failed" if whole else "warning"
    return AlignmentFinding("voxels", status, f"constant or NaN voxels, which give NaN ({text}).")


def lag_finding(lags: np.ndarray, r: np.ndarray, null_95: float, p: float) -> AlignmentFinding:
    """What the peak of a lag curve says of the onset of the story."""
    if not np.isfinite(p):
        return AlignmentFinding("lag", "warning", "the run is too short or the BOLD too incomplete for a lag to be found.")
    best, low, high = float(lags[r.argmax()]), *PLAUSIBLE_LAG_S
    said = f"word rate and BOLD correlate best at {best:g} s (r = {r.max():.2f}, 95 % of shifted BOLD below {null_95:.2f}, p = {p:.3f})"
    if p >= 0.05:
        return AlignmentFinding("lag", "warning", f"{said}: no clear peak, so this check says nothing.")
    if not low <= best <= high:
        return AlignmentFinding(
            "lag", "failed", f"{said}; a response follows its words by {low:g} to {high:g} s. Check the onset of the story."
        )
    return AlignmentFinding("lag", "ok", f"{said}.")
