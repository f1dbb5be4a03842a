"""Which words does a run's BOLD follow? A test with a known false-alarm rate, over lags and over transcripts.

Signal      the mean over voxels that respond to the word rate at any lag, chosen on the other stories of the study;
            over all voxels where there is only one story.
Statistic   its largest correlation, over lags, with the response that a transcript's word rate would give.
Null        the same under random phases of the cross-spectrum, which keep the autocorrelation of both; of all runs and
            transcripts of the study together, as Fisher z, each divided by its own standard deviation.
Decision    another transcript, or an implausible lag, must fit better than the run's own words at a plausible lag, and
            better than chance at `FALSE_ALARMS` after Bonferroni correction for all comparisons of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import space_hash
from neurolm.statistics import columnwise_correlation, permutation_p, unit_columns
from neurolm.stimuli import stimulus_groups
from neurolm.stimuli.transcript import Transcript

PLAUSIBLE_LAG_S = (0.0, 12.0)  # the haemodynamic response peaks 4 to 8 s after the words
MAX_LAG = 15  # TRs
FALSE_ALARMS = 0.05 / 3  # of each of the three checks, over a whole study: 5 % together
N_VOXELS = 3000  # of a run that are looked at, evenly over the columns
CHOSEN_SHARE, FEWEST_CHOSEN = 0.05, 10  # of them that make the signal
PEAK_S = 5.0  # of the canonical response
N_SURROGATES = 500
SMALLEST_P = 1 / (1 + N_SURROGATES)
_STEP_S = 0.25


@dataclass(frozen=True, eq=False)
class SampledRun:
    """What is kept of a run: z-scored BOLD of some voxels, (n_trs, n_sampled), zero where a voxel is bad."""

    data: np.ndarray
    tr_times: np.ndarray
    subject: str
    space: str

    @classmethod
    def of(cls, run: BoldRun) -> SampledRun:
        step = max(1, -(-run.n_voxels // N_VOXELS))
        columns = np.arange(0, run.n_voxels, step)
        is_bad = run.bad_voxels[columns]
        data = np.zeros((run.n_trs, len(columns)), dtype=np.float32)
        data[:, ~is_bad] = zscore(run.data[:, columns[~is_bad]].astype(np.float64))
        return cls(data, run.tr_times, run.subject, space_hash(run.space))

    @property
    def tr(self) -> float:
        return float((self.tr_times[-1] - self.tr_times[0]) / (len(self.tr_times) - 1))

    @property
    def lags(self) -> np.ndarray:
        """Lags in TRs that are tried."""
        most = min(MAX_LAG, len(self.tr_times) // 8)
        return np.arange(-most, most + 1)


@dataclass(frozen=True, eq=False)
class Curve:
    """A signal against one transcript.

    lags_s, r : (n_lags,) correlation with the response that follows the words by so much
    surrogates : (n_surrogates, n_lags) the same under random phases; none where the signal is not known
    """

    lags_s: np.ndarray
    r: np.ndarray
    surrogates: np.ndarray

    @property
    def is_plausible(self) -> np.ndarray:
        return (self.lags_s >= PLAUSIBLE_LAG_S[0]) & (self.lags_s <= PLAUSIBLE_LAG_S[1])

    @property
    def null(self) -> np.ndarray:
        """(n_surrogates,) the largest correlation over lags."""
        return self.surrogates.max(1)

    def best(self, *, plausible: bool) -> float:
        """The largest correlation at plausible lags, or at the others; -inf where there is none."""
        r = self.r[self.is_plausible == plausible]
        return float(r.max()) if len(r) and np.isfinite(r).all() else -np.inf


@dataclass(frozen=True)
class Alternative:
    """What fits a signal better than its own words at a plausible lag, beyond chance."""

    who: str
    story: str  # empty: the own words at another lag
    lag_s: float
    r: float
    own_r: float
    p: float
    smallest_p: float = 0.0  # no p can be smaller with so many surrogates, after the correction for all comparisons


@dataclass(frozen=True, eq=False)
class StoryFollowing:
    """One story: the signal of all its runs together and of each, with their curves on the own words.

    shifted_lag, shifted_runs, other_words : what was found at implausible lags by all runs together, by single runs, and
        on other transcripts by either
    """

    signal: np.ndarray
    curve: Curve
    signals: tuple[np.ndarray, ...]
    curves: tuple[Curve, ...]
    n_chosen: int
    shifted_lag: tuple[Alternative, ...] = ()
    shifted_runs: tuple[Alternative, ...] = ()
    other_words: tuple[Alternative, ...] = ()


def expected_response(transcript: Transcript, times: np.ndarray) -> np.ndarray:
    """The canonical response to the word rate at times (s) of any shape, earlier by `PEAK_S`: it peaks at its words."""
    from scipy.stats import gamma

    fine = np.arange(min(times.min(), transcript.onsets[0]) - 40, times.max() + 2 * PEAK_S, _STEP_S)
    counts = np.histogram(transcript.mid_times, np.append(fine, fine[-1] + _STEP_S))[0]
    at = np.arange(0, 30, _STEP_S)
    response = np.convolve(counts, gamma.pdf(at, 6) - gamma.pdf(at, 16) / 6)[: len(fine)]
    return np.interp(times + PEAK_S, fine, response)


def lag_curve(
    transcript: Transcript, signal: np.ndarray, tr_times: np.ndarray, lags: np.ndarray, rng: np.random.Generator
) -> Curve:
    """Correlations of a z-scored signal with the response to a transcript at lags (TRs), and under random phases."""
    tr = float((tr_times[-1] - tr_times[0]) / (len(tr_times) - 1))
    middle = tr_times + tr / 2
    n = len(tr_times)
    response = expected_response(transcript, middle[:, None] - lags * tr)
    if not np.isfinite(signal).all():
        return Curve(lags * tr, np.full(len(lags), np.nan), np.zeros((0, len(lags))))
    own = unit_columns(np.column_stack([signal, response[:, len(lags) // 2]]))
    amplitudes = np.abs(np.prod(np.fft.rfft(np.nan_to_num(own), axis=0), axis=1))
    phases = rng.uniform(0, 2 * np.pi, (N_SURROGATES, len(amplitudes)))
    surrogates = np.fft.irfft(amplitudes * np.exp(1j * phases), n)[:, : len(lags)]
    r = columnwise_correlation(np.broadcast_to(signal[:, None], response.shape), response)
    return Curve(lags * tr, np.nan_to_num(r), surrogates)  # 0 where no word is near enough to be followed


def words_followed(
    transcripts: Mapping[str, Transcript], runs: Mapping[str, Sequence[SampledRun]], *, seed: int = 0
) -> dict[str, StoryFollowing]:
    """Test every run of a study against its own words and those of the other stories.

    Parameters
    ----------
    transcripts : mapping of str to Transcript
    runs : mapping of str to sequence of SampledRun
        For each story its runs, one for each subject, on one time grid.
    """
    names = list(runs)
    groups = dict(zip(names, stimulus_groups([transcripts[name].words for name in names]).tolist(), strict=True))
    responses = {name: [_voxel_curves(run, transcripts[name]) for run in runs[name]] for name in names}
    study = _Study(transcripts, groups, np.random.default_rng(seed))
    found = {}
    for name in names:
        others = [(run, curves) for one in names if groups[one] != groups[name] for run, curves in zip(runs[one], responses[one])]
        weighted = [_signal(run, others) for run in runs[name]]
        signals = tuple(signal for signal, _ in weighted)
        joint = zscore(np.mean(signals, axis=0)[:, None])[:, 0] if signals else np.zeros(0)
        found[name] = study.add(name, runs[name], joint, signals, max(n for _, n in weighted))
    return {name: study.judged(name, one) for name, one in found.items()}


def _voxel_curves(run: SampledRun, transcript: Transcript) -> np.ndarray:
    """(n_sampled, n_lags) correlation of every voxel with the own words."""
    middle = run.tr_times + run.tr / 2
    unit = np.nan_to_num(unit_columns(expected_response(transcript, middle[:, None] - run.lags * run.tr)))
    return run.data.T @ unit.astype(np.float32) / np.sqrt(len(middle))  # columns of the data are z-scored


def _signal(run: SampledRun, others: Sequence[tuple[SampledRun, np.ndarray]]) -> tuple[np.ndarray, int]:
    """(n_trs,) the signal of a run, z-scored, and how many voxels it is made of.

    Voxels are chosen on runs of other stories: all that share the run's voxels, so that other subjects help in a common space.
    """
    curves = [c for other, c in others if other.space == run.space and c.shape[1] == len(run.lags)]
    n = run.data.shape[1]
    weights = np.ones(n)
    if curves and n > FEWEST_CHOSEN:
        strength = np.mean(curves, axis=0).max(1)
        chosen = np.argsort(-strength, kind="stable")[: max(FEWEST_CHOSEN, round(CHOSEN_SHARE * n))]
        weights = np.zeros(n)
        weights[chosen] = np.maximum(strength[chosen], 0)
    weights *= run.data.any(0)
    with np.errstate(invalid="ignore"):
        signal = run.data.astype(np.float64) @ weights
    if not weights.any() or signal.std() == 0:
        return np.full(len(signal), np.nan), int((weights > 0).sum())
    return zscore(signal[:, None])[:, 0], int((weights > 0).sum())


@dataclass
class _Comparison:
    """One signal's best correlation with an alternative, as Fisher z over the spread of its surrogates."""

    family: str
    name: str
    found: Alternative
    z: float
    own: float


@dataclass
class _Study:
    """Comparisons of all runs, and the null that they share."""

    transcripts: Mapping[str, Transcript]
    groups: Mapping[str, int]
    rng: np.random.Generator
    comparisons: list[_Comparison] = field(default_factory=list)
    null: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(
        self, name: str, runs: Sequence[SampledRun], joint: np.ndarray, signals: tuple[np.ndarray, ...], n_chosen: int
    ) -> StoryFollowing:
        """The curves of a story's signals; their alternatives are kept until all stories are there."""
        times, lags = runs[0].tr_times, runs[0].lags
        curves = tuple(lag_curve(self.transcripts[name], signal, times, lags, self.rng) for signal in signals)
        curve = lag_curve(self.transcripts[name], joint, times, lags, self.rng)
        whole = [("all runs", joint, curve)] if len(signals) > 1 else []
        single = [(run.subject or "the run", signal, own) for run, signal, own in zip(runs, signals, curves)]
        self._lag("lag", name, *(whole or single)[0][::2])
        for who, _, own in single if whole else []:
            self._lag("runs", name, who, own)
        for other, transcript in self.transcripts.items():
            if self.groups[other] != self.groups[name]:
                for who, signal, own in [*whole, *single]:
                    self._words(name, who, own, other, lag_curve(transcript, signal, times, lags, self.rng))
        return StoryFollowing(joint, curve, signals, curves, n_chosen)

    def judged(self, name: str, story: StoryFollowing) -> StoryFollowing:
        """The story with the alternatives that are beyond chance."""
        from dataclasses import replace

        said: dict[str, list[Alternative]] = {"lag": [], "runs": [], "words": []}
        pools = {family: np.concatenate(null) for family, null in self.null.items()}
        for one in self.comparisons:
            if one.name == name and one.z > one.own:
                pool = pools[one.family]
                n = sum(other.family == one.family for other in self.comparisons)
                p = n * float(permutation_p(np.array(one.z), pool))
                if p <= FALSE_ALARMS:
                    said[one.family].append(replace(one.found, p=p, smallest_p=n / (1 + len(pool))))
        lag, runs, words = (tuple(said[family]) for family in ("lag", "runs", "words"))
        return replace(story, shifted_lag=lag, shifted_runs=runs, other_words=words)

    def _lag(self, family: str, name: str, who: str, own: Curve) -> None:
        self._compare(family, name, who, own, "", own, plausible=False)

    def _words(self, name: str, who: str, own: Curve, other: str, curve: Curve) -> None:
        self._compare("words", name, who, own, other, curve, plausible=True)

    def _compare(self, family: str, name: str, who: str, own: Curve, other: str, curve: Curve, *, plausible: bool) -> None:
        looked = curve.is_plausible == plausible
        if not len(curve.surrogates) or not looked.any():
            return
        null, spread = np.arctanh(curve.surrogates[:, looked].max(1)), np.arctanh(curve.surrogates).std()
        r = np.where(looked, curve.r, -np.inf)
        best = Alternative(who, other, float(curve.lags_s[r.argmax()]), float(r.max()), own.best(plausible=True), np.nan)
        self.null.setdefault(family, []).append(null / spread)
        self.comparisons.append(
            _Comparison(
                family, name, best, np.arctanh(best.r) / spread, np.arctanh(best.own_r) / np.arctanh(own.surrogates).std()
            )
        )
