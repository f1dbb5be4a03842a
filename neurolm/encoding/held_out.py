"""Held-out scores: every row predicted by a fit that saw neither it nor its neighbours, penalties chosen inside.

Several runs: whole runs are held out. One run: contiguous blocks with a gap on both sides. The
penalty of a fold is chosen by the same kind of folds within its training rows (nested).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.crossval import Fold, check_groups, run_folds
from neurolm.encoding.nested import NestedRidge


@dataclass(frozen=True, eq=False)
class NestedFold:
    """One outer fold: rows to fit, rows to predict, and inner folds (pairs of rows) within `train`."""

    train: np.ndarray
    test: np.ndarray
    inner: list[Fold]


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """What nested cross-validation gives for each target.

    Parameters
    ----------
    fold_scores : array of shape (n_folds, n_targets)
        On the rows of each fold, NaN where the target is constant or not finite.
    inner_scores : array of shape (n_folds, n_targets)
        Of the chosen penalty in the inner folds: what may be used to choose between models.
    best_alphas : array of shape (n_folds, n_targets)
    scoring : {"correlation", "r2"}
    predictions : array of shape (n_trs, n_targets), optional
    """

    fold_scores: np.ndarray
    inner_scores: np.ndarray
    best_alphas: np.ndarray
    scoring: str = "correlation"
    predictions: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """(n_targets,) mean over folds; correlations are averaged as Fisher z."""
        return mean_over_folds(self.fold_scores, self.scoring)


def nested_folds(
    run_onsets: Any, n_trs: int, n_folds: int = 5, n_inner_folds: int = 5, gap: int = 5, run_groups: Any = None
) -> list[NestedFold]:
    """Outer folds over whole runs, or blocks of the only run, each with inner folds of the same kind.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of each run.
    n_folds, n_inner_folds : int
        With more stimuli than folds, neighbouring ones are held out together.
    gap : int
        TRs left out on both sides of a held-out block of a single stimulus.
    run_groups : sequence of int, optional
        The stimulus of each run (`neurolm.stimuli.stimulus_groups`): runs of one stimulus never stand in training
        and test. By default all differ.
    """
    outer = run_folds(run_onsets, n_trs, n_folds, gap, run_groups=run_groups)
    return [NestedFold(train, test, _inner(run_onsets, n_trs, n_inner_folds, gap, run_groups, train)) for train, test in outer]


def train_test_fold(
    run_onsets: Any, n_trs: int, test_runs: Sequence[int], n_inner_folds: int = 5, gap: int = 5, run_groups: Any = None
) -> list[NestedFold]:
    """One outer fold: these runs (by position) are predicted by a fit of the others, whose folds choose the penalty.

    Other runs of a stimulus that is predicted (`run_groups`) are left out of the fit.
    """
    run_of_row = np.searchsorted(np.asarray(run_onsets), np.arange(n_trs), side="right") - 1
    n_runs = int(run_of_row[-1]) + 1
    groups = check_groups(run_groups, n_runs)
    chosen = sorted(set(test_runs))
    if not chosen or chosen[0] < 0 or chosen[-1] >= n_runs or len(set(groups[chosen])) == len(set(groups)):
        raise bad("test_runs", f"be some of the {n_runs} runs, counted from 0, and leave other stories to fit", list(test_runs))
    rows = np.arange(n_trs)
    train = rows[~np.isin(groups[run_of_row], groups[chosen])]
    inner = _inner(run_onsets, n_trs, n_inner_folds, gap, run_groups, train)
    return [NestedFold(train, rows[np.isin(run_of_row, chosen)], inner)]


def _inner(run_onsets: Any, n_trs: int, n_folds: int, gap: int, run_groups: Any, train: np.ndarray) -> list[Fold]:
    return run_folds(run_onsets, n_trs, n_folds, gap, run_groups=run_groups, rows=train)


def nested_ridge(
    X: np.ndarray,
    folds: Sequence[NestedFold],
    alphas: Sequence[float],
    *,
    scoring: str = "correlation",
    standardize: bool = True,
    n_targets: int = 1024,
    **ridge: Any,
) -> NestedRidge:
    """Everything that depends on X alone, for `held_out_scores` of any number of targets.

    `standardize` z-scores the columns of X by each fold's training rows alone.
    """
    outer, inner = [(fold.train, fold.test) for fold in folds], [fold.inner for fold in folds]
    return NestedRidge(X, alphas, outer, inner, scoring=scoring, standardize=standardize, n_targets=n_targets, **ridge)


def held_out_scores(ridge: NestedRidge, Y: np.ndarray, *, keep_predictions: bool = False) -> HeldOutScores:
    """Score targets with one penalty each, chosen inside each fold's training rows.

    Parameters
    ----------
    ridge : NestedRidge
        From `nested_ridge(X, folds, alphas)`.
    Y : array of shape (n_trs, n_targets)
        Listeners and surrogates may be targets of one call.
    """
    nested = ridge.score(Y, keep_predictions=keep_predictions)
    return HeldOutScores(nested.fold_scores, nested.inner_scores, nested.best_alphas, ridge.scoring, nested.predictions)


def mean_over_folds(fold_scores: np.ndarray, scoring: str = "correlation") -> np.ndarray:
    """Mean over the first axis; correlations as Fisher z, so that a good fold does not count less."""
    if scoring != "correlation":
        return fold_scores.mean(0)
    return np.tanh(np.arctanh(np.clip(fold_scores, -1 + 1e-12, 1 - 1e-12)).mean(0))


class SetChoice:
    """The best inner score so far of each target and fold, and what belongs to it.

    inner, outer : (..., n_folds, n_targets); index : position of the set; predictions : (n_trs, n_targets) where given
    """

    inner: np.ndarray
    outer: np.ndarray
    index: np.ndarray

    def __init__(self, folds: list[NestedFold]) -> None:
        self.folds = folds
        self.n_sets = 0
        self.predictions: np.ndarray | None = None

    def add(self, inner: np.ndarray, outer: np.ndarray, predictions: np.ndarray | None = None) -> None:
        """The next set."""
        index, self.n_sets = self.n_sets, self.n_sets + 1
        if index == 0:
            self.inner, self.outer, self.index = inner, outer, np.zeros(inner.shape, dtype=np.int16)
            self.predictions = predictions
            return
        better = inner > self.inner
        self.inner, self.outer = np.where(better, inner, self.inner), np.where(better, outer, self.outer)
        self.index[better] = index
        if predictions is not None and self.predictions is not None:
            for fold, targets in zip(self.folds, better):
                rows = np.ix_(fold.test, np.flatnonzero(targets))
                self.predictions[rows] = predictions[rows]
