"""Stories in the wrong order: from which grain on does a response stop caring?

After Lerner et al. (2011), in silico. Two ways:

simulate   a fitted model hears scrambled stories; its un-scrambled response is correlated with the
           response to the intact story, r_SI
refit      features of scrambled stories, un-scrambled, are fitted to the BOLD of intact listening
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad, check_same_length
from neurolm.features import Features, FeatureSpace
from neurolm.progress import Progress, silent
from neurolm.statistics import draw_counts
from neurolm.stimuli import Transcript, scramble
from neurolm.timescales.held_out_fit import FitSettings, best_score_test, drawn_correlations, held_out_fit, stack, time_blocks
from neurolm.timescales.responder import Responder, respond_to_all, settings_of, warn_of_fitted
from neurolm.timescales.window_result import WindowResult, crossing, gated, saturation

Level = int | str
BLOCK_WORDS = 50  # words that intervals draw together


class ScrambleWindow:
    """The window of a voxel is the size of the pieces into which a story may be cut unnoticed.

    Parameters
    ----------
    levels : sequence of int, "sentence" or "paragraph"
        Block sizes in words; a sentence or paragraph counts with its mean length in these stories.
    n_scrambles : int
        Random orders for each level; responses to all of them are pooled.
    criterion : float
        r_SI that a voxel's curve must reach (simulate).
    settings : FitSettings
        Refit; simulate uses its level, seed and n_bootstrap.

    References
    ----------
    Lerner et al. (2011), J Neurosci 31:2906-2915. Caucheteux, Gramfort & King (2021), EMNLP
    (features of scrambled text, BOLD of intact speech).
    """

    def __init__(
        self,
        levels: Sequence[Level] = (1, 2, 4, 8, 16, 32, 64, 128, 256),
        *,
        n_scrambles: int = 3,
        criterion: float = 0.75,
        settings: FitSettings | None = None,
    ) -> None:
        if len(levels) < 2:
            raise bad("levels", "be at least two", list(levels))
        if n_scrambles < 1:
            raise bad("n_scrambles", "be >= 1", n_scrambles)
        self.levels, self.n_scrambles, self.criterion = tuple(levels), n_scrambles, criterion
        self.settings = settings or FitSettings()

    def simulate(
        self, responder: Responder, stories: Sequence[Transcript], p: np.ndarray | None = None, progress: Progress = silent
    ) -> WindowResult:
        """Let a fitted model, or a language model's units, hear scrambled stories.

        Parameters
        ----------
        responder : Responder
            `EncodingResponder(model, feature_space)` or `UnitResponder(feature_space)`.
        stories : sequence of Transcript
            Best not those of the fit.
        p : array of shape (n_voxels,), optional
            Of each voxel's held-out prediction (`prediction_test`); None for units.

        Returns
        -------
        WindowResult
            scales: words in a piece. curve: r_SI, word by word. index: where it first reaches the
            criterion, interpolated in log words. `details["variance_ratio"]`: variance of the response
            to scrambled stories over that to intact ones. Predictions hold no noise of measurement:
            intervals are over stretches of the stories.
        """
        scales, levels = self.piece_sizes(stories)
        intact, scrambled = self._responses(responder, stories, levels, progress)
        starts = np.arange(0, len(intact), BLOCK_WORDS)
        counts = draw_counts(len(starts), self.settings.n_bootstrap, self.settings.seed)
        curve, drawn, ratio = [], [], []
        for level in scrambled:  # (n_words of all stories and scrambles, n_voxels)
            twice = np.tile(intact, (self.n_scrambles, 1))
            y, s = twice - twice.mean(0), level - level.mean(0)
            every = np.concatenate([starts + i * len(intact) for i in range(self.n_scrambles)])
            curve.append(drawn_correlations(y, s, every, np.ones((1, len(every))))[0])
            drawn.append(drawn_correlations(y, s, every, np.tile(counts, self.n_scrambles)))
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio.append(level.var(0) / intact.var(0))
        draws = [crossing(scales, one, self.criterion) for one in np.stack(drawn, axis=1)]
        return gated(
            "scramble_window",
            scales,
            np.stack(curve),
            crossing(scales, np.stack(curve), self.criterion),
            np.stack(draws),
            p,
            "words",
            level=self.settings.level,
            details={
                "mode": "simulate",
                "criterion": self.criterion,
                "levels": list(levels),
                "variance_ratio": np.stack(ratio),
                **settings_of(responder),
            },
            space=responder.space,
        )

    def refit(
        self, feature_space: FeatureSpace, stories: Sequence[Transcript], runs: Sequence[BoldRun], progress: Progress = silent
    ) -> WindowResult:
        """Fit features of scrambled text to responses to intact speech.

        Each word keeps its own time and has the features that it got in the scrambled story. The
        curve is the held-out correlation; a flat one says that order does not matter to the fit. The
        index is where it saturates, and the intact story is the last scale.
        """
        scales, levels = self.piece_sizes(stories)
        check_same_length("stories", len(stories), "runs", len(runs))
        rng = np.random.default_rng(self.settings.seed)
        fits, designs = [], []
        for i, level in enumerate([*levels, None]):
            features = [_scrambled_features(feature_space, story, level, rng) for story in stories]
            data = stack(features, runs, self.settings)
            fits.append(held_out_fit(data.X, data, self.settings))
            designs.append(data.X)
            progress(i + 1, len(levels) + 1, "levels")
        scales = np.append(scales, max(np.mean([len(story) for story in stories]), scales[-1] + 1))
        curve = np.stack([fit.scores for fit in fits])
        test = best_score_test(designs, data, self.settings, progress)
        starts = time_blocks(data, self.settings.block_trs)
        counts = draw_counts(len(starts), self.settings.n_bootstrap, self.settings.seed)
        drawn = np.stack([drawn_correlations(f.responses, f.predictions, starts, counts) for f in fits], axis=1)
        return gated(
            "scramble_window",
            scales,
            curve,
            saturation(scales, curve),
            np.stack([saturation(scales, one) for one in drawn]),
            test.p_values,
            "words",
            level=self.settings.level,
            n_null=test.n_permutations,
            details={"mode": "refit", "levels": [*levels, "intact"], **self.settings.as_details()},
            space=data.space,
        )

    def piece_sizes(self, stories: Sequence[Transcript]) -> tuple[np.ndarray, tuple[Level, ...]]:
        """Mean words in a piece at each level, rising, and the levels in that order.

        Raises
        ------
        InputError
            If a story lacks the marks of a level, or is too short for it.
        """
        if not len(stories):
            raise bad("stories", "hold at least one", "none")
        sizes = [float(np.mean([_mean_piece(story, level) for story in stories])) for level in self.levels]
        order = np.argsort(sizes, kind="stable")
        scales = np.array(sizes)[order]
        if (np.diff(scales) <= 0).any():
            raise bad("levels", "have different sizes in these stories", scales.tolist(), "Leave out one of two alike.")
        return scales, tuple(self.levels[i] for i in order)

    def _responses(
        self, responder: Responder, stories: Sequence[Transcript], levels: Sequence[Level], progress: Progress
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Intact (n_words, n_voxels), and for each level the un-scrambled ones below each other."""
        rng = np.random.default_rng(self.settings.seed)
        warn_of_fitted(responder, stories)
        intact = respond_to_all(responder, stories)
        scrambled = []
        for i, level in enumerate(levels):
            rows = []
            for _ in range(self.n_scrambles):
                for story in stories:
                    changed = scramble(story, level, rng)
                    rows.append(responder.respond(changed.transcript)[changed.target_index])
            scrambled.append(np.concatenate(rows))
            progress(i + 1, len(levels), "levels", str(level))
        return intact, scrambled


def _mean_piece(story: Transcript, level: Level) -> float:
    if isinstance(level, (int, np.integer)) and level > len(story) // 2:
        raise bad("levels", f"cut a story of {len(story)} words into at least two pieces", level, "Leave out the longest.")
    still = np.random.default_rng(0)
    n_words = len(scramble(story, level, still).transcript)  # says which marks are missing
    if isinstance(level, (int, np.integer)):
        return float(level)
    if level == "word":
        return 1.0
    marks = story.sentences if level == "sentence" else story.paragraphs
    assert marks is not None
    return n_words / len(np.unique(marks))


def _scrambled_features(space: FeatureSpace, story: Transcript, level: Level | None, rng: np.random.Generator) -> Features:
    """What each word's features were in the scrambled story, at the word's own time; None is the intact story."""
    if level is None:
        return space.extract(story)
    changed = scramble(story, level, rng)
    heard = space.extract(changed.transcript)
    return replace(heard, values=heard.values[changed.target_index], times=story.mid_times, context=None, shortened=None)
