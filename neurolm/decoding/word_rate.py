"""How many words were heard in each TR, told from BOLD: where in time the decoded words go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurolm.arrays import to_numpy
from neurolm.brain import BoldRun
from neurolm.checks import bad, check_finite, check_same_length
from neurolm.letters import count_letters
from neurolm.stimuli.transcript import Transcript
from neurolm.temporal import lanczos_matrix

DELAYS = (-4, -3, -2, -1)
ALPHAS = tuple(np.logspace(-1, 7, 17).tolist())  # the published grid, 10^2 to 10^6 in ten steps, lies inside


class WordRateModel:
    """A ridge from responses to the number of words, the encoding model's arrow turned round.

    The target is the words of each TR (ones, Lanczos-resampled like every feature) less their mean;
    the inputs are the responses 1 to 4 TRs later, zero beyond the run's end.

    Parameters
    ----------
    delays : sequence of int
        In TRs, negative: -1 is the response one TR after the words.
    alphas : sequence of float
        Penalties to choose from.
    cv : int or None
        Folds; None holds out each training run in turn (5 contiguous blocks of a single run).
    voxels : array of int, optional
        Columns of the BOLD to use: auditory cortex where speech was heard, speech areas where it was
        imagined or a film had none (the published choice). All by default.

    Attributes
    ----------
    coef_ : (n_delays * n_voxels,)
    mean_rate_ : float
        Words in a TR, over the training runs.
    best_alpha_ : float
    """

    coef_: np.ndarray
    mean_rate_: float
    best_alpha_: float

    def __init__(
        self, delays: Sequence[int] = DELAYS, alphas: Sequence[float] = ALPHAS, cv: int | None = None, voxels: Any = None
    ) -> None:
        self.delays = delays
        self.alphas = alphas
        self.cv = cv
        self.voxels = voxels

    def fit(self, runs: Sequence[BoldRun], stories: Sequence[Transcript]) -> WordRateModel:
        """Learn from runs and the stories that were heard in them."""
        from neurolm.encoding import RidgeCV
        from neurolm.encoding.crossval import run_folds
        from neurolm.stimuli import stimulus_groups

        check_same_length("runs", len(runs), "stories", len(stories), "Give one story for each run.")
        if not runs:
            raise bad("runs", "hold at least one run", list(runs))
        X = [self._inputs(run) for run in runs]
        y = np.concatenate([words_per_tr(story, run.tr_times) for run, story in zip(runs, stories)])
        self.mean_rate_ = float(y.mean())
        onsets = np.cumsum([0, *(len(x) for x in X[:-1])])
        cv: Any = self.cv
        if cv is None:
            cv = run_folds(onsets, len(y), None, run_groups=stimulus_groups([story.words for story in stories]))
        ridge = RidgeCV(self.alphas, cv=cv, dtype="float64", device="cpu").fit(np.concatenate(X), (y - self.mean_rate_)[:, None])
        self.coef_, self.best_alpha_ = ridge.coef_[:, 0], float(ridge.best_alphas_[0])
        return self

    def predict(self, run: BoldRun) -> np.ndarray:
        """(n_trs,) words per TR, real numbers, possibly below 0."""
        if not hasattr(self, "coef_"):
            raise bad("this WordRateModel", "be fitted first", "no weights", "Call fit(runs, stories).")
        X = self._inputs(run)
        check_same_length(
            "inputs of the run", X.shape[1], "inputs of the model", len(self.coef_), "Decode the voxels that it was fitted on."
        )
        return X @ self.coef_ + self.mean_rate_

    def predict_times(self, run: BoldRun) -> np.ndarray:
        """Middles of the words (s) that the rate puts into the run; see `times_from_rate`.

        Raises
        ------
        InputError
            If no word is predicted anywhere.
        """
        times = times_from_rate(self.predict(run), run.tr_times)
        if not len(times):
            raise bad(
                "the word rate",
                "round to at least one word somewhere in the run",
                f"at most {self.predict(run).max():.2f} words in a TR",
                "Use voxels that follow speech, or give word times.",
            )
        return times

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As (arrays, attributes) for HDF5; `from_arrays` puts it together again."""
        arrays = {"word_rate/coef": self.coef_}
        if self.voxels is not None:
            arrays["word_rate/voxels"] = np.asarray(self.voxels)
        kept = {
            "delays": list(self.delays),
            "alphas": list(self.alphas),
            "mean_rate": self.mean_rate_,
            "best_alpha": self.best_alpha_,
        }
        return arrays, {"word_rate": {**kept, "cv": self.cv}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> WordRateModel:
        """The model that `to_arrays` took apart."""
        kept = attributes["word_rate"]
        model = cls(kept["delays"], kept["alphas"], kept["cv"], arrays.get("word_rate/voxels"))
        model.coef_, model.mean_rate_ = arrays["word_rate/coef"], kept["mean_rate"]
        model.best_alpha_ = kept["best_alpha"]
        return model

    def _inputs(self, run: BoldRun) -> np.ndarray:
        """(n_trs, n_delays * n_voxels) responses around each TR, delay-major."""
        responses = run.data if self.voxels is None else run.data[:, np.asarray(self.voxels)]
        check_finite(f"BOLD for the word rate of {run.story or 'the run'}", responses, "Choose voxels without NaN.")
        return shift_run(to_numpy(responses).astype(np.float64), self.delays)


def words_per_tr(story: Transcript, tr_times: Any) -> np.ndarray:
    """(n_trs,) how many words each TR holds, low-passed like every feature: ones at the words' middles, resampled."""
    times = np.asarray(tr_times, dtype=np.float64)
    tr = (times[-1] - times[0]) / (len(times) - 1)
    return lanczos_matrix(story.mid_times, times + tr / 2).sum(axis=1)


def shift_run(Y: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """Responses of one run at each delay: row t holds Y[t - delay], zero outside the run. Delay-major.

    Unlike `delay_run` this takes negative delays, responses *after* the row: what follows speech
    tells of it.
    """
    n_trs, n_voxels = Y.shape
    out = np.zeros((n_trs, len(delays) * n_voxels))
    for i, delay in enumerate(delays):
        if not -n_trs < delay < n_trs:
            raise bad("delays", f"lie within the run's {n_trs} TRs", delay, "Delays are in TRs, not in seconds.")
        target = slice(max(delay, 0), n_trs + min(delay, 0))
        source = slice(max(-delay, 0), n_trs + min(-delay, 0))
        out[target, i * n_voxels : (i + 1) * n_voxels] = Y[source]
    return out


def times_from_rate(words_per_tr: Any, tr_times: Any) -> np.ndarray:
    """Middles of words (s): n = the rate rounded half to even (2.5 -> 2, 3.5 -> 4; below 0 is 0) words in each TR,
    evenly spaced over it.

    Word k of n lies at start + (k + 1/2) TR / n, where the TR is taken to begin at its tr_time.
    """
    rates, starts = np.asarray(words_per_tr, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    check_same_length("words_per_tr", len(rates), "tr_times", len(starts))
    check_finite("words_per_tr", rates)
    tr = (starts[-1] - starts[0]) / (len(starts) - 1)
    counts = np.rint(np.maximum(rates, 0)).astype(np.int64)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + (place + 0.5) * tr / np.repeat(counts, counts)


def length_aware_times(words: Sequence[str], word_times: Any, tr_times: Any) -> np.ndarray:
    """The same number of words in each TR, but each given time in proportion to its letters.

    A word of n letters takes n + 2 shares of its TR (the 2 stand for what every word takes); it sits
    in the middle of its share. For rescoring finished texts: during the search all hypotheses share
    their word times.
    """
    times, starts = np.asarray(word_times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    check_same_length("words", len(words), "word_times", len(times))
    tr = (starts[-1] - starts[0]) / (len(starts) - 1)
    row = np.floor((times - starts[0]) / tr + 1e-9).astype(np.int64)
    shares = np.array([count_letters(word) + 2 for word in words], dtype=np.float64)
    out = np.empty(len(times))
    for one in np.unique(row):
        own = np.flatnonzero(row == one)
        ends = np.cumsum(shares[own]) / shares[own].sum()
        out[own] = starts[0] + tr * (one + ends - shares[own] / shares[own].sum() / 2)
    return out
