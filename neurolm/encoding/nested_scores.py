"""What nested cross-validation gives, gathered without keeping predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.encoding.targets import TargetBlock, read_targets
from neurolm.statistics import correlation_of_sums

if TYPE_CHECKING:
    from neurolm.encoding.nested import NestedRidge


@dataclass(frozen=True, eq=False)
class NestedScores:
    """What nested cross-validation gives for each target; NaN where a target is constant or holds NaN.

    scores : (n_targets,)
        Of all held-out rows together ("pooled"): predictions of all outer folds in one column.
    fold_scores : (n_outer, n_targets)
    inner_scores : (n_outer, n_targets)
        Of the chosen penalty in the inner folds: what may be used to choose between models.
    best_alphas : (n_outer, n_targets)
    predictions : (n_trs, n_targets) or None
        Out of fold; NaN in rows that no outer fold tests.
    """

    scores: np.ndarray
    fold_scores: np.ndarray
    inner_scores: np.ndarray
    best_alphas: np.ndarray
    predictions: np.ndarray | None = None


class NestedTally:
    """What nested cross-validation gathers, block of targets by block and fold by fold.

    moments : (n_outer, 5, n_targets) float64: sums of y, p, y^2, p^2, y p over a fold's test rows
    """

    def __init__(self, ridge: NestedRidge, Y: Any, keep_predictions: bool) -> None:
        self.ridge, self.Y = ridge, Y
        n_outer, n_targets = len(ridge.folds), Y.shape[1]
        self.moments = np.zeros((n_outer, 5, n_targets))
        self.inner, self.best_alphas = (np.full((n_outer, n_targets), np.nan) for _ in range(2))
        self.predictions = np.full((ridge.n_trs, n_targets), np.nan, ridge.dtype) if keep_predictions else None
        self._last: tuple[slice, TargetBlock] | None = None

    def read(self, block: slice) -> TargetBlock:
        """Targets in rows; the block read last is kept."""
        if self._last is None or self._last[0] != block:
            ridge = self.ridge
            read = read_targets(self.Y, block, algebra=ridge.algebra, dtype=ridge.dtype, centre=ridge.fit_intercept)
            self._last = block, read
        return self._last[1]

    def add(self, o: int, block: slice, scores: np.ndarray, best: np.ndarray, y: Any, p: Any, mean: np.ndarray) -> None:
        """Of outer fold `o`: inner scores, chosen penalties, test rows y and predictions p (n_targets, n_test)."""
        known = best >= 0
        self.inner[o, block] = np.where(known, np.take_along_axis(scores, best[None].clip(0), 0)[0], np.nan)
        self.best_alphas[o, block] = np.where(known, self.ridge.alphas[best], np.nan)
        y, p = (self.ridge.algebra.numpy(x).astype(np.float64) for x in (y, p))
        products = [np.einsum("vm,vm->v", a, b) for a, b in ((y, y), (p, p), (y, p))]
        self.moments[o, :, block] = np.stack([y.sum(1), p.sum(1), *products])
        if self.predictions is not None:
            self.predictions[self.ridge.folds[o][1], block] = (p + mean[:, None]).T

    def result(self) -> NestedScores:
        """Scores of each fold, and of all held-out rows together."""
        scoring, sizes = self.ridge.scoring, np.array([len(test) for _, test in self.ridge.folds])
        return NestedScores(
            score_moments(self.moments.sum(0), sizes.sum(), scoring),
            np.stack([score_moments(m, n, scoring) for m, n in zip(self.moments, sizes, strict=True)]),
            self.inner,
            self.best_alphas,
            self.predictions,
        )


def score_moments(moments: np.ndarray, n: int, scoring: str) -> np.ndarray:
    """(n_targets,) from the sums of y, p, y^2, p^2 and y p over n rows.

    NaN where y (or for a correlation p) does not vary: by less than 1e-5 of its size.
    """
    y, p, yy, pp, yp = moments
    with np.errstate(invalid="ignore", divide="ignore"):
        var_y, var_p = yy - y * y / n, pp - p * p / n
        flat = var_y <= 1e-10 * yy
        if scoring == "r2":
            return np.where(flat, np.nan, 1 - (yy - 2 * yp + pp) / var_y)
        r = correlation_of_sums(yp - y * p / n, var_y, var_p)
        return np.where(flat | (var_p <= 1e-10 * pp), np.nan, r.clip(-1, 1))
