"""Nested cross-validation of many small designs, each given by its kernel: for nulls that change the features.

A null of shifted BOLD keeps one design and pays for its hats once; a null of other features has a new design in every draw.
Here each penalty costs one inverse, and every outer and inner fold systems of the rows that it leaves out. With K = X X',
doubly centred, R = alpha (K + alpha I)^-1 - 1 1' / n is the residual maker of ridge with an intercept, and

    e_O = R_EO^-1 (R y)_O                      errors of rows O that are left out
    Q = R_TT - R_TE R_EO^-1 R_ET               residual maker of the fit to the other rows, T
    e_B = Q_BB^-1 (Q y)_B                      errors of rows B of T that are left out as well

All three are exact. Penalties are factorised in float32 where the condition allows it, as in `PreparedDesign`, else in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurolm.encoding.held_out import NestedFold
from neurolm.encoding.ridge.fold_scores import best_penalties
from neurolm.encoding.ridge.linear_algebra import CpuAlgebra, largest_eigenvalue
from neurolm.encoding.ridge.prepared_design import FLOAT32_CONDITION
from neurolm.statistics import columnwise_correlation, correlation_of_sums


class KernelFolds:
    """Folds and penalties, for the kernels of any number of designs with these rows.

    Parameters
    ----------
    folds : sequence of NestedFold
    alphas : sequence of float
    n_trs : int
    """

    def __init__(self, folds: Sequence[NestedFold], alphas: Sequence[float], n_trs: int) -> None:
        self.alphas = np.sort(np.asarray(alphas, dtype=np.float64))
        self.folds = [_FoldRows(fold, n_trs) for fold in folds]

    def scores(self, kernel: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inner scores of each target's best penalty and held-out scores with it: correlations, each (n_folds, n_targets).

        Parameters
        ----------
        kernel : array of shape (n_trs, n_trs)
            X X'; the means of the features have no effect.
        Y : array of shape (n_trs, n_targets)
            Finite, and not constant in any fold.
        """
        mean = kernel.mean(0, dtype=np.float64)
        K = kernel - mean - (mean - mean.mean())[:, None]
        is_wide = largest_eigenvalue(K) > FLOAT32_CONDITION["dual"] * self.alphas
        parts = [(d, self.alphas[some]) for d, some in ((np.float64, is_wide), (np.float32, ~is_wide)) if some.any()]
        makers = [_residual_makers(K.astype(dtype), alphas) for dtype, alphas in parts]
        pairs = [(R, R @ Y.astype(R.dtype, copy=False)) for R in makers]
        each = [fold.scores(pairs, Y, self.alphas) for fold in self.folds]
        return np.stack([inner for inner, _ in each]), np.stack([outer for _, outer in each])


class _FoldRows:
    """Rows of one outer fold: T is fitted, E is not; of each inner fold B (in positions within T) is not, `within` it the test rows."""

    def __init__(self, fold: NestedFold, n_trs: int) -> None:
        self.T, self.E, self.test = fold.train, np.setdiff1d(np.arange(n_trs), fold.train), fold.test
        self.test_within = np.searchsorted(self.E, fold.test)
        self.inner = []
        for train, test in fold.inner:
            B = np.setdiff1d(np.arange(len(self.T)), np.searchsorted(self.T, train))
            self.inner.append((B, np.searchsorted(self.T[B], test)))

    def scores(
        self, makers: Sequence[tuple[np.ndarray, np.ndarray]], Y: np.ndarray, alphas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        parts = [self._part(R, Ry, Y) for R, Ry in makers]
        inner, errors = (np.concatenate(one) for one in zip(*parts))
        best, columns = best_penalties(inner, alphas, per_target=True), np.arange(Y.shape[1])
        held_out = (Y[self.E] - errors[best, :, columns].T)[self.test_within]
        return inner[best, columns], columnwise_correlation(Y[self.test], held_out)

    def _part(self, R: np.ndarray, Ry: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inner scores (n_alphas, n_targets), and errors (n_alphas, n_out, n_targets) of the rows that no inner fold sees."""
        T, E = self.T, self.E
        R_E, R_T = R[:, E], R[:, T]
        left_out = np.linalg.inv(R_E[:, :, E])
        W, errors = left_out @ R_E[:, :, T], left_out @ Ry[:, E]
        R_TE = R_T[:, :, E]
        Qy, y, scores = Ry[:, T] - R_TE @ errors, Y[T].astype(R.dtype), []
        for B, within in self.inner:
            Q_BB = R_T[:, B[:, None], T[B]] - R_TE[:, B] @ W[:, :, B]
            predicted = y[B] - np.linalg.solve(Q_BB, Qy[:, B])
            scores.append(_correlations(y[B][within], predicted[:, within]))
        return np.mean(scores, axis=0), errors


def _residual_makers(K: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """(n_alphas, n_trs, n_trs)"""
    algebra = CpuAlgebra()
    R = np.empty((len(alphas), *K.shape), K.dtype)
    for a, alpha in enumerate(alphas):
        R[a] = algebra.inverse_of(K, 1.0, 1 / float(alpha))
    R -= 1 / len(K)
    return R


def _correlations(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(n_alphas, n_targets) of y (n_rows, n_targets) with predictions (n_alphas, n_rows, n_targets)."""
    y, predicted = y - y.mean(0), predicted - predicted.mean(1, keepdims=True)
    product, square = np.einsum("amt,mt->at", predicted, y), np.einsum("amt,amt->at", predicted, predicted)
    return correlation_of_sums(product, square, np.einsum("mt,mt->t", y, y))
