"""Search one ridge penalty per target by cross-validation, then fit all rows: block by block.

Targets stream through twice at most, so that memory does not grow with them beyond what is
returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import batches
from neurolm.encoding.fold_hats import FoldHats
from neurolm.encoding.fold_scores import ScoreMeans, best_penalties
from neurolm.encoding.targets import read_targets
from neurolm.progress import Progress, silent

TARGETS_BATCH = 1024  # voxels at a time: enough for matrix products at full speed


@dataclass(frozen=True)
class RidgeFit:
    """What the search found.

    weights : (n_targets, n_features) array of the algebra's kind; NaN for undefined targets
    intercept : (n_targets,) float64
    chosen : (n_targets,) index of the penalty, -1 for undefined targets
    scores : (n_alphas, n_targets), the mean over the folds in which a score is defined
    undefined : (n_targets,) True where a target is constant or holds NaN
    partly_scored : (n_targets,) True where some folds, but not all, have no score
    """

    weights: Any
    intercept: np.ndarray
    chosen: np.ndarray
    scores: np.ndarray
    undefined: np.ndarray
    partly_scored: np.ndarray


def fit_ridge_cv(
    hats: FoldHats,
    Y: Any,
    *,
    scoring: str,
    alpha_per_target: bool = True,
    n_targets_batch: int | None = None,
    progress: Progress = silent,
) -> RidgeFit:
    """Cross-validate the penalties and refit all rows with the best ones.

    Parameters
    ----------
    hats : FoldHats
        Centred for "correlation".
    Y : array-like of shape (n_trs, n_targets)
        Whatever `read_targets` reads.
    """
    search = _Search(hats, Y, scoring, n_targets_batch or TARGETS_BATCH, progress)
    search.score()
    chosen = best_penalties(search.mean_scores(), hats.alphas, per_target=alpha_per_target)
    return search.fit(chosen)


class _Search:
    """The two passes over the targets and what they gather."""

    def __init__(self, hats: FoldHats, Y: Any, scoring: str, batch: int, progress: Progress) -> None:
        self.hats, self.Y, self.scoring, self.progress = hats, Y, scoring, progress
        self.n_targets = Y.shape[1]
        self.blocks = list(batches(self.n_targets, batch))
        n_alphas, width = len(hats.alphas), hats.design.matrix.shape[1]
        self.scores = ScoreMeans(n_alphas, self.n_targets, hats.dtype)
        self.undefined = np.zeros(self.n_targets, bool)
        self.mean = np.zeros(self.n_targets)
        self.weights = hats.algebra.empty((self.n_targets, width), hats.dtype)

    def read(self, block: slice) -> Any:
        hats = self.hats
        read = read_targets(self.Y, block, algebra=hats.algebra, dtype=hats.dtype, centre=hats.design.fit_intercept)
        self.undefined[block], self.mean[block] = read.undefined, read.mean
        return read.values

    def score(self) -> None:
        """First pass: scores, and in the primal X'Y in the place of the weights."""
        groups = list(self.hats.groups())
        for g, group in enumerate(groups):
            made = self.hats.make(group)
            for b, block in enumerate(self.blocks):
                Yt = self.read(block)
                whole, statistics = self.hats.statistics(Yt, group)
                self.scores.add(self.hats.algebra, made, statistics, Yt, self.scoring, block)
                if self.hats.is_primal and g == 0:
                    self.weights[block] = whole
                done = (g + (b + 1) / len(self.blocks)) / len(groups)
                self.progress(done * self.n_targets, self.n_targets, "targets", "scoring penalties")

    def mean_scores(self) -> np.ndarray:
        mean = self.scores.mean()
        mean[:, self.undefined] = np.nan
        return mean

    def fit(self, chosen: np.ndarray) -> RidgeFit:
        """Second pass: the weights of all rows."""
        hats = self.hats
        if hats.is_primal:
            self.weights = hats.design.weights(self.weights, chosen)
        else:
            for block in self.blocks:
                self.weights[block] = hats.design.weights(self.read(block), chosen[block])
        failed = np.flatnonzero(chosen < 0)
        self.weights[failed] = float("nan")
        return RidgeFit(
            self.weights[:, : hats.design.n_features],
            hats.design.intercepts(self.weights, self.mean),
            chosen,
            self.mean_scores(),
            self.undefined,
            self.scores.partly(len(hats.folds)) & ~self.undefined,
        )
