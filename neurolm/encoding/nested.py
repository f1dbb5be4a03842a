"""Nested cross-validation: held-out scores whose penalties were chosen without the held-out rows.

Everything that depends on X alone is computed once and kept, so that many versions of Y (voxels
of many listeners, shifted or permuted BOLD for a null) cost little more than their matrix
products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import batches, to_numpy
from neurolm.checks import bad, check_choice, check_finite, check_same_length
from neurolm.encoding.crossval import Fold, blocks_of_rows, resolve_folds
from neurolm.encoding.fold_hats import FoldHat, FoldHats
from neurolm.encoding.fold_scores import SCORINGS, ScoreMeans, best_penalties
from neurolm.encoding.linear_algebra import Algebra, algebra_for
from neurolm.encoding.ridge import check_alphas
from neurolm.encoding.ridge_search import TARGETS_BATCH
from neurolm.encoding.targets import read_targets
from neurolm.progress import Progress, silent

Inner = int | Callable[[np.ndarray], Sequence[Any]]


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
        self._outer = [_Prepared(X, [fold], self.alphas, centred=False, **settings) for fold in self.folds]
        self._inner = [
            _Prepared(X[train], _positions(pairs, train), self.alphas, centred=scoring == "correlation", **settings)
            for (train, _), pairs in zip(self.folds, _inner_folds(inner, self.folds, gap), strict=True)
        ]

    def score(
        self,
        Y: Any,
        *,
        keep_predictions: bool = False,
        n_targets_batch: int = TARGETS_BATCH,
        progress: Progress = silent,
    ) -> NestedScores:
        """Score every column of Y (n_trs, n_targets); read a block of columns at a time."""
        check_same_length("X", self.n_trs, "Y", Y.shape[0], "Both have one row per TR.")
        parts = []
        for block in batches(Y.shape[1], n_targets_batch):
            parts.append(self._score_block(Y, block, keep_predictions))
            progress(block.stop, Y.shape[1], "targets", "nested cross-validation")
        names = ("scores", "fold_scores", "inner_scores", "best_alphas")
        joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names}
        predictions = np.concatenate([part.predictions for part in parts], axis=1) if keep_predictions else None
        return NestedScores(**joined, predictions=predictions)

    def _score_block(self, Y: Any, block: slice, keep_predictions: bool) -> NestedScores:
        read = read_targets(Y, block, algebra=self.algebra, dtype=self.dtype, centre=self.fit_intercept)
        Yt = read.values
        predicted = self.algebra.xp.full_like(Yt, float("nan"))
        inner_scores, chosen = [], []
        for (train, test), outer, inner in zip(self.folds, self._outer, self._inner, strict=True):
            scores = inner.mean_scores(self.algebra.columns(Yt, train), self.scoring)
            scores[:, read.undefined] = np.nan
            best = best_penalties(scores, self.alphas, per_target=True)
            self._predict(outer, Yt, test, best, predicted)
            chosen.append(best)
            inner_scores.append(np.where(best >= 0, np.take_along_axis(scores, best[None].clip(0), 0)[0], np.nan))
        y, y_hat = self.algebra.numpy(Yt), self.algebra.numpy(predicted)
        tested = [test for _, test in self.folds]
        best = np.stack(chosen)
        return NestedScores(
            _score_rows(y, y_hat, np.unique(np.concatenate(tested)), self.scoring),
            np.stack([_score_rows(y, y_hat, test, self.scoring) for test in tested]),
            np.stack(inner_scores),
            np.where(best >= 0, self.alphas[best], np.nan),
            (y_hat.T + read.mean) if keep_predictions else None,
        )

    def _predict(self, outer: _Prepared, Yt: Any, test: np.ndarray, best: np.ndarray, predicted: Any) -> None:
        """Fill in the test rows, each target with its penalty."""
        _, (statistic,) = outer.hats.statistics(Yt, [0])
        fold = outer.made[0]
        for a in np.unique(best[best >= 0]):
            targets = np.flatnonzero(best == a)
            predicted[np.ix_(targets, test)] = self._product(fold, statistic[targets], a)

    def _product(self, fold: FoldHat, statistic: Any, a: int) -> Any:
        product = statistic @ fold.hats[a].T
        return product if fold.projector is None else product @ fold.projector


class _Prepared:
    """FoldHats with all their hats made."""

    def __init__(self, X: Any, folds: list[Fold], alphas: np.ndarray, **settings: Any) -> None:
        self.hats = FoldHats(X, folds, alphas, **settings)
        self.group = list(range(len(folds)))
        self.made = self.hats.make(self.group)

    def mean_scores(self, Yt: Any, scoring: str) -> np.ndarray:
        """(n_alphas, n_targets), the mean over the folds in which a score is defined."""
        hats, means = self.hats, ScoreMeans(len(self.hats.alphas), len(Yt), self.hats.dtype)
        _, statistics = hats.statistics(Yt, self.group)
        means.add(hats.algebra, self.made, statistics, Yt, scoring, slice(None))
        return means.mean()


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


def _score_rows(y: np.ndarray, y_hat: np.ndarray, rows: np.ndarray, scoring: str) -> np.ndarray:
    """(n_targets,) from targets in rows."""
    from neurolm.encoding.scores import score

    return score(y[:, rows].T, y_hat[:, rows].T, scoring)
