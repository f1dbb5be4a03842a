"""Search one ridge penalty per target by cross-validation, then fit all rows: block by block.

Targets stream through twice at most, so that memory does not grow with them beyond what is
returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import batches
from neurolm.encoding.ridge.fold_hats import FoldHats
from neurolm.encoding.ridge.fold_scores import ScoreMeans, best_penalties
from neurolm.encoding.ridge.targets import read_targets
from neurolm.progress import Progress, silent

TARGETS_BATCH = 512  # voxels at a time: enough for matrix products at full speed (256 are 5 % slower)
BATCH_BYTES = 256 << 20  # what a batch of voxels may take, statistics of all folds included
REFIT_BYTES = 256 << 20  # of targets or their statistics that are refitted with one factorisation


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
    weights: Any = None,
    progress: Progress = silent,
) -> RidgeFit:
    """Cross-validate the penalties and refit all rows with the best ones.

    Parameters
    ----------
    hats : FoldHats
        Centred for "correlation".
    Y : array-like of shape (n_trs, n_targets)
        Whatever `read_targets` reads.
    weights : array of shape (n_targets, n_columns), optional
        Where to keep the weights, such as a memory-mapped file; n_columns is that of
        `hats.design`.
    """
    search = _Search(hats, Y, scoring, n_targets_batch or batch_size(hats), weights, progress)
    search.score()
    chosen = best_penalties(search.mean_scores(), hats.alphas, per_target=alpha_per_target)
    return search.fit(chosen)


def batch_size(hats: FoldHats) -> int:
    """Targets at a time for these hats; see `targets_batch`."""
    design, is_gpu = hats.design, hats.algebra.device != "cpu"
    return targets_batch(design.n_trs, design.n_columns, len(hats.folds), hats.is_primal, hats.dtype, is_gpu)


def targets_batch(n_trs: int, n_columns: int, n_folds: int, is_primal: bool, dtype: str, is_gpu: bool) -> int:
    """TARGETS_BATCH (32 times as many on a GPU), or fewer if BATCH_BYTES hold less."""
    most, room = (32 * TARGETS_BATCH, 8 * BATCH_BYTES) if is_gpu else (TARGETS_BATCH, BATCH_BYTES)
    return max(1, min(most, room // bytes_per_target(n_trs, n_columns, n_folds, is_primal, dtype)))


def bytes_per_target(n_trs: int, n_columns: int, n_folds: int, is_primal: bool, dtype: str) -> int:
    """Of a batch: its rows, and X'Y of every fold (primal) or the fold's training rows (dual)."""
    columns = (n_folds + 2) * n_columns if is_primal else 2 * n_trs
    return (2 * n_trs + columns) * np.dtype(dtype).itemsize


class _Search:
    """The two passes over the targets and what they gather."""

    def __init__(self, hats: FoldHats, Y: Any, scoring: str, batch: int, weights: Any, progress: Progress) -> None:
        self.hats, self.Y, self.scoring, self.progress = hats, Y, scoring, progress
        self.n_targets = Y.shape[1]
        self.blocks = list(batches(self.n_targets, batch))
        n_alphas, width = len(hats.alphas), hats.design.n_columns
        self.scores = ScoreMeans(n_alphas, self.n_targets, hats.dtype)
        self.undefined = np.zeros(self.n_targets, bool)
        self.mean = np.zeros(self.n_targets)
        self.weights = hats.algebra.empty((self.n_targets, width), hats.dtype) if weights is None else weights
        self._on_disk = weights is not None

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
                    self._keep(block, whole)
                done = (g + (b + 1) / len(self.blocks)) / len(groups)
                self.progress(done * self.n_targets, self.n_targets, "targets", "scoring penalties")

    def mean_scores(self) -> np.ndarray:
        mean = self.scores.mean()
        mean[:, self.undefined] = np.nan
        return mean

    def fit(self, chosen: np.ndarray) -> RidgeFit:
        """Second pass: the weights of all rows, of as many targets at a time as share a factorisation well."""
        hats, intercept = self.hats, np.zeros(self.n_targets)
        width = max(hats.design.n_trs, hats.design.n_columns)
        size = max(1, REFIT_BYTES // (width * np.dtype(hats.dtype).itemsize))
        for some in batches(self.n_targets, size):
            statistic = self._kept(some) if hats.is_primal else self.read(some)
            weights = hats.design.weights(statistic, chosen[some])
            weights[np.flatnonzero(chosen[some] < 0)] = float("nan")
            intercept[some] = hats.design.intercepts(weights, self.mean[some])
            self._keep(some, weights)
            self.progress(some.stop, self.n_targets, "targets", "fitting all rows")
        return RidgeFit(
            self.weights[:, : hats.design.n_features],
            intercept,
            chosen,
            self.mean_scores(),
            self.undefined,
            self.scores.partly(len(hats.folds)) & ~self.undefined,
        )

    def _keep(self, some: slice, values: Any) -> None:
        self.weights[some] = self.hats.algebra.numpy(values) if isinstance(self.weights, np.ndarray) else values

    def _kept(self, some: slice) -> Any:
        return self.hats.algebra.array(np.array(self.weights[some]), self.hats.dtype) if self._on_disk else self.weights[some]
