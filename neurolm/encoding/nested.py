"""Nested cross-validation: held-out scores whose penalties were chosen without the held-out rows.

Everything that depends on X alone is computed once and kept, so that many versions of Y (voxels
of many listeners, shifted or permuted BOLD for a null) cost little more than their matrix
products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import batches, column_moments, to_numpy
from neurolm.checks import bad, check_choice, check_finite, check_same_length
from neurolm.encoding.crossval import Fold, blocks_of_rows, resolve_folds
from neurolm.encoding.ridge.fold_hats import FoldHat, FoldHats
from neurolm.encoding.ridge.fold_scores import SCORINGS, ScoreMeans, best_penalties
from neurolm.encoding.ridge.linear_algebra import Algebra, algebra_for
from neurolm.encoding.ridge.ridge_cv import check_alphas
from neurolm.encoding.ridge.ridge_search import TARGETS_BATCH
from neurolm.encoding.ridge.targets import TargetBlock, read_targets
from neurolm.progress import Progress, silent
from neurolm.statistics import correlation_of_sums

NESTED_BYTES = 2 << 30  # hats of all outer folds are kept up to here, else one outer fold's at a time


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


class NestedRidge:
    """Hats of all outer and inner folds of one X, ready for any number of targets.

    Parameters
    ----------
    X : array of shape (n_trs, n_features)
    alphas : sequence of float
    outer : int, scikit-learn splitter, or (train, test) pairs
    inner : int, or function of the outer training rows, or one list of pairs for each outer fold
        An int cuts the training rows into that many contiguous blocks, `gap` TRs apart. A
        function returns (train, test) pairs of rows of X.
    gap : int
        For an int `inner`.
    scoring : "correlation" or "r2"
        For choosing penalties and for the scores.
    fit_intercept : bool
    standardize : bool
        Z-score every column of X by the mean and standard deviation of each outer fold's training rows.
    column_scale : array of shape (n_features,), optional
        Columns are multiplied by it once they are z-scored: a scale of 10 is a penalty of a hundredth.
    device, dtype
        As in `RidgeCV`.
    n_targets : int
        How many targets will come at a time, which decides how hats are made.
    """

    def __init__(
        self,
        X: Any,
        alphas: Any,
        outer: Any,
        inner: Any,
        *,
        gap: int = 0,
        scoring: str = "correlation",
        fit_intercept: bool = True,
        standardize: bool = False,
        column_scale: np.ndarray | None = None,
        device: str = "auto",
        dtype: str = "float32",
        n_targets: int = TARGETS_BATCH,
    ) -> None:
        self.scoring = check_choice("scoring", scoring, SCORINGS)
        check_finite("X", to_numpy(X))
        self.n_trs, self.dtype, self.fit_intercept = X.shape[0], dtype, fit_intercept
        self.alphas = check_alphas(alphas)
        self.algebra: Algebra = algebra_for(device, X)
        settings: dict[str, Any] = {
            "fit_intercept": fit_intercept,
            "dtype": dtype,
            "algebra": self.algebra,
            "n_targets": n_targets,
        }
        self.folds = resolve_folds(outer, X)
        inner_folds = _inner_folds(inner, self.folds, gap)
        self._inner_folds = [_positions(pairs, train) for (train, _), pairs in zip(self.folds, inner_folds, strict=True)]
        self.X, self.standardize, self.column_scale, self._settings = X, standardize, column_scale, settings
        size = len(self.folds) * len(self.alphas) * self.n_trs * min(X.shape) * np.dtype(dtype).itemsize
        self._keeps_hats = size <= NESTED_BYTES
        self._kept: dict[int, tuple[FoldHats, list[FoldHat], FoldHats]] = {}
        self._kept_inner: dict[tuple[int, int], list[FoldHat]] = {}

    def score(
        self,
        Y: Any,
        *,
        keep_predictions: bool = False,
        n_targets_batch: int = TARGETS_BATCH,
        progress: Progress = silent,
    ) -> NestedScores:
        """Score every column of Y (n_trs, n_targets).

        A block of columns is read at a time; once if all hats fit into memory, else twice for each
        outer fold.
        """
        check_same_length("X", self.n_trs, "Y", Y.shape[0], "Both have one row per TR.")
        tally = NestedTally(self, Y, keep_predictions)
        blocks = list(batches(Y.shape[1], n_targets_batch))
        shares = [[block] for block in blocks] if self._keeps_hats else [blocks]
        for share in shares:
            for o in range(len(self.folds)):
                self._score_fold(o, share, tally)
                progress(share[0].start + (o + 1) / len(self.folds) * (share[-1].stop - share[0].start), Y.shape[1], "targets")
        return tally.result()

    def _score_fold(self, o: int, blocks: Sequence[slice], tally: NestedTally) -> None:
        """Choose penalties on the inner folds of one outer fold and predict its test rows."""
        outer, made, inner = self._hats(o)
        train, test = self.folds[o]
        first = blocks[0].start
        means = ScoreMeans(len(self.alphas), blocks[-1].stop - first, self.dtype)
        for group in inner.groups():
            hats = self._inner_hats(o, inner, group)
            for block in blocks:
                Yt = self.algebra.columns(tally.read(block).values, train)
                at = slice(block.start - first, block.stop - first)
                means.add(inner.algebra, hats, inner.statistics(Yt, group)[1], Yt, self.scoring, at)
        mean_scores = means.mean()
        for block in blocks:
            read = tally.read(block)
            scores = mean_scores[:, block.start - first : block.stop - first]
            scores[:, read.undefined] = np.nan
            best = best_penalties(scores, self.alphas, per_target=True)
            (statistic,) = outer.statistics(read.values, [0])[1]
            predicted = _predict(outer.algebra, made[0], statistic, best)
            tally.add(o, block, scores, best, self.algebra.columns(read.values, test), predicted, read.mean)

    def _hats(self, o: int) -> tuple[FoldHats, list[FoldHat], FoldHats]:
        """Of outer fold `o`: the design, its hats, and the design of the inner folds."""
        if o in self._kept:
            return self._kept[o]
        train = self.folds[o][0]
        X = self.X
        if self.standardize:
            mean, std = column_moments(X[train])
            X = (X - mean) / std
        if self.column_scale is not None:
            X = X * np.asarray(self.column_scale, dtype=X.dtype)
        outer = FoldHats(X, [self.folds[o]], self.alphas, centred=False, **self._settings)
        inner = FoldHats(
            X[train],
            self._inner_folds[o],
            self.alphas,
            centred=self.scoring == "correlation",
            **self._settings,
        )
        made = outer, outer.make([0]), inner
        if self._keeps_hats:
            self._kept[o] = made
        return made

    def _inner_hats(self, o: int, inner: FoldHats, group: list[int]) -> list[FoldHat]:
        if not self._keeps_hats:
            return inner.make(group)
        key = (o, group[0])
        if key not in self._kept_inner:
            self._kept_inner[key] = inner.make(group)
        return self._kept_inner[key]


def _predict(algebra: Algebra, fold: FoldHat, statistic: Any, best: np.ndarray) -> Any:
    """Test rows (n_targets, n_test), each target with its penalty; NaN without one."""
    predicted = algebra.zeros((len(best), len(fold.test)), statistic.dtype) + float("nan")
    for a in np.unique(best[best >= 0]):
        targets = np.flatnonzero(best == a)
        product = algebra.multiply(statistic[targets], fold.hats[a].T)
        predicted[targets] = product if fold.projector is None else algebra.multiply(product, fold.projector)
    return predicted


def nested_cv_scores(
    X: Any,
    Y: Any,
    alphas: Any,
    outer: Any,
    inner: Any,
    *,
    gap: int = 0,
    scoring: str = "correlation",
    fit_intercept: bool = True,
    keep_predictions: bool = False,
    device: str = "auto",
    dtype: str = "float32",
    n_targets_batch: int = TARGETS_BATCH,
    progress: Progress = silent,
) -> NestedScores:
    """Held-out scores of ridge with penalties chosen inside each outer training set.

    Keep a `NestedRidge` instead when the same X meets Y after Y: it factorises once.

    Parameters
    ----------
    X : array of shape (n_trs, n_features)
    Y : array-like of shape (n_trs, n_targets)
        Anything with a shape and column slicing, such as an HDF5 dataset, or an object that makes
        shifted copies of the BOLD when its columns are asked for.
    alphas, outer, inner, gap, scoring, fit_intercept, device, dtype
        As in `NestedRidge`.
    keep_predictions : bool
        Return the out-of-fold predictions too.

    Returns
    -------
    NestedScores
    """
    ridge = NestedRidge(
        X,
        alphas,
        outer,
        inner,
        gap=gap,
        scoring=scoring,
        fit_intercept=fit_intercept,
        device=device,
        dtype=dtype,
        n_targets=Y.shape[1],
    )
    return ridge.score(Y, keep_predictions=keep_predictions, n_targets_batch=n_targets_batch, progress=progress)


def _inner_folds(inner: Any, folds: Sequence[Fold], gap: int) -> list[Sequence[Any]]:
    if isinstance(inner, (int, np.integer)):
        return [blocks_of_rows(train, int(inner), gap) for train, _ in folds]
    if callable(inner):
        return [list(inner(train)) for train, _ in folds]
    inner = list(inner)
    if len(inner) != len(folds):
        raise bad("inner", f"hold one list of folds for each of the {len(folds)} outer folds", len(inner))
    return inner


def _positions(pairs: Sequence[Any], rows: np.ndarray) -> list[Fold]:
    """Pairs of rows of X as checked positions within the outer training rows."""
    positions = []
    for pair in pairs:
        parts = [np.asarray(part) for part in pair]
        if not all(np.isin(part, rows).all() for part in parts):
            raise bad("inner", "hold only rows of its outer training set", "rows that the outer fold tests or leaves out")
        positions.append(tuple(np.searchsorted(rows, part) for part in parts))
    return resolve_folds(positions, np.empty((len(rows), 0)))


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
