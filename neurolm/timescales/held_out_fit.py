"""One way to fit voxels again and again: held-out predictions, their null, and blocks of time to draw from.

Estimators that refit (context sweep, timescale bands, scrambled text, forecasts) share these
settings, so that their scores, p values and intervals mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain import BoldRun
from neurolm.encoding import (
    Design,
    EncodingData,
    EncodingModel,
    NestedRidge,
    PermutationTest,
    held_out_scores,
    nested_folds,
    refit_test,
)
from neurolm.encoding.held_out import NestedFold, nested_ridge
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.statistics import MIN_SHIFT, STOP_AFTER, correlation_of_sums


@dataclass(frozen=True)
class FitSettings:
    """How voxels are fitted, tested and drawn.

    Parameters
    ----------
    alphas : sequence of float
        Penalties; one per voxel and fold, chosen inside the training rows.
    delays : sequence of int
        FIR delays in TRs.
    max_gap_s : float
        See `Design.from_training`.
    n_folds, n_inner_folds, gap
        See `neurolm.encoding.held_out.nested_folds`: whole runs, or blocks of a single one.
    null : {"circular_shift", "block_permutation", "phase_randomization"}
        How BOLD is made again for the null; the whole fit is repeated for each.
    n_permutations, min_shift, stop_after : int
        See `neurolm.encoding.refit_test`: voxels leave the null once it has reached their score `stop_after` times.
    n_bootstrap, block_trs : int
        Draws of the intervals, over blocks of this many TRs: longer than the memory of BOLD.
    level : float
        False discovery rate over voxels.
    seed : int
    device : str
    """

    alphas: tuple[float, ...] = tuple(float(a) for a in np.logspace(1, 6, 11))
    delays: tuple[int, ...] = (1, 2, 3, 4)
    max_gap_s: float = 20.0
    n_folds: int = 5
    n_inner_folds: int = 5
    gap: int = 5
    null: str = "circular_shift"
    n_permutations: int = 1000
    min_shift: int = MIN_SHIFT
    stop_after: int | None = STOP_AFTER
    n_bootstrap: int = 200
    block_trs: int = 20
    level: float = 0.05
    seed: int = 0
    device: str = "auto"

    def as_details(self) -> dict[str, Any]:
        return {"fit": asdict(self)}


def stack(features: Sequence[Features], runs: Sequence[BoldRun], settings: FitSettings) -> EncodingData:
    """Delayed features and BOLD of all stories, z-scored over all of them.

    The z-scores know the stimulus of held-out rows, never their BOLD.
    """
    gap = settings.max_gap_s
    return Design.from_training(features, runs, settings.delays, max_gap_s=gap).stack(features, runs, max_gap_s=gap)


def folds_of(data: EncodingData, settings: FitSettings) -> list[NestedFold]:
    return nested_folds(data.run_onsets, len(data.X), settings.n_folds, settings.n_inner_folds, settings.gap, data.run_groups)


@dataclass(frozen=True, eq=False)
class HeldOutFit:
    """Held-out predictions of one set of features.

    responses, predictions : (n_trs, n_voxels) z-scored within each held-out fold, so that every fold counts by its rows and
        not by how large its predictions are: folds choose their own penalties
    """

    responses: np.ndarray
    predictions: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """(n_voxels,) correlation of responses and predictions over all held-out rows."""
        yy, pp, yp = ((a * b).sum(0) for a, b in _pairs(self.responses, self.predictions))
        return correlation_of_sums(yp, yy, pp)


def held_out_fit(X: np.ndarray, data: EncodingData, settings: FitSettings) -> HeldOutFit:
    """Fit the BOLD of `data` on X (its own, or some columns, or others), out of sample."""
    folds = folds_of(data, settings)
    measured = held_out_scores(_ridge(X, data, settings), data.Y, keep_predictions=True)
    responses, predictions = data.Y.astype(np.float64), np.asarray(measured.predictions, dtype=np.float64)
    for fold in folds:
        for values in (responses, predictions):
            values[fold.test] = zscore(values[fold.test])
    return HeldOutFit(responses, predictions)


def best_score_test(
    designs: Sequence[np.ndarray], data: EncodingData, settings: FitSettings, progress: Progress = silent
) -> PermutationTest:
    """Is the best of several designs predictive? The largest held-out score over them, of the BOLD and of its surrogates.

    Parameters
    ----------
    designs : sequence of arrays of shape (n_trs, n_features)
        One is in use at a time: what depends on it alone is computed again for each batch of surrogates.
    """

    def score(Y: np.ndarray) -> np.ndarray:
        return np.max([held_out_scores(_ridge(X, data, settings), Y).scores for X in designs], axis=0)

    return null_scores(score, data, settings, progress)


def _ridge(X: np.ndarray, data: EncodingData, settings: FitSettings) -> NestedRidge:
    return nested_ridge(X, folds_of(data, settings), settings.alphas, n_targets=data.Y.shape[1], device=settings.device)


def prediction_test(
    model: EncodingModel,
    features: Sequence[Features],
    runs: Sequence[BoldRun],
    settings: FitSettings,
    progress: Progress = silent,
) -> PermutationTest:
    """Is each voxel of an encoding model predicted out of sample? What the gate of in-silico experiments needs.

    Parameters
    ----------
    model : EncodingModel
        Its penalties, delays and folds are used; nothing of it is changed.
    features, runs
        What it was fitted on; each held-out part is predicted from the others.

    Returns
    -------
    PermutationTest
        `.p_values` go to the estimators' `p`.
    """
    gap = model.max_gap_s
    design = Design.from_training(features, runs, model.delays, lobes=model.lobes, max_gap_s=gap)
    data = design.stack(features, runs, max_gap_s=gap)
    folds = nested_folds(data.run_onsets, len(data.X), model.n_folds, settings.n_inner_folds, model.gap, data.run_groups)
    ridge = nested_ridge(data.X, folds, model.alphas, n_targets=data.Y.shape[1], device=settings.device)
    return null_scores(lambda Y: held_out_scores(ridge, Y).scores, data, settings, progress)


def null_scores(
    score: Callable[[np.ndarray], np.ndarray], data: EncodingData, settings: FitSettings, progress: Progress
) -> PermutationTest:
    """The score, and the same of BOLD that was made again, drawn alike for every call with these settings."""
    return refit_test(
        score,
        data.Y,
        null=settings.null,
        n_permutations=settings.n_permutations,
        run_onsets=data.run_onsets.tolist(),
        min_shift=settings.min_shift,
        stop_after=settings.stop_after,
        rng=settings.seed,
        progress=progress,
    )


def time_blocks(data: EncodingData, block_trs: int) -> np.ndarray:
    """First row of each block of at most `block_trs` rows; blocks never cross runs."""
    return np.concatenate([np.arange(s.start, s.stop, block_trs) for s in data.run_slices])


def block_sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(n_blocks, n_voxels) sums of the rows of each block."""
    return np.add.reduceat(values, starts, axis=0)


def drawn_correlations(y: np.ndarray, p: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n_bootstrap, n_voxels) correlation of centred y and p (n_rows, n_voxels) over the drawn blocks."""
    yy, pp, yp = (counts @ block_sums(a * b, starts) for a, b in _pairs(y, p))
    return correlation_of_sums(yp, yy, pp)


def _pairs(y: np.ndarray, p: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (y, y), (p, p), (y, p)
