"""How much context a voxel needs: encoding models refitted with more and more of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad, check_choice, check_same_length
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.statistics import columnwise_correlation, draw_counts
from neurolm.timescales.held_out_fit import FitSettings, best_score_test, drawn_correlations, held_out_fit, stack, time_blocks
from neurolm.timescales.window_result import WindowResult, gated, saturation

Swept = Mapping[int, Features]


class ContextWindowSweep:
    """The window of a voxel is the context from which on its held-out correlation rises no more.

    Parameters
    ----------
    index : {"saturation", "argmax"}
        "saturation": the least context at which the running maximum of the curve reaches `share` of
        its final value, interpolated in log words. "argmax": the context with the highest score,
        as often published; on flat curves noise decides it, and it comes out longer.
    share : float
    settings : FitSettings

    References
    ----------
    Jain & Huth (2018), Incorporating context into language encoding models for fMRI, NeurIPS.
    """

    def __init__(self, *, index: str = "saturation", share: float = 0.95, settings: FitSettings | None = None) -> None:
        self.index = check_choice("index", index, ("saturation", "argmax"))
        if not 0 < share <= 1:
            raise bad("share", "lie in (0, 1]", share)
        self.share = share
        self.settings = settings or FitSettings()

    def run(self, swept: Sequence[Swept], runs: Sequence[BoldRun], progress: Progress = silent) -> WindowResult:
        """Refit every context.

        Parameters
        ----------
        swept : sequence of mapping of int to Features
            One story for each run: `LMStates(...).sweep(transcript, contexts)`, which costs what the
            longest context alone costs.
        runs : sequence of BoldRun

        Returns
        -------
        WindowResult
            curve: held-out correlation by context. p: of its maximum over contexts, against the same
            maximum on BOLD that was made again. Intervals: blocks of time drawn for all contexts alike.

        Raises
        ------
        InputError
            If contexts differ between stories, are fewer than two, or are longer than a story.
        """
        contexts = _check_contexts(swept)
        fits, designs = [], []
        for i, context in enumerate(contexts):
            data = stack([story[context] for story in swept], runs, self.settings)
            fits.append(held_out_fit(data.X, data, self.settings))
            designs.append(data.X)
            progress(i + 1, len(contexts), "contexts", f"{context} words")
        curve = np.stack([fit.scores for fit in fits])
        test = best_score_test(designs, data, self.settings, progress)
        starts = time_blocks(data, self.settings.block_trs)
        counts = draw_counts(len(starts), self.settings.n_bootstrap, self.settings.seed)
        drawn = [drawn_correlations(fit.responses, fit.predictions, starts, counts) for fit in fits]
        indices = [self._window(contexts, one) for one in np.stack(drawn, axis=1)]  # each (n_contexts, n_voxels)
        return gated(
            "context_window_sweep",
            contexts,
            curve,
            self._window(contexts, curve),
            np.stack(indices),
            test.p_values,
            "words",
            level=self.settings.level,
            n_null=test.n_permutations,
            details={
                "index": self.index,
                "share": self.share,
                "held_out_correlation": curve.max(0),
                **self.settings.as_details(),
            },
            space=data.space,
        )

    def units(self, swept: Sequence[Swept]) -> WindowResult:
        """The same on the language model's own units: how soon a truncated state is the full one.

        curve: correlation, over all words, of each unit's state with its state at the longest context.
        """
        contexts = _check_contexts(swept)
        whole = np.concatenate([story[contexts[-1]].values for story in swept])
        curve = np.stack([columnwise_correlation(np.concatenate([story[c].values for story in swept]), whole) for c in contexts])
        details = {"index": "saturation", "share": self.share}
        empty = np.empty((0, curve.shape[1]))
        return gated(
            "context_window_sweep",
            contexts,
            curve,
            saturation(contexts, curve, self.share),
            empty,
            None,
            "words",
            details=details,
        )

    def _window(self, contexts: np.ndarray, curve: np.ndarray) -> np.ndarray:
        if self.index == "saturation":
            return saturation(contexts, curve, self.share)
        known = np.isfinite(curve).all(0) & (curve.max(0) > 0)
        return np.where(known, contexts[np.where(np.isnan(curve), -np.inf, curve).argmax(0)], np.nan)


def _check_contexts(swept: Sequence[Swept]) -> np.ndarray:
    if not len(swept):
        raise bad("swept", "hold at least one story", "none")
    contexts = sorted(swept[0])
    for i, story in enumerate(swept):
        check_same_length("contexts of story 0", len(contexts), f"those of story {i}", len(story))
        if sorted(story) != contexts:
            raise bad(f"contexts of story {i}", f"be those of story 0, {contexts}", sorted(story))
    if len(contexts) < 2:
        raise bad("contexts", "be at least two", contexts, "One length says nothing about saturation.")
    shortest = min(len(story[contexts[0]]) for story in swept)
    if contexts[-1] > shortest:
        raise bad("contexts", f"not be longer than the shortest story, {shortest} words", contexts[-1])
    return np.array(contexts)
