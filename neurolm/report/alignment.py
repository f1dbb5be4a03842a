"""What a report shows of one story's alignment: words over TRs, BOLD, lag curve, findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from neurolm.checks import bad, check_same_length

if TYPE_CHECKING:
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.stimuli import Transcript


class Finding(Protocol):
    """One thing that was checked; `status` is "ok", "warning" or "failed"."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def message(self) -> str: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class LagCurve:
    """Correlation of word rate with BOLD at each lag; a positive lag means BOLD follows the words.

    Parameters
    ----------
    lags_s, r : array of shape (n_lags,)
    null_95 : float
        95th percentile of the largest correlation over lags under the null.
    p, smallest_p : float
        Of so large a peak under the null; the least that its surrogates can give.
    expected_s : (float, float)
        Lags at which the peak must lie.
    """

    lags_s: np.ndarray
    r: np.ndarray
    null_95: float = float("nan")
    p: float = float("nan")
    smallest_p: float = 0.0
    expected_s: tuple[float, float] = (0.0, 12.0)

    def __post_init__(self) -> None:
        check_same_length("lags_s", len(self.lags_s), "r", len(self.r))

    @property
    def best_lag_s(self) -> float:
        """Seconds at which the correlation is largest; NaN when there is none."""
        return float("nan") if np.isnan(self.r).all() else float(self.lags_s[int(np.nanargmax(self.r))])


@dataclass(frozen=True, eq=False, kw_only=True)
class StoryAlignment:
    """One story of one run: do the words and the rows of BOLD belong together?

    Parameters
    ----------
    story : str
    tr_times : array of shape (n_trs,)
        Seconds on the story's clock at which each measured row began.
    word_rate : array of shape (n_trs,)
        Words in each TR.
    bold_mean : array of shape (n_trs,)
        Mean over regions and subjects, z-scored.
    bold_sd : array of shape (n_trs,), optional
        Standard deviation over regions and subjects.
    n_words, n_words_before, n_words_after : int
        All words; those heard before the first measured row and after the last.
    speech_s : (float, float)
        Onset of the first word and offset of the last, in seconds.
    lags : LagCurve, optional
    words_by_tr : tuple of str, optional
        The words of each TR as text, for checking by eye.
    dropped : tuple of str
        What was cut, in plain words: "10 volumes before the first row (0 to 20 s)".
    findings : tuple of Finding
        What was checked, and how it came out.
    runs : mapping of str to LagCurve
        The lag curve of each subject's own run, where several heard the story.
    """

    story: str
    tr_times: np.ndarray
    word_rate: np.ndarray
    bold_mean: np.ndarray
    bold_sd: np.ndarray | None = None
    n_words: int
    n_words_before: int
    n_words_after: int
    speech_s: tuple[float, float]
    lags: LagCurve | None = None
    words_by_tr: tuple[str, ...] | None = None
    dropped: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    runs: Mapping[str, LagCurve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_trs = len(self.tr_times)
        if n_trs < 2:
            raise bad(f"tr_times of {self.story}", "hold at least two rows", n_trs)
        for name in ("word_rate", "bold_mean", "bold_sd", "words_by_tr"):
            if getattr(self, name) is not None:
                check_same_length(f"{name} of {self.story}", len(getattr(self, name)), "tr_times", n_trs)

    @property
    def tr(self) -> float:
        """Repetition time in seconds."""
        return float((self.tr_times[-1] - self.tr_times[0]) / (len(self.tr_times) - 1))

    @property
    def measured_s(self) -> tuple[float, float]:
        """Beginning of the first row and end of the last, in seconds."""
        return float(self.tr_times[0]), float(self.tr_times[-1]) + self.tr

    @property
    def status(self) -> str:
        """The worst status of the findings."""
        seen = {finding.status for finding in self.findings}
        return next((status for status in ("failed", "warning") if status in seen), "ok")

    @classmethod
    def from_check(cls, check: AlignmentCheck, transcript: Transcript, *, dropped: tuple[str, ...] = ()) -> StoryAlignment:
        """What `neurolm.datasets.check_alignment` found, with the words that it looked at."""
        from neurolm.datasets.word_following import PLAUSIBLE_LAG_S, SMALLEST_P

        def _lags(r: np.ndarray, null_95: float, p: float) -> LagCurve:
            told = {"null_95": null_95, "p": p, "smallest_p": SMALLEST_P}
            return LagCurve(lags_s=check.lags_s, r=r, expected_s=PLAUSIBLE_LAG_S, **told)

        row = np.searchsorted([*check.tr_times, check.tr_times[-1] + check.tr], transcript.mid_times, side="right") - 1
        words: list[list[str]] = [[] for _ in check.tr_times]
        for word, i in zip(transcript.words, row, strict=True):
            if 0 <= i < len(words):
                words[i].append(word)
        return cls(
            story=check.story,
            tr_times=check.tr_times,
            word_rate=check.words_per_tr,
            bold_mean=check.mean_bold,
            bold_sd=check.bold_sd,
            n_words=check.n_words,
            n_words_before=check.n_words_before,
            n_words_after=check.n_words_after,
            speech_s=check.words_span_s,
            lags=_lags(check.lag_correlation, check.null_95, check.p),
            words_by_tr=tuple(" ".join(w) for w in words),
            dropped=dropped,
            findings=check.findings,
            runs={
                subject: _lags(r, float(null), float(p))
                for subject, r, null, p in zip(check.subjects, check.run_correlation, check.run_null_95, check.run_p, strict=True)
            }
            if len(check.subjects) > 1
            else {},
        )

    def of_subject(self, check: AlignmentCheck, subject: str) -> StoryAlignment:
        """The same story with one subject's own BOLD and lag curve."""
        from neurolm.datasets.alignment_check import lag_finding

        own, lags = check.run_bold[check.subjects.index(subject)], self.runs.get(subject)
        if lags is None:
            return self
        findings = [f for f in self.findings if f.name not in ("lag", "rows", "runs")]
        is_shifted = any(f.name == "runs" and f.status == "failed" and f"{subject} at " in f.message for f in self.findings)
        findings.append(lag_finding(lags.lags_s, lags.r, lags.null_95, lags.p, is_shifted=is_shifted))
        return replace(self, bold_mean=own, bold_sd=None, lags=lags, runs={}, findings=tuple(findings))
