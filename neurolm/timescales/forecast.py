"""Does a voxel know what comes next? What features of coming words add, against voxels that cannot know.

Text is predictable, so that features of coming words help to predict even a voxel that follows the
past alone, wherever the features of the past are not everything that it follows. A gain by itself
is therefore no forecast: it must exceed that of strictly causal voxels which are simulated on the
same story.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain import BoldRun
from neurolm.checks import bad
from neurolm.encoding import EncodingData, held_out_scores
from neurolm.encoding.held_out import nested_ridge
from neurolm.features import Features, join
from neurolm.progress import Progress, silent
from neurolm.statistics import permutation_p, surrogates
from neurolm.timescales.held_out_fit import FitSettings, folds_of, stack
from neurolm.timescales.window_result import WindowResult, gated

LEAST_GAIN = 1e-4  # of a correlation: less is rounding and shrinkage, where X says everything already


class ForecastGain:
    """Gain of held-out correlation from a window of coming words, by its distance.

        F_d = R([X, X~_d]) - R(X)

    X: features of the word and its past. X~_d: the features of `width` words that follow, of which
    the first comes d words later. Both are reduced to their leading directions, which are learned from
    the stimulus alone.

    Three things are set beside it:

    - causal null: responses that follow X alone, X W + noise: W is fitted, and the noise is what the fit leaves,
      with random phases. They hold signal and autocorrelation, and cannot know the future.
    - matched block: X~ of words from elsewhere in the story, just as wide: what more columns bring.
    - p: of the largest gain over distances, against the same of the causal null.

    Parameters
    ----------
    distances : sequence of int
        Words from the word itself to the first of the window.
    width : int
    n_components : int
        Directions of X and of X~.
    n_null : int
        Simulated data sets.
    settings : FitSettings

    References
    ----------
    Caucheteux, Gramfort & King (2023), Nat Hum Behav 7:430-441.

    Notes
    -----
    The null is as causal as X is complete: a voxel that follows the past through other features than
    X can still gain from the future. Compare with features of longer contexts before believing it.
    """

    def __init__(
        self,
        distances: Sequence[int] = (1, 2, 4, 6, 8, 10, 12),
        *,
        width: int = 7,
        n_components: int = 20,
        n_null: int = 100,
        settings: FitSettings | None = None,
    ) -> None:
        distances = tuple(distances)
        if not distances or min(distances) < 1 or list(distances) != sorted(set(distances)):
            raise bad("distances", "be different numbers of words >= 1, rising", list(distances))
        for name, value in {"width": width, "n_components": n_components, "n_null": n_null}.items():
            if value < 1:
                raise bad(name, "be >= 1", value)
        self.distances, self.width, self.n_components, self.n_null = distances, width, n_components, n_null
        self.settings = settings or FitSettings()

    def run(self, features: Sequence[Features], runs: Sequence[BoldRun], progress: Progress = silent) -> WindowResult:
        """Fit with and without every window of the future.

        Parameters
        ----------
        features : sequence of Features
            One story for each run; causal, as all features of neurolm are.
        runs : sequence of BoldRun

        Returns
        -------
        WindowResult
            scales: distances in words. curve: F_d. index: the distance of the largest gain.
            details: "null" (n_null, n_distances, n_voxels), "matched_block" (n_distances, n_voxels).
        """
        return self._found(features, lambda stories: stack(stories, runs, self.settings), progress)

    def units(self, features: Sequence[Features], progress: Progress = silent) -> WindowResult:
        """The same on the language model's own units, word by word and without a haemodynamic response.

        Units never read ahead, so whatever they gain is what a strictly causal system gains that follows
        the past through more than the leading directions of X: what voxels show must be laid beside it.

        Returns
        -------
        WindowResult
            As of `run`; unlike that of other estimators it has p and validity, since a gain from coming
            words says something only against the causal null.
        """
        units = [zscore(f.values).astype(np.float32) for f in features]
        return self._found(features, lambda stories: _word_by_word(stories, units), progress)

    def _found(
        self, features: Sequence[Features], stacked: Callable[[Sequence[Features]], EncodingData], progress: Progress
    ) -> WindowResult:
        past = _reduced([f.values for f in features], features, self.n_components)
        data = stacked(past)
        alone = _Scorer(data.X, data, self.settings)
        Y = np.concatenate([data.Y, *self._causal(data, alone)], axis=1)
        base = alone.scores(Y)
        gains: list[np.ndarray] = []
        matched: list[np.ndarray] = []
        for i, distance in enumerate(self.distances):
            for elsewhere, into, wanted in ((False, gains, Y), (True, matched, data.Y)):
                values = [coming_words(f.values, distance, self.width, elsewhere=elsewhere) for f in features]
                future = _reduced(values, features, self.n_components)
                both = stacked([join({"past": p, "future": f}) for p, f in zip(past, future)])
                into.append(_Scorer(both.X, both, self.settings).scores(wanted) - base[: wanted.shape[1]])
            progress(i + 1, len(self.distances), "distances")
        gain = np.stack(gains).reshape(len(self.distances), -1, data.Y.shape[1])  # (n_distances, 1 + n_null, n_voxels)
        curve, null = gain[:, 0], gain[:, 1:].swapaxes(0, 1)
        known, best = np.isfinite(curve).all(0), curve.max(0)
        index = np.where(known, np.array(self.distances)[np.where(known, curve, 0).argmax(0)], np.nan)
        return gated(
            "forecast_gain",
            np.array(self.distances),
            curve,
            index,
            np.empty((0, len(index))),
            np.where(best <= LEAST_GAIN, 1.0, permutation_p(best, null.max(1))),
            "words",
            level=self.settings.level,
            n_null=len(null),
            details={"null": null, "matched_block": np.stack(matched), **self.settings.as_details()},
            space=data.space,
        )

    def _causal(self, data: EncodingData, alone: _Scorer) -> list[np.ndarray]:
        """BOLD of voxels that follow X alone: out-of-sample predictions, and what they leave with random phases."""
        predicted = alone.predictions(data.Y)
        scale = _slope(data.Y, predicted)
        signal = predicted * scale
        left = np.nan_to_num(data.Y - signal)
        drawn = surrogates(
            left, self.n_null, null="phase_randomization", run_onsets=data.run_onsets.tolist(), rng=self.settings.seed
        )
        return [(signal + noise).astype(data.Y.dtype) for noise in drawn]


class _Scorer:
    """Held-out correlations of many targets with one X."""

    def __init__(self, X: np.ndarray, data: EncodingData, settings: FitSettings) -> None:
        self.ridge = nested_ridge(X, folds_of(data, settings), settings.alphas, n_targets=data.Y.shape[1], device=settings.device)

    def scores(self, Y: np.ndarray) -> np.ndarray:
        return held_out_scores(self.ridge, Y).scores

    def predictions(self, Y: np.ndarray) -> np.ndarray:
        found = held_out_scores(self.ridge, Y, keep_predictions=True).predictions
        return np.asarray(found, dtype=np.float64)


def check_reach(n_words: int, distance: int, width: int) -> None:
    """Refuse a window of coming words that does not end within half a story."""
    if distance + width > n_words // 2:
        raise bad("distance and width", f"end within half a story of {n_words} words", f"{distance} and {width}")


def coming_words(values: np.ndarray, distance: int, width: int, *, elsewhere: bool = False) -> np.ndarray:
    """Features of the `width` words that begin `distance` words later, side by side: (n_words, width * n_features).

    After the story's last word there is nothing: zero after centring. `elsewhere` takes the words half
    a story away instead, which are just as wide and have no relation to the place.
    """
    n_words, n_features = values.shape
    check_reach(n_words, distance, width)
    centred = values - values.mean(0)
    if elsewhere:
        centred = np.roll(centred, n_words // 2, axis=0)
    padded = np.concatenate([centred, np.zeros((distance + width, n_features), dtype=values.dtype)])
    return np.concatenate([padded[distance + i : distance + i + n_words] for i in range(width)], axis=1)


def _reduced(stories: Sequence[np.ndarray], like: Sequence[Features], n_components: int) -> list[Features]:
    """Leading directions over all stories, each of unit variance, at the times of `like`."""
    from scipy.linalg import eigh

    whole = np.concatenate(stories).astype(np.float64)
    whole -= whole.mean(0)
    by_word = len(whole) < whole.shape[1]  # whichever product is smaller
    gram = whole @ whole.T if by_word else whole.T @ whole
    values, vectors = eigh(gram, subset_by_index=(max(0, len(gram) - n_components), len(gram) - 1))
    keep = np.flatnonzero(values > 1e-10 * values.max())[::-1]
    along = vectors[:, keep] if by_word else whole @ vectors[:, keep] / np.sqrt(values[keep])
    projected = (along * np.sqrt(len(whole))).astype(np.float32)
    parts = np.split(projected, np.cumsum([len(s) for s in stories])[:-1])
    return [Features(part, f.times, settings=f.settings, words=f.words) for part, f in zip(parts, like)]


def _word_by_word(stories: Sequence[Features], units: Sequence[np.ndarray]) -> EncodingData:
    """One row for each word: reduced features, and the units that they are to explain."""
    X = np.concatenate([story.values for story in stories])
    onsets = np.cumsum([0, *(len(story) for story in stories[:-1])])
    return EncodingData(X, np.concatenate(units), onsets, stories[0].slices)


def _slope(Y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(n_voxels,) how much larger than its prediction a response is; never below 0."""
    y, p = Y - Y.mean(0), predicted - predicted.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(np.nan_to_num((y * p).sum(0) / (p * p).sum(0)), 0, None)
