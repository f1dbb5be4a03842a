"""Scores of held-out predictions for all penalties, reduced as soon as they are made.

Predictions are never kept: a product with the hats of a few penalties is reduced to one
number per target and penalty while it is still in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.arrays import batches
from neurolm.encoding.ridge.fold_hats import FoldHat
from neurolm.encoding.ridge.linear_algebra import Algebra
from neurolm.statistics import correlation_of_sums, power_of_two

SCORINGS = ("r2", "correlation")

_FLAT = {"float32": 1e-10, "float64": 1e-20}  # variance over mean square, below which a target does not vary

_PREDICTIONS_BYTES = 4 << 20  # of one product: large enough for full speed, small enough for the cache


def score_fold(algebra: Algebra, fold: FoldHat, statistic: Any, y_test: Any, scoring: str) -> Any:
    """Scores (n_alphas, n_targets) of one fold.

    Parameters
    ----------
    fold : FoldHat
        Centred for "correlation".
    statistic : array of shape (n_targets, q)
        Of the training rows.
    y_test : array of shape (n_targets, n_test)
    scoring : "correlation" or "r2"
        As scikit-learn and himalaya compute them. NaN where a target or a prediction does not
        vary over the test rows: nothing was measured there.
    """
    xp = algebra.xp
    scale = power_of_two(xp.amax(abs(y_test), 1))[:, None]  # in any unit, squares stay within the range of float32
    y_test, statistic = y_test * scale, statistic * scale
    centred = y_test - y_test.mean(1)[:, None]
    variance = xp.einsum("vm,vm->v", centred, centred)
    flat = variance <= _FLAT[str(y_test.dtype).removeprefix("torch.")] * xp.einsum("vm,vm->v", y_test, y_test)
    variance[flat] = float("nan")
    if scoring == "correlation" and not fold.varies:
        variance[:] = float("nan")
    target = centred if scoring == "correlation" else y_test
    rest = xp.zeros_like(variance)  # sum of squares of the target outside the span of the test design
    if fold.projector is not None:
        whole = xp.einsum("vm,vm->v", target, target)
        target = algebra.multiply(target, fold.projector.T)
        rest = whole - xp.einsum("vm,vm->v", target, target)
    n_alphas, m, q = fold.hats.shape
    scores = algebra.empty((n_alphas, len(y_test)), str(fold.hats.dtype).removeprefix("torch."))
    step = max(1, _PREDICTIONS_BYTES // (fold.hats.itemsize * m * len(y_test)))
    for some in batches(n_alphas, step):
        predictions = algebra.multiply(statistic, fold.hats[some].reshape(-1, q).T).reshape(len(y_test), -1, m)
        scores[some] = _reduce(xp, predictions, target, variance, rest, scoring).T
    return scores


class ScoreMeans:
    """Mean scores over folds, leaving out the folds in which a score is not defined.

    sums : (n_alphas, n_targets); counts : folds that have a score
    """

    def __init__(self, n_alphas: int, n_targets: int, dtype: str) -> None:
        self.sums = np.zeros((n_alphas, n_targets), dtype)
        self.counts = np.zeros((n_alphas, n_targets), np.int32)

    def add(
        self, algebra: Algebra, folds: Sequence[FoldHat], statistics: Sequence[Any], Yt: Any, scoring: str, at: slice
    ) -> None:
        """Score some folds for the targets in columns `at`."""
        for fold, statistic in zip(folds, statistics, strict=True):
            score = algebra.numpy(score_fold(algebra, fold, statistic, algebra.columns(Yt, fold.test), scoring))
            defined = ~np.isnan(score)
            self.sums[:, at] += np.where(defined, score, 0)
            self.counts[:, at] += defined

    def mean(self) -> np.ndarray:
        """NaN where no fold has a score."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums / self.counts.astype(self.sums.dtype)

    def partly(self, n_folds: int) -> np.ndarray:
        """(n_targets,) True where some fold has no score."""
        return np.asarray((self.counts < n_folds).any(0))


def _reduce(xp: Any, predictions: Any, target: Any, variance: Any, rest: Any, scoring: str) -> Any:
    """(n_targets, n_alphas) from predictions (n_targets, n_alphas, m)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if scoring == "correlation":
            product = xp.einsum("vam,vm->va", predictions, target)
            square = xp.einsum("vam,vam->va", predictions, predictions)
            score = correlation_of_sums(product, square, variance[:, None])
        else:
            predictions -= target[:, None, :]
            error = xp.einsum("vam,vam->va", predictions, predictions)
            score = 1 - (error + rest[:, None]) / variance[:, None]
    return xp.where(xp.isfinite(score), score, xp.full_like(score, float("nan")))


def best_penalties(scores: np.ndarray, alphas: np.ndarray, *, per_target: bool) -> np.ndarray:
    """Index of the best penalty of each target (the larger one of an exact tie); -1 where no score is defined.

    Parameters
    ----------
    scores : array of shape (n_alphas, n_targets)
    per_target : bool
        Otherwise all targets share the penalty with the best mean score.
    """
    defined = np.isfinite(scores).all(0)
    chosen = np.full(scores.shape[1], -1)
    if not defined.any():
        return chosen
    usable = scores[:, defined] if per_target else scores[:, defined].mean(1, keepdims=True)
    order = np.argsort(-np.asarray(alphas), kind="stable")  # argmax takes the first: the largest penalty
    chosen[defined] = order[usable[order].argmax(0)]
    return chosen
