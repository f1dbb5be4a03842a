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
from neurolm.encoding.crossval import Fold, blocks_of_rows
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


def nested_folds(run_onsets: Any, n_trs: int, n_folds: int = 5, n_inner_folds: int = 5, gap: int = 5) -> list[NestedFold]:
    """Outer folds over whole runs, or blocks of the only run, each with inner folds of the same kind.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of each run.
    n_folds, n_inner_folds : int
        With more runs than folds, neighbouring runs are held out together.
    gap : int
        TRs left out on both sides of a held-out block of a single run.
    """
    run_of_row = _run_of_row(run_onsets, n_trs)
    outer = _folds(np.arange(n_trs), run_of_row, n_folds, gap)
    return [NestedFold(train, test, _folds(train, run_of_row, n_inner_folds, gap)) for train, test in outer]


def train_test_fold(
    run_onsets: Any, n_trs: int, test_runs: Sequence[int], n_inner_folds: int = 5, gap: int = 5
) -> list[NestedFold]:
    """One outer fold: these runs (by position) are predicted by a fit of all others, whose folds choose the penalty."""
    run_of_row = _run_of_row(run_onsets, n_trs)
    n_runs = int(run_of_row[-1]) + 1
    chosen = sorted(set(test_runs))
    if not chosen or chosen[0] < 0 or chosen[-1] >= n_runs or len(chosen) == n_runs:
        raise bad("test_runs", f"be some of the {n_runs} runs, counted from 0, and leave others to fit", list(test_runs))
    held = np.isin(run_of_row, chosen)
    rows = np.arange(n_trs)
    return [NestedFold(rows[~held], rows[held], _folds(rows[~held], run_of_row, n_inner_folds, gap))]


def nested_ridge(
    X: np.ndarray,
    folds: Sequence[NestedFold],
    alphas: Sequence[float],
    *,
    scoring: str = "correlation",
    n_targets: int = 1024,
    **ridge: Any,
) -> NestedRidge:
    """Everything that depends on X alone, for `held_out_scores` of any number of targets."""
    outer, inner = [(fold.train, fold.test) for fold in folds], [fold.inner for fold in folds]
    return NestedRidge(X, alphas, outer, inner, scoring=scoring, n_targets=n_targets, **ridge)


def held_out_scores(ridge: NestedRidge, Y: np.ndarray, *, keep_predictions: bool = False) -> HeldOutScores:
    """Score targets with one penalty each, chosen inside each fold's training rows.

    Parameters
    ----------
    ridge : NestedRidge
        From `nested_ridge(X, folds, alphas)`.
    Y : array of shape (n_trs, n_targets)
        Listeners and surrogates may stand beside each other as targets.
    """
    nested = ridge.score(Y, keep_predictions=keep_predictions)
    return HeldOutScores(nested.fold_scores, nested.inner_scores, nested.best_alphas, ridge.scoring, nested.predictions)


def mean_over_folds(fold_scores: np.ndarray, scoring: str = "correlation") -> np.ndarray:
    """Mean over the first axis; correlations as Fisher z, so that a good fold does not count less."""
    if scoring != "correlation":
        return fold_scores.mean(0)
    return np.tanh(np.arctanh(np.clip(fold_scores, -1 + 1e-12, 1 - 1e-12)).mean(0))


def folds_of_runs(run_onsets: Any, n_trs: int, n_folds: int = 5, gap: int = 5) -> list[Fold]:
    """(train, test) rows: whole runs where there are several, else contiguous blocks with a gap."""
    return _folds(np.arange(n_trs), _run_of_row(run_onsets, n_trs), n_folds, gap)


def _run_of_row(run_onsets: Any, n_trs: int) -> np.ndarray:
    return np.searchsorted(np.asarray(run_onsets), np.arange(n_trs), side="right") - 1


def _folds(rows: np.ndarray, run_of_row: np.ndarray, n_folds: int, gap: int) -> list[Fold]:
    """Folds of some rows: whole runs where there are several, else blocks with a gap."""
    runs = np.unique(run_of_row[rows])
    if n_folds < 2:
        raise bad("n_folds", "be >= 2", n_folds)
    if len(runs) == 1:
        return blocks_of_rows(rows, n_folds, gap)
    groups = np.array_split(runs, min(n_folds, len(runs)))
    held = [np.isin(run_of_row[rows], group) for group in groups]
    return [(rows[~h], rows[h]) for h in held]
