"""One word replaced: how far into the future does it matter?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurolm.checks import bad
from neurolm.progress import Progress, silent
from neurolm.statistics import draw_counts
from neurolm.stimuli import Transcript, swap
from neurolm.timescales.responder import Responder, settings_of, warn_of_fitted
from neurolm.timescales.window_result import WindowResult, crossing, fit_curves, gated

FIT_STARTS = ((1.0, 0.1, 0.5), (0.5, 1.0, 0.2), (2.0, 0.02, 0.8), (1.0, 3.0, 0.9), (0.3, 0.5, 0.5))  # a, b, c


class SwapWindow:
    """The window of a voxel is the number of words that hold most of a swapped word's influence.

    One word of a story is replaced by another word of the same story, and both versions are read:

        D_v(lag) = mean over swaps of |y_v[k + lag] - y'_v[k + lag]|

    at word rate, before the haemodynamic response. The window is where the running sum of D reaches
    `share` of its whole: n words count the swapped word and n - 1 after it.

    Parameters
    ----------
    n_lags : int
        Words read after the swapped one.
    n_swaps : int
        Positions, drawn over all stories.
    past : int
        Words before the swapped one that are read with it. Take at least the context of the features;
        with states that began with the story the excerpt's past is that much shorter.
    share : float
    n_bootstrap, level, seed
        Draws of the swaps for the interval; false discovery rate over voxels.

    References
    ----------
    Skrill & Norman-Haignere (2023), Large language models transition from integrating across
    position-yoked, exponential windows to structure-yoked, power-law windows, NeurIPS.
    """

    def __init__(
        self,
        n_lags: int = 64,
        *,
        n_swaps: int = 100,
        past: int = 64,
        share: float = 0.75,
        n_bootstrap: int = 200,
        level: float = 0.05,
        seed: int = 0,
    ) -> None:
        for name, value in {"n_lags": n_lags, "n_swaps": n_swaps, "past": past}.items():
            if value < 1:
                raise bad(name, "be >= 1", value)
        self.n_lags, self.n_swaps, self.past, self.share = n_lags, n_swaps, past, share
        self.n_bootstrap, self.level, self.seed = n_bootstrap, level, seed

    def run(
        self, responder: Responder, stories: Sequence[Transcript], p: np.ndarray | None = None, progress: Progress = silent
    ) -> WindowResult:
        """Swap words and compare; parameters as for `ScrambleWindow.simulate`.

        Returns
        -------
        WindowResult
            scales: 1 .. n_lags + 1 words. curve: D(lag) / D(0). Intervals: over swaps.
            `details["structure_yoking"]` where stories have sentence marks: influence across a
            sentence boundary over influence at the same lags within a sentence; 1 is none, 0 is a
            full reset. NaN where no lag has both.
        """
        warn_of_fitted(responder, stories)
        changes, crossed = self._changes(responder, stories, progress)  # (n_swaps, n_lags + 1, n_voxels), (n_swaps, n_lags + 1)
        scales = np.arange(1, self.n_lags + 2)
        mean = changes.mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            curve = mean / mean[0]
        counts = draw_counts(len(changes), self.n_bootstrap, self.seed)
        draws = np.stack([self._window(scales, np.tensordot(one, changes, 1)) for one in counts])
        details = {"share": self.share, "median": np.median(changes, axis=0), **settings_of(responder)}
        if crossed is not None:
            details["structure_yoking"] = structure_yoking(changes, crossed)
        return gated(
            "swap_window",
            scales,
            curve,
            self._window(scales, mean),
            draws,
            p,
            "words",
            level=self.level,
            details=details,
            space=responder.space,
        )

    def places(self, stories: Sequence[Transcript]) -> list[tuple[int, int]]:
        """Every (story, word) that has two words before it and `n_lags` after it.

        Raises
        ------
        InputError
            If these are fewer than the swaps.
        """
        every = [(s, k) for s, story in enumerate(stories) for k in range(2, len(story) - self.n_lags)]
        if len(every) < self.n_swaps:
            longest = max((len(story) for story in stories), default=0)
            rule = f"leave {self.n_lags} words after each swap: {len(every)} places in stories of up to {longest} words"
            raise bad("n_swaps", rule, self.n_swaps, "Ask for fewer lags or swaps, or give longer stories.")
        return every

    def _window(self, scales: np.ndarray, influence: np.ndarray) -> np.ndarray:
        running = np.cumsum(influence, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return crossing(scales, running / running[-1], self.share)

    def _changes(
        self, responder: Responder, stories: Sequence[Transcript], progress: Progress
    ) -> tuple[np.ndarray, np.ndarray | None]:
        rng = np.random.default_rng(self.seed)
        every = self.places(stories)
        places = [every[i] for i in np.sort(rng.choice(len(every), self.n_swaps, replace=False))]
        has_marks = all(story.sentences is not None for story in stories)
        changes, crossed = [], []
        for done, (s, k) in enumerate(places, start=1):
            story = stories[s]
            first = max(0, k - self.past)
            excerpt = story[first : k + self.n_lags + 1]
            other = story.words[_another(story.words, k, rng)]
            before = responder.respond(excerpt)
            after = responder.respond(swap(excerpt, k - first, other).transcript)
            changes.append(np.abs(after - before)[k - first :])
            if has_marks and story.sentences is not None:
                crossed.append(story.sentences[k : k + self.n_lags + 1] != story.sentences[k])
            progress(done, len(places), "swaps")
        return np.stack(changes), np.stack(crossed) if has_marks else None


def structure_yoking(changes: np.ndarray, crossed: np.ndarray) -> np.ndarray:
    """Influence across a boundary over influence at the same lags within a unit: (n_voxels,).

    Parameters
    ----------
    changes : array of shape (n_swaps, n_lags, n_voxels)
    crossed : bool array of shape (n_swaps, n_lags)
        True where a boundary lies between the swapped word and this one.

    Returns
    -------
    ratio : array of shape (n_voxels,)
        Influence at each lag relative to that of the same swaps at lag 0, averaged over the lags that
        have swaps on either side; a lag with few on one of them counts little.
    """
    n_across, n_within = crossed.sum(0), (~crossed).sum(0)
    both = (n_across > 0) & (n_within > 0)
    weight = (n_across * n_within / len(crossed))[both]  # inverse variance of a difference of two means
    if not both.any():
        return np.full(changes.shape[2], np.nan)
    part, at_once = changes[:, both], changes[:, 0]
    sides = []
    for side in (crossed[:, both], ~crossed[:, both]):
        with np.errstate(invalid="ignore", divide="ignore"):
            sides.append(weight @ (np.einsum("sl,slv->lv", side, part) / np.einsum("sl,sv->lv", side, at_once)))
    across, within = sides
    with np.errstate(invalid="ignore", divide="ignore"):
        return across / within


def fit_influence(curve: np.ndarray) -> np.ndarray:
    """Power law and exponential mixed: c (lag + 1)^(-a) + (1 - c) e^(-b lag), by least squares.

    Parameters
    ----------
    curve : array of shape (n_lags, n_voxels)
        Influence by lag from 0 on, 1 at lag 0: `details["median"]` of a swap window, divided by its
        first row, or its curve.

    Returns
    -------
    abc : array of shape (3, n_voxels)
        a and b within [0, 10], c within [0, 1]; NaN where the curve is not finite.
    """
    fitted = np.full((3, curve.shape[1]), np.nan)
    known = np.isfinite(curve).all(0)
    y, lags = curve[:, known], np.arange(len(curve), dtype=np.float64)
    bounds = np.array([[0.0, 0.0, 0.0], [10.0, 10.0, 1.0]])
    starts = [np.tile(start, (y.shape[1], 1)) for start in FIT_STARTS]
    found = [fit_curves(lambda q: _mixture(q, lags), y, start, bounds, 200) for start in starts]
    best = np.argmin([cost for _, cost in found], axis=0)
    fitted[:, known] = np.stack([q for q, _ in found])[best, np.arange(y.shape[1])].T
    return fitted


def _mixture(q: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mixture and its derivatives by a, b, c."""
    a, b, c = (part[:, None] for part in q.T)
    power, decay = (lags + 1) ** -a, np.exp(-b * lags)
    slopes = np.stack([-c * np.log(lags + 1) * power, -(1 - c) * lags * decay, power - decay], axis=-1)
    return c * power + (1 - c) * decay, slopes


def _another(words: Sequence[str], k: int, rng: np.random.Generator) -> int:
    """A random position whose word differs from that at k."""
    if len(set(words)) < 2:
        raise bad("words of the story", "be at least two different ones", words[0])
    while words[i := int(rng.integers(len(words)))] == words[k]:
        pass
    return i
