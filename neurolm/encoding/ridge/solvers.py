"""Ridge regression and its cross-validation as pure functions of Gram matrices.

A *hat* turns a statistic of the training targets into predictions of a fold's test rows,
for every penalty: predictions = hat @ statistic. Notation: n TRs, q columns of the design
(features, and a column of ones where an intercept is fitted), A penalties; T the training
rows of a fold, E all others, B the test rows (part of E); m test rows.

              statistic          hat                                     once per fold and penalty
primal        X_T' Y_T  (q)      X_B (G - X_E' X_E + P)^-1               a q x q factor     "downdate"
primal        Z_T' Y_T  (q)      (I - Z_E D Z_E')^-1 Z_E D, rows B       an E x E factor    "leave out"
dual          Y_T       (n_T)    K_BT (K_TT + alpha I)^-1                a T x T factor     "downdate"
dual          Y_T       (n_T)    -C_EE^-1 C_ET, rows B                   an E x E factor    "leave out"

with G = X'X = V diag(d) V', Z = X V, D = (d + alpha)^-1, K = X X', C = (K + alpha I)^-1.
All four are exact, the intercept included: it is one more column that no penalty touches.
Centred hats serve correlations, which know no scale: they come multiplied by `scale`, so that a
penalty of 1e20 does not leave numbers too small for float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.encoding.ridge.linear_algebra import Algebra


def primal_downdate(algebra: Algebra, X_test: Any, gram_train: Any, penalty: Any, out: Any) -> None:
    """Write the hat (m, q) of one penalty (q,) to `out`: X_test (gram_train + diag(penalty))^-1."""
    _solve_into(algebra, out, X_test, algebra.cholesky(gram_train, penalty))


def primal_leave_out(algebra: Algebra, Z_out: Any, d: Any, test: np.ndarray, centred: bool, out: Any, scale: float = 1.0) -> None:
    """Write the hat (m, q) from the principal axes of the whole design.

    Z_out (n_out, q) holds the rows that are not fitted, d (q,) is 1 / (eigenvalue + alpha),
    `test` indexes the rows of Z_out that are predicted.
    """
    scaled = Z_out * d**0.5
    inverse = algebra.inverse_of(-algebra.gram(scaled.T), 1.0)
    _multiply_into(algebra, out, _centre(algebra.rows(inverse, test), centred), Z_out * (d * scale))


def dual_downdate(
    algebra: Algebra, K_train: Any, K_test: Any, alpha: float, fit_intercept: bool, centred: bool, out: Any, scale: float = 1.0
) -> None:
    """Write the hat (m, n_T): K_test (K_train + alpha I)^-1, corrected for an unpenalised intercept."""
    factor = algebra.cholesky(K_train, alpha)
    _solve_into(algebra, out, _centre(K_test, centred) * scale, factor)
    if fit_intercept:
        u = algebra.divide_right(algebra.xp.ones_like(K_train[:1]), factor)  # (1, n_T): 1' C
        ones = 0 if centred else 1
        out += algebra.astype((ones - out.sum(1)[:, None]) * (u / u.sum()), out.dtype)


def dual_leave_out(
    algebra: Algebra,
    K: Any,
    alpha: float,
    folds: Sequence[tuple[np.ndarray, ...]],
    fit_intercept: bool,
    centred: bool,
    outs: Sequence[Any],
    scale: float = 1.0,
    room: Any = None,
) -> None:
    """Write the hats (m, n_T) of one penalty, for each fold (train, out, test within out).

    `room` (n, n) may be overwritten.

    C is made as alpha (K + alpha I)^-1. With an intercept K must be doubly centred: then C 1 = 1,
    and the residual maker is C - 1 1' / n.
    """
    C = algebra.inverse_of(K, 1.0, 1 / alpha, room)
    if fit_intercept:
        C -= 1 / len(C)
    for (train, held, test), out in zip(folds, outs, strict=True):
        C_out = algebra.rows(C, held)
        inverse = algebra.inverse_of(algebra.columns(C_out, held), 0.0)
        small = _centre(algebra.rows(inverse, test), centred) * -scale
        _multiply_into(algebra, out, small, algebra.columns(C_out, train))


def _centre(rows: Any, centred: bool) -> Any:
    """Predictions minus their mean over the test rows, where that is all that is wanted."""
    return rows - rows.mean(0) if centred else rows


def _solve_into(algebra: Algebra, out: Any, right: Any, factor: Any) -> None:
    if out.dtype == right.dtype:
        out[...] = right
        algebra.divide_right(out, factor)
    else:
        out[...] = algebra.divide_right(algebra.copy(right), factor)


def _multiply_into(algebra: Algebra, out: Any, a: Any, b: Any) -> None:
    if out.dtype == a.dtype:
        algebra.multiply(a, b, out=out)
    else:
        out[...] = algebra.multiply(a, b)


def weights(algebra: Algebra, gram: Any, statistic: Any, penalty: Any) -> Any:
    """(gram + diag(penalty))^-1 applied to every row of a statistic (n_targets, q).

    Primal: X'X and X'Y give weights. Dual: K and Y give dual weights.
    """
    right = algebra.astype(algebra.copy(statistic), gram.dtype)
    return algebra.astype(algebra.divide_right(right, algebra.cholesky(gram, penalty)), statistic.dtype)
