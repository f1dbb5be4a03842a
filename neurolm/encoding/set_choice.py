"""Choice of one feature set per target and fold, by the score inside the training part."""

from __future__ import annotations

import numpy as np

from neurolm.encoding.held_out import NestedFold


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
