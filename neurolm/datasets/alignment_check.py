"""Do the words and the BOLD belong together? Asked before anything is fitted.

A wrong onset, a trimmed volume too many or a file of another story ruins an encoding model
without any error. The word rate drives the BOLD of language regions some seconds later; where
that peak lies elsewhere, something is shifted, and where another transcript of the study fits
better, the words are wrong (`word_following` has the test).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain.bold_run import BoldRun
from neurolm.brain.preprocess import common_rows
from neurolm.brain.transients import EdgeRows
from neurolm.checks import InputError
from neurolm.datasets.word_following import (
    PLAUSIBLE_LAG_S,
    SMALLEST_P,
    Alternative,
    Curve,
    SampledRun,
    StoryFollowing,
    words_followed,
)
from neurolm.statistics import p_equals, permutation_p
from neurolm.stimuli.transcript import Transcript
from neurolm.temporal import story_gaps

# Of the findings, for `override`.
NAMES = ("coverage", "rows", "speech_rate", "silence", "voxels", "lag", "runs", "words", "transients")
PLAUSIBLE_RATE = (0.8, 6.0)  # words per second of speech, story pauses included
LONG_SILENCE_S = 30.0
MAX_GAP_S = 20.0
FOLLOWS = 0.05  # p below which a run is said to follow its words


@dataclass(frozen=True)
class AlignmentFinding:
    """One thing that was checked: `status` is "ok", "warning" or "failed".

    remedy : what to do about a failure that cannot be overridden; empty where it can
    """

    name: str
    status: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class AlignmentCheck:
    """What was understood of one story and its BOLD.

    tr_times : (n_trs,) seconds on the story's clock
    words_per_tr : (n_trs,) words whose middle lies in each measured row
    mean_bold, bold_sd : (n_trs,) z-scored BOLD, over usable voxels and subjects; the mean is z-scored again
    lags_s : (n_lags,) seconds by which the BOLD follows the words
    lag_correlation : (n_lags,) correlation, at each lag, of the response to the word rate with the mean over the voxels
        that respond to words in other stories (all voxels where there is no other story)
    null_95 : 95th percentile of the largest correlation over lags, under random phases
    p : probability of so large a peak under them
    run_bold : (n_runs, n_trs) each subject's own signal, z-scored; NaN for a run of other rows or without a usable voxel
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


def check_alignment(
    transcript: Transcript, runs: Sequence[BoldRun], *, max_gap_s: float = MAX_GAP_S, seed: int = 0
) -> AlignmentCheck:
    """Check one story against the BOLD of everyone who heard it; `check_study` compares stories with each other, too."""
    return check_study([(transcript, runs)], max_gap_s=max_gap_s, seed=seed)[0]


def check_study(
    stories: Iterable[tuple[Transcript, Sequence[BoldRun]]],
    *,
    max_gap_s: float = MAX_GAP_S,
    key: str = "design.max_gap_s",
    seed: int = 0,
) -> list[AlignmentCheck]:
    """Check every story of a study against the BOLD of everyone who heard it, and against the words of the others.

    Parameters
    ----------
    stories : iterable of (Transcript, sequence of BoldRun)
        For each story one run for each subject. Read one after the other: the BOLD of one story is in memory at a time.
    max_gap_s : float
        The longest silence (s) between the ends of the BOLD and of the words, as `Design` takes it.
    key : str
        The config key of `max_gap_s`, for messages.
    seed : int
        Of the null of the lags.
    """
    checks: list[AlignmentCheck] = []
    transcripts: dict[str, Transcript] = {}
    sampled: dict[str, list[SampledRun]] = {}
    for i, (transcript, runs) in enumerate(stories):
        check, kept = _look(transcript, runs, max_gap_s, key)
        checks.append(check)
        transcripts[str(i)], sampled[str(i)] = transcript, [SampledRun.of(run) for run in kept]
    followed = words_followed(transcripts, sampled, seed=seed)
    names = {str(i): check.story for i, check in enumerate(checks)}
    return [_with_words(check, followed[str(i)], sampled[str(i)], names) for i, check in enumerate(checks)]


def _look(
    transcript: Transcript, runs: Sequence[BoldRun], max_gap_s: float, key: str
) -> tuple[AlignmentCheck, Sequence[BoldRun]]:
    """What is seen in one story without asking which words its BOLD follows; and the runs on their common rows."""
    rows, kept = _rows(runs)
    run = kept[0]
    edges = np.append(run.tr_times, run.tr_times[-1] + run.tr)
    mean_bold, bold_sd = _bold_over_voxels(kept)
    findings = (
        _coverage(transcript, run, max_gap_s, key),
        rows,
        _speech_rate(transcript),
        _silence(transcript),
        _bad_voxels(runs),
    )
    nothing = np.zeros(0)
    check = AlignmentCheck(
        transcript.name,
        tuple(r.subject for r in runs),
        len(transcript),
        int((transcript.mid_times < edges[0]).sum()),
        int((transcript.mid_times >= edges[-1]).sum()),
        (float(transcript.onsets[0]), float(transcript.offsets[-1])),
        run.tr,
        run.tr_times,
        np.histogram(transcript.mid_times, edges)[0],
        mean_bold,
        bold_sd,
        nothing,
        nothing,
        math.nan,
        math.nan,
        nothing,
        nothing,
        nothing,
        nothing,
        findings,
    )
    return check, kept


def _with_words(
    check: AlignmentCheck, followed: StoryFollowing, runs: Sequence[SampledRun], names: Mapping[str, str]
) -> AlignmentCheck:
    """The check of a story with what its BOLD follows."""
    n = len(check.subjects)
    place = {run.subject: i for i, run in enumerate(runs)} if len(runs) < n else {s: i for i, s in enumerate(check.subjects)}
    curves = [followed.curves[place[s]] if s in place else None for s in check.subjects]
    signals = [followed.signals[place[s]] if s in place else None for s in check.subjects]
    null_95, p = _against(followed.curve)
    told = [(math.nan, math.nan) if curve is None else _against(curve) for curve in curves]
    unknown = np.full(len(followed.curve.r), np.nan)
    findings = (
        *check.findings,
        lag_finding(followed.curve.lags_s, followed.curve.r, null_95, p, is_shifted=bool(followed.shifted_lag)),
        _runs(followed.shifted_runs, np.array([p for _, p in told])),
        _words(followed.other_words, names),
    )
    return replace(
        check,
        lags_s=followed.curve.lags_s,
        lag_correlation=followed.curve.r,
        null_95=null_95,
        p=p,
        run_bold=np.array([np.full(len(check.tr_times), np.nan) if signal is None else signal for signal in signals]),
        run_correlation=np.array([unknown if curve is None else curve.r for curve in curves]),
        run_null_95=np.array([null for null, _ in told]),
        run_p=np.array([p for _, p in told]),
        findings=findings,
    )


def _against(curve: Curve) -> tuple[float, float]:
    """95th percentile of the null of a curve and the p of its peak; NaN where the run is too short or incomplete."""
    if not len(curve.surrogates):
        return math.nan, math.nan
    null = curve.null
    return float(np.quantile(null, 0.95)), float(permutation_p(curve.r.max(), null))


def _bold_over_voxels(runs: Sequence[BoldRun]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (z-scored) and standard deviation over usable voxels and subjects: (n_trs,) each; NaN where there is none."""
    same = [run for run in runs if run.n_trs == runs[0].n_trs]
    columns = [zscore(run.data[:, ~run.bad_voxels]) for run in same if not run.bad_voxels.all()]
    if not columns:
        return np.full(runs[0].n_trs, np.nan), np.full(runs[0].n_trs, np.nan)
    mean = np.mean([c.mean(1) for c in columns], axis=0)
    variance = np.mean([((c - mean[:, None]) ** 2).mean(1) for c in columns], axis=0)
    return zscore(mean[:, None])[:, 0], np.sqrt(variance)


def _rows(runs: Sequence[BoldRun]) -> tuple[AlignmentFinding, Sequence[BoldRun]]:
    """Whether subjects can be put on common rows, and the runs on them; only the first grid's where they cannot."""
    first = runs[0]
    try:
        kept = common_rows(runs)
    except InputError as error:
        same = [run for run in runs if run.n_trs == first.n_trs and np.allclose(run.tr_times, first.tr_times)]
        other = [run.subject for run in runs if all(run is not one for one in same)]
        remedy = (
            f"Analyse them apart: `subjects: [{', '.join(run.subject for run in same)}]` in one config, the others in another."
        )
        return AlignmentFinding("rows", "failed", f"{', '.join(other)}: {error}", remedy), same
    if all(run.n_trs == first.n_trs for run in runs) and kept[0] is first:
        return AlignmentFinding("rows", "ok", f"all {len(runs)} runs have {first.n_trs} rows at the same times."), kept
    said = ", ".join(f"{run.subject or 'run'} {run.n_trs} from {run.tr_times[0]:.2f} s" for run in runs)
    row = kept[0]
    used = f"the {row.n_trs} rows from {row.tr_times[0]:.2f} s that all have are used"
    return AlignmentFinding("rows", "warning", f"runs differ in their rows ({said}): {used}."), kept


def _runs(shifted: Sequence[Alternative], p: np.ndarray) -> AlignmentFinding:
    """Runs that do not fit although the mean of all does: a clear peak where no response can be."""
    known = np.isfinite(p)
    if shifted:
        named = ", ".join(f"{one.who} at {one.lag_s:g} s (r = {one.r:.2f}, {p_equals(one.p, one.smallest_p)})" for one in shifted)
        message = f"{named}: the BOLD follows the words at a lag that no response has. Check the onsets of these runs."
        return AlignmentFinding("runs", "failed", message)
    if not known.any():
        return AlignmentFinding("runs", "warning", "cannot tell: no run is long and complete enough for a lag of its own.")
    n = int((known & (p < FOLLOWS)).sum())
    said = f"{n} of {len(p)} runs follow the words by themselves (p < {FOLLOWS:g}); none is found at an odd lag."
    return AlignmentFinding("runs", "ok", said)


def _words(others: Sequence[Alternative], names: Mapping[str, str]) -> AlignmentFinding:
    """Runs that follow another transcript of the study better than their own."""
    if len(names) < 2:
        return AlignmentFinding("words", "ok", "there is no other story in this study to compare with.")
    if not others:
        return AlignmentFinding("words", "ok", "no run is found to follow another transcript of the study better than its own.")
    said = ", ".join(
        f"{one.who}: {names[one.story]!r} (r = {one.r:.2f}, own {one.own_r:.2f}, {p_equals(one.p, one.smallest_p)})"
        for one in others
    )
    message = f"the BOLD follows other words better than its own: {said}. Check which story each run is."
    return AlignmentFinding("words", "failed", message)


def _coverage(transcript: Transcript, run: BoldRun, max_gap_s: float, key: str) -> AlignmentFinding:
    start, end = run.tr_times[0], run.tr_times[-1] + run.tr
    after = int((transcript.onsets >= end).sum())
    before = int((transcript.offsets <= start).sum())
    spans = (
        f"BOLD of {run.n_trs} rows covers {start:.1f} to {end:.1f} s, "
        f"words {transcript.onsets[0]:.1f} to {transcript.offsets[-1]:.1f} s"
    )
    late, misfit = story_gaps(transcript.mid_times, run.tr_times)
    gap = max(late, abs(misfit))
    if gap > max_gap_s:
        where = "before the first word" if late == gap else "after the last word" if misfit < 0 else "of words after the last row"
        remedy = (
            f"Check the story, the TR and the trimming; if the silence is meant, set `{key}: {math.ceil(gap)}` "
            f"(now {max_gap_s:g}) or drop volumes with `preprocess.trim_start` and `trim_end`."
        )
        return AlignmentFinding("coverage", "failed", f"{spans}: {gap:.1f} s {where}.", remedy)
    inside = len(transcript) - after - before
    if inside < 0.8 * len(transcript):
        return AlignmentFinding("coverage", "failed", f"{spans}: they do not fit. Check the story, the TR and the trimming.")
    if after or before:
        return AlignmentFinding("coverage", "warning", f"{spans}; {before} words lie before it and {after} after it.")
    return AlignmentFinding("coverage", "ok", f"{spans}.")


def _speech_rate(transcript: Transcript) -> AlignmentFinding:
    seconds = transcript.offsets[-1] - transcript.onsets[0]
    low, high = PLAUSIBLE_RATE
    if seconds <= 0:
        return AlignmentFinding(
            "speech_rate", "failed", f"{len(transcript)} words take no time. Check the unit of the word times."
        )
    rate = len(transcript) / seconds
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


def transient_finding(found: EdgeRows, tr: float, asked: str | float, dropped: EdgeRows | None) -> AlignmentFinding:
    """What the edges of a story's runs look like, and what is done about it.

    Parameters
    ----------
    found : of this story by itself
    asked : the config's `preprocess.trim_transients`
    dropped : what "auto" drops of every run, by the training rows of all stories
    """
    edges = [(found.start_z, "first"), (found.end_z, "last")]
    said = " and ".join(
        f"the {where} {len(z)} row{'s' * (len(z) > 1)} ({len(z) * tr:g} s, robust z {', '.join(f'{x:.1f}' for x in z)})"
        for z, where in edges
        if z
    )
    name = "transients"
    if not said:
        return AlignmentFinding(name, "ok", "no rows at the edges leave the distribution of the others.")
    left = f"{said} leave the distribution of the others"
    if dropped is not None and dropped.start >= found.start and dropped.end >= found.end:
        rows = f"{dropped.start} rows at the beginning and {dropped.end} at the end"
        return AlignmentFinding(name, "ok", f"{left}: {rows} of every run are dropped (`preprocess.trim_transients`).")
    if dropped is not None:
        why = "the training runs of some fold do not show it, so they stay; `preprocess.trim_transients` in seconds drops them."
        return AlignmentFinding(name, "warning", f"{left}: {why}")
    if asked == "off" or asked == 0:
        return AlignmentFinding(name, "warning", f"{left} and stay, as `preprocess.trim_transients: {asked}` asks.")
    return AlignmentFinding(name, "ok", f"{left}: {asked:g} s at both edges of every run are dropped, as the config asks.")


def lag_finding(lags: np.ndarray, r: np.ndarray, null_95: float, p: float, *, is_shifted: bool = False) -> AlignmentFinding:
    """What a lag curve says of the onset of the story; `is_shifted`: its peak is one that no response can have, beyond chance."""
    if not np.isfinite(p):
        message = "cannot tell: the run is too short or the BOLD too incomplete for a lag to be found."
        return AlignmentFinding("lag", "warning", message)
    best, (low, high) = float(lags[r.argmax()]), PLAUSIBLE_LAG_S
    found = f"r = {r.max():.2f}, 95 % by chance below {null_95:.2f}, {p_equals(p, SMALLEST_P)}"
    said = f"word rate and BOLD correlate best at {best:g} s ({found})"
    if is_shifted:
        message = f"{said}; a response follows its words by {low:g} to {high:g} s. Check the onset of the story."
        return AlignmentFinding("lag", "failed", message)
    if p >= FOLLOWS or not low <= best <= high:
        return AlignmentFinding("lag", "warning", f"cannot tell: {said}; no clear peak.")
    return AlignmentFinding("lag", "ok", f"{said}.")
