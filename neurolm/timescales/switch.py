"""A story switched to another: how soon is the new context built up, how soon is the old one lost?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurolm.checks import bad
from neurolm.progress import Progress, silent
from neurolm.statistics import draw_counts
from neurolm.stimuli import Perturbed, Transcript, switch
from neurolm.timescales.responder import Responder, settings_of, warn_of_fitted
from neurolm.timescales.window_result import WindowResult, fit_curves, gated

LEAST_FALL = 0.1  # of the onset; a curve that falls by less has no half-time


class SwitchWindow:
    """Half-times of building a context up and of losing one.

    At word t after the onset of a segment, over all segments:

        construction  C(t)^2 = E (y - y')^2 / E (y - y')^2 at onset,   y in its own story, y' after a foreign past
        forgetting    F(t)^2 = cov(y, y') / cov at onset,              y and y' after one past, continued by two segments

    onset being the last word of the past, where nothing was switched yet. Both begin at 1. An
    integrator that leaks as e^(-t/tau) has C = F = e^(-t/tau): it forgets as slowly as it constructs,
    tau ln 2. One that is reset where the story switches forgets at once and constructs as slowly as the other.
    The half-time is where the logistic that was fitted to a curve is halfway between its onset and its end.

    Parameters
    ----------
    n_segments : int
        Segments, drawn over all stories.
    past : int
        Words before the onset.
    n_words : int
        Words from the onset on.
    n_bootstrap, level, seed
        Draws of the segments for the interval; false discovery rate over voxels.

    References
    ----------
    Chien & Honey (2020), Constructing and forgetting temporal context in the human cerebral cortex,
    Neuron 106:675-686. Chien, Zhang & Honey (2021), Mapping the timescale organization of neural
    language models, ICLR.
    """

    def __init__(
        self,
        n_segments: int = 100,
        *,
        past: int = 64,
        n_words: int = 48,
        n_bootstrap: int = 50,
        level: float = 0.05,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("n_segments", n_segments, 10), ("past", past, 1), ("n_words", n_words, 8)):
            if value < least:
                raise bad(name, f"be >= {least}", value)
        self.n_segments, self.past, self.n_words = n_segments, past, n_words
        self.n_bootstrap, self.level, self.seed = n_bootstrap, level, seed

    def run(
        self, responder: Responder, stories: Sequence[Transcript], p: np.ndarray | None = None, progress: Progress = silent
    ) -> WindowResult:
        """Switch stories and compare; parameters as for `ScrambleWindow.simulate`.

        Returns
        -------
        WindowResult
            Of construction: curve 1 - C(t), index the half-time in words. `details["forgetting"]` is
            the WindowResult of F(t); `details["ratio"]` forgetting over construction, near 1 for a
            linear integrator and near 0 for one that resets.
        """
        warn_of_fitted(responder, stories)
        built, kept = self._moments(responder, stories, progress)  # each (n_segments, 1 + n_words, n_voxels)
        scales = np.arange(1, self.n_words + 1)
        counts = draw_counts(self.n_segments, self.n_bootstrap, self.seed)
        results = []
        for name, terms in (("switch_window", built), ("switch_window_forgetting", kept)):
            curve = _amplitude(terms.mean(0))
            draws = np.stack([half_time(_amplitude(np.tensordot(one, terms, 1))) for one in counts])
            shown = 1 - curve[1:] if terms is built else curve[1:]
            results.append(
                gated(name, scales, shown, half_time(curve), draws, p, "words", level=self.level, space=responder.space)
            )
        construction, forgetting = results
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = forgetting.index / construction.index
        construction.details.update(forgetting=forgetting, ratio=ratio, **settings_of(responder))
        return construction

    def _moments(self, responder: Responder, stories: Sequence[Transcript], progress: Progress) -> tuple[np.ndarray, np.ndarray]:
        """Squared differences and products by segment, from the last word of the past on."""
        rng = np.random.default_rng(self.seed)
        whole, after_foreign, old_a, old_b = [], [], [], []
        for done in range(1, self.n_segments + 1):
            own, foreign, third = (self._excerpt(stories, rng) for _ in range(3))
            cut = slice(self.past - 1, None)
            whole.append(responder.respond(own)[cut])
            after_foreign.append(responder.respond(_switched(foreign, own, self.past))[cut])
            old_a.append(responder.respond(_switched(own, foreign, self.past))[cut])
            old_b.append(responder.respond(_switched(own, third, self.past))[cut])
            progress(done, self.n_segments, "segments")
        built = (np.stack(whole) - np.stack(after_foreign)) ** 2
        a, b = np.stack(old_a), np.stack(old_b)
        return built, (a - a.mean(0)) * (b - b.mean(0))

    def long_enough(self, stories: Sequence[Transcript]) -> list[Transcript]:
        """Stories of at least twice a past and a segment; an error where there is none."""
        least = 2 * (self.past + self.n_words)
        found = [story for story in stories if len(story) >= least]
        if not found:
            longest = max((len(story) for story in stories), default=0)
            raise bad("stories", f"hold one of at least {least} words: twice a past and a segment", f"{longest} words",
                      "Ask for a shorter past or fewer words.")  # fmt: skip
        return found

    def _excerpt(self, stories: Sequence[Transcript], rng: np.random.Generator) -> Transcript:
        n, long_enough = self.past + self.n_words, self.long_enough(stories)
        story = long_enough[int(rng.integers(len(long_enough)))]
        start = int(rng.integers(len(story) - n + 1))
        return story[start : start + n]


def _switched(past_of: Transcript, then: Transcript, past: int) -> Transcript:
    """The past of one excerpt, and the words of another from the onset on."""
    made: Perturbed = switch(past_of[:past], then, past)
    return made.transcript


def _amplitude(power: np.ndarray) -> np.ndarray:
    """Root of a curve of power (1 + n_words, n_voxels) relative to its first row; below 0 is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.clip(power / np.where(power[0] > 0, power[0], np.nan), 0, None))


def half_time(curve: np.ndarray) -> np.ndarray:
    """Words after which a falling curve is halfway from its onset to its end.

    Parameters
    ----------
    curve : array of shape (1 + n_words, n_voxels)
        Row t is t words after the onset.

    Returns
    -------
    half : array of shape (n_voxels,)
        From the logistic (a - d) / (1 + e^(b (t - c))) + d fitted by least squares; NaN where the
        curve is not finite or does not fall.
    """
    half = np.full(curve.shape[1], np.nan)
    known = np.isfinite(curve).all(0)
    if not known.any():
        return half
    y, n = curve[:, known], len(curve)
    t = np.arange(n, dtype=np.float64)
    middle = np.argmax(y <= (y[0] + y.min(0)) / 2, axis=0).astype(np.float64)
    start = np.stack([y[0] + 0.05, 2 / (middle + 1), middle, np.clip(y[-1], 0, None)], axis=1)
    bounds = np.array([[0.0, 0.01, -n, -0.5], [20.0, 20.0, n, 1.5]])
    fitted, _ = fit_curves(lambda q: _logistic(q, t), y, start, bounds)
    fine = np.linspace(0, t[-1], 20 * n)
    values = _logistic(fitted, fine)[0]  # (n_voxels, n_fine)
    first, last = values[:, :1], values[:, -1:]
    falls = (first - last)[:, 0] >= LEAST_FALL
    half[known] = np.where(falls, fine[np.argmax(values <= (first + last) / 2, axis=1)], np.nan)
    return half


def _logistic(q: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a - d) / (1 + e^(b (t - c))) + d and its derivatives by a, b, c, d."""
    from scipy.special import expit

    a, b, c, d = (part[:, None] for part in q.T)
    share = expit(-b * (t - c))
    slope = (a - d) * share * (1 - share)
    return (a - d) * share + d, np.stack([share, -slope * (t - c), slope * b, 1 - share], axis=-1)
