"""What a language model predicts beyond low-level features (word rate, duration, length, pauses, frequency, sound power).

Low-level features are fitted alone and together with each feature set, on the same folds, each with penalties chosen inside the
training rows; the gain in held-out correlation is tested against shifts of the residuals of the low-level model with both fits
repeated. In the joint fit low-level columns are scaled so that both spaces have the same total variance: a few columns of plain
features would else pay the penalty of thousands.

References
----------
Freedman & Lane (1983), J Bus Econ Stat 1:292-298; Winkler et al. (2014), NeuroImage 92:381-397.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolm.checks import bad, check_finite, check_same_length
from neurolm.encoding.evaluation import BeyondLowLevel, EvaluationSettings, Scored
from neurolm.encoding.held_out import NestedFold, nested_ridge
from neurolm.encoding.listeners import Listeners
from neurolm.encoding.nested import NestedRidge
from neurolm.encoding.scoring_ways import design_matrix, score_ways, stories_of, ways_of_scoring
from neurolm.features import Features
from neurolm.progress import Progress

_NAME = "low level"


@dataclass(frozen=True, eq=False)
class LowLevel:
    """Low-level features of every run.

    Parameters
    ----------
    words : sequence of Features
        One row for each word, one `Features` for each run: resampled and delayed as feature sets are.
    names : tuple of str
        What a reader calls the columns, those of `regressors` as well.
    regressors : sequence of arrays of shape (n_trs, n_regressors), optional
        For each run columns that are at its TRs and convolved with a haemodynamic response already: they get no delays.
    """

    words: Sequence[Features]
    names: tuple[str, ...]
    regressors: Sequence[np.ndarray] | None = None

    def design(self, listeners: Listeners, settings: EvaluationSettings) -> np.ndarray:
        """(n_trs, n_columns), each column z-scored by the training runs."""
        words = design_matrix(stories_of(_NAME, {_NAME: self.words}, listeners), listeners, settings)
        if self.regressors is None:
            return words
        check_same_length("regressors", len(self.regressors), "runs", len(listeners.runs), "Give one array for each run.")
        for one, run in zip(self.regressors, listeners.runs, strict=True):
            if np.ndim(one) != 2 or len(one) != run.n_trs:
                raise bad(f"regressors of {run.story or 'a run'}", f"have one row for each of its {run.n_trs} TRs", np.shape(one))
            check_finite("regressors", one)
        columns = np.concatenate(self.regressors)
        train = np.isin(np.searchsorted(listeners.run_onsets, np.arange(len(columns)), side="right") - 1, settings.test_runs)
        spread = columns[~train].std(0)
        columns = (columns - columns[~train].mean(0)) / np.where(spread > 0, spread, 1)
        return np.concatenate([words, columns.astype(words.dtype)], axis=1)


def beyond_low_level(
    feature_sets: Mapping[str, Sequence[Features]],
    low_level: LowLevel,
    listeners: Listeners,
    folds: list[NestedFold],
    settings: EvaluationSettings,
    seed: int,
    keep: Path | None,
    progress: Progress,
) -> tuple[list[BeyondLowLevel], list[BeyondLowLevel]]:
    """Test the gain of the joint fit over low-level features: for each way of scoring, and for each subject of a group."""
    ways = ways_of_scoring(listeners, folds, settings, seed, keep, beyond_baseline=True)
    low = low_level.design(listeners, settings)

    def ridge_of(name: str) -> NestedRidge:
        X = low if name == _NAME else design_matrix(stories_of(name, feature_sets, listeners), listeners, settings)
        return joint_ridge(low, None if name == _NAME else X, folds, settings)

    score_ways(ways, [_NAME], feature_sets, ridge_of, progress)
    return [_found(way.scored()) for way in ways], [_found(one) for one in ways[-1].each()] if listeners.is_group else []


def joint_ridge(low: np.ndarray, X: np.ndarray | None, folds: list[NestedFold], settings: EvaluationSettings) -> NestedRidge:
    """Ridge of low-level columns (n_trs, n_low), alone or side by side with X (n_trs, n_features) at the same total variance."""
    assert settings.alphas is not None
    scale, columns = None, low
    if X is not None:
        columns = np.concatenate([low, X], axis=1)
        scale = np.ones(columns.shape[1])
        scale[: low.shape[1]] = np.sqrt(X.shape[1] / low.shape[1])
    n, device = settings.n_targets_batch, settings.device
    return nested_ridge(columns, folds, settings.alphas, n_targets=n, device=device, column_scale=scale)


def _found(scored: Scored) -> BeyondLowLevel:
    against = scored.against
    return BeyondLowLevel(
        low_level=scored.baselines[0],
        joint=scored.chosen.r,
        difference=against.difference[0],
        interval=against.interval[:, 0],
        p=against.p[0],
        p_max=against.p_max[0],
        q=against.q[0],
    )
