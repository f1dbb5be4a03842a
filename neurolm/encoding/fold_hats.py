"""The hat matrices of every fold and penalty, from one set of Gram matrices.

Targets never enter here: one `FoldHats` serves any number of voxels, and any number of
shifted copies of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.encoding import solvers
from neurolm.encoding.cost_model import cheapest, ridge_costs
from neurolm.encoding.crossval import Fold
from neurolm.encoding.linear_algebra import Algebra, largest_eigenvalue

# Precision, when dtype is float32. A penalty below this share of the largest eigenvalue of X'X
# has its Gram matrix, factor and hats made in float64; so has every penalty of a problem too
# small for it to matter. Products with the targets are made in float32 throughout. That keeps
# scores to 5e-5.
FLOAT32_CONDITION = 1e3
SMALL_SETUP = 1e9  # floating point operations

# Beyond this condition the features are first turned to their principal axes, so that large and
# small directions do not meet in one float32 sum.
ROTATE_CONDITION = 1e5

PRIMAL_SHARE = 0.8  # features over training rows up to which the primal may be used in float32

HATS_BYTES = 2 << 30  # hats that are kept at once; more folds than fit are done in groups


@dataclass(frozen=True)
class FoldHat:
    """What predicts one fold's test rows.

    hats : (A, m, q), the predictions of a statistic (n_targets, q) are statistic @ hats[a].T
    test : the m rows that are predicted
    projector : (m, n_test) or None
        Where there are more test rows than columns, predictions and targets are compared after
        this projection, which keeps their inner products.
    centred : bool
        Whether predictions have mean zero over the test rows.
    """

    hats: Any
    test: np.ndarray
    projector: Any
    centred: bool


class FoldHats:
    """Prepare X, choose the cheapest exact method, and make hats fold by fold.

    Parameters
    ----------
    X : array of shape (n_trs, n_features)
    folds : list of (train, test)
    alphas : array of shape (n_alphas,)
    centred : bool
        Centre predictions over each fold's test rows: enough for correlations, not for R2.
    fit_intercept : bool
    dtype : "float32" or "float64"
    algebra : CpuAlgebra or TorchAlgebra
    n_targets : int
        How many targets will come, which decides the method.
    method : str, optional
        One of `cost_model.METHODS`, instead of the cheapest.
    """

    def __init__(
        self,
        X: Any,
        folds: Sequence[Fold],
        alphas: np.ndarray,
        *,
        centred: bool,
        fit_intercept: bool,
        dtype: str,
        algebra: Algebra,
        n_targets: int,
        method: str | None = None,
    ) -> None:
        self.algebra, self.dtype = algebra, dtype
        self.folds, self.alphas = list(folds), np.asarray(alphas, dtype=np.float64)
        self.centred, self.fit_intercept = centred, fit_intercept
        self.n_trs, self.n_features = X.shape
        self.costs = ridge_costs(self.n_trs, self.n_features, n_targets, len(self.alphas), self.folds)
        self.method = method or self._choose()
        self.is_primal = self.method.startswith("primal")
        self.out = [np.setdiff1d(np.arange(self.n_trs), train) for train, _ in self.folds]
        self._folds_partition = np.array_equal(np.sort(np.concatenate(self.out)), np.arange(self.n_trs))
        self.rotation: Any = None
        self._prepare(X)

    def _choose(self) -> str:
        """The cheapest method. With hardly more training rows than features the primal loses float32's digits."""
        n_train = min(len(train) for train, _ in self.folds)
        safe = self.dtype == "float64" or self.n_features <= PRIMAL_SHARE * n_train
        return cheapest({m: cost for m, cost in self.costs.items() if safe or m.startswith("dual")}).method

    # -- once for all folds ---------------------------------------------------------------

    def _prepare(self, X: Any) -> None:
        X, self.x_mean = self._centre(X)
        gram = self._gram(X)
        condition = largest_eigenvalue(gram) / self.alphas
        self.wide = (condition > FLOAT32_CONDITION) | (self.costs[self.method].setup < SMALL_SETUP)
        if self.wide.any() and self.dtype == "float32":
            X = self.algebra.astype(X, "float64")
            gram = self._gram(X)
        self._eigenvalues: Any = None
        if self.is_primal and (self.method == "primal_leave_out" or condition.max() > ROTATE_CONDITION):
            self._eigenvalues, self.rotation = self.algebra.eigh(gram)
            X = X @ self.rotation
            gram = self.algebra.xp.diag(self._eigenvalues)
        if self.is_primal and self.fit_intercept:
            X, gram = self._add_ones(X, gram)
        self._designs = {d: self.algebra.astype(X, d) for d in {self.dtype, *self._setup_dtypes()}}
        self._grams = {d: self.algebra.astype(gram, d) for d in self._setup_dtypes()}
        self.design = self._designs[self.dtype]
        self.penalties = np.tile(self.alphas[:, None], (1, self.design.shape[1]))
        if self.is_primal and self.fit_intercept:
            self.penalties[:, -1] = 0

    def _gram(self, X: Any) -> Any:
        return X.T @ X if self.is_primal else X @ X.T

    def _setup_dtypes(self) -> set[str]:
        return {self.setup_dtype(a) for a in range(len(self.alphas))}

    def setup_dtype(self, a: int) -> str:
        """The precision in which penalty number `a` is factorised."""
        return "float64" if self.wide[a] else self.dtype

    def _centre(self, X: Any) -> tuple[Any, np.ndarray]:
        """X as a matrix of dtype, its columns centred in float64 where an intercept is fitted."""
        if not self.fit_intercept:
            return self.algebra.array(X, self.dtype), np.zeros(self.n_features)
        X = self.algebra.array(X, "float64")
        mean = X.mean(0)
        return self.algebra.astype(X - mean, self.dtype), self.algebra.numpy(mean)

    def _add_ones(self, X: Any, gram: Any) -> tuple[Any, Any]:
        """The intercept's column: orthogonal to the centred features."""
        xp, p = self.algebra.xp, self.n_features
        X = xp.concatenate([X, xp.ones_like(X[:, :1])], 1)
        wider = xp.zeros_like(X, shape=(p + 1, p + 1)) if xp is np else X.new_zeros((p + 1, p + 1))
        wider[:p, :p] = gram
        wider[p, p] = self.n_trs
        return X, wider

    # -- hats -----------------------------------------------------------------------------

    def groups(self, max_bytes: int = HATS_BYTES) -> Iterator[list[int]]:
        """Folds whose hats fit into `max_bytes` together, at least one at a time."""
        group: list[int] = []
        used = 0
        for k, (train, test) in enumerate(self.folds):
            columns = self.design.shape[1] if self.is_primal else len(train)
            size = len(self.alphas) * len(test) * columns * np.dtype(self.dtype).itemsize
            if group and used + size > max_bytes:
                yield group
                group, used = [], 0
            group.append(k)
            used += size
        yield group

    def make(self, group: Sequence[int]) -> list[FoldHat]:
        """The hats of some folds."""
        if self.method == "dual_leave_out":
            return self._dual_leave_out(group)
        one = {
            "primal_downdate": self._primal_downdate,
            "primal_leave_out": self._primal_leave_out,
            "dual_downdate": self._dual_downdate,
        }[self.method]
        return [one(k) for k in group]

    def _primal_downdate(self, k: int) -> FoldHat:
        algebra, test = self.algebra, self.folds[k][1]
        X_test = {d: self._centre_rows(algebra.rows(self._designs[d], test)) for d in self._setup_dtypes()}
        projector = None
        if len(test) > self.design.shape[1]:
            basis, compressed = algebra.xp.linalg.qr(X_test[self.setup_dtype(0)])
            X_test = {d: algebra.astype(compressed, d) for d in X_test}
            projector = algebra.array(basis.T, self.dtype)
        grams = {d: self._gram_train(k, d) for d in X_test}
        hats = (
            solvers.primal_downdate(algebra, X_test[d], grams[d], penalty)
            for d, penalty in zip(map(self.setup_dtype, range(len(self.alphas))), self.penalties, strict=True)
        )
        return self._pack(hats, test, projector)

    def _gram_train(self, k: int, dtype: str) -> Any:
        train, out = self.folds[k][0], self.out[k]
        rows = self.algebra.rows(self._designs[dtype], out if len(out) < len(train) else train)
        gram = rows.T @ rows
        return self._grams[dtype] - gram if len(out) < len(train) else gram

    def _primal_leave_out(self, k: int) -> FoldHat:
        algebra, test = self.algebra, self.folds[k][1]
        eigenvalues = np.append(algebra.numpy(self._eigenvalues), [self.n_trs] * self.fit_intercept)
        Z_out = {d: algebra.rows(self._designs[d], self.out[k]) for d in self._setup_dtypes()}
        inverse = 1 / (eigenvalues + self.penalties)
        within = np.searchsorted(self.out[k], test)
        hats = (
            self._centre_rows(solvers.primal_leave_out(algebra, Z_out[d], algebra.array(inverse[a], d), within))
            for a, d in enumerate(map(self.setup_dtype, range(len(self.alphas))))
        )
        return self._pack(hats, test)

    def _dual_downdate(self, k: int) -> FoldHat:
        (train, test), algebra = self.folds[k], self.algebra
        K = {d: algebra.columns(gram, train) for d, gram in self._grams.items()}
        K_train, K_test = ({d: algebra.rows(part, rows) for d, part in K.items()} for rows in (train, test))
        hats = (
            self._centre_rows(solvers.dual_downdate(algebra, K_train[d], K_test[d], self.alphas[a], self.fit_intercept))
            for a, d in enumerate(map(self.setup_dtype, range(len(self.alphas))))
        )
        return self._pack(hats, test)

    def _dual_leave_out(self, group: Sequence[int]) -> list[FoldHat]:
        folds = [(self.folds[k][0], self.out[k], np.searchsorted(self.out[k], self.folds[k][1])) for k in group]
        packs = [self.algebra.empty((len(self.alphas), len(test), len(train)), self.dtype) for train, _, test in folds]
        for a, alpha in enumerate(self.alphas):
            hats = solvers.dual_leave_out(self.algebra, self._grams[self.setup_dtype(a)], alpha, folds, self.fit_intercept)
            for pack, hat in zip(packs, hats, strict=True):
                pack[a] = self.algebra.astype(self._centre_rows(hat), self.dtype)
        return [FoldHat(pack, self.folds[k][1], None, self.centred) for k, pack in zip(group, packs, strict=True)]

    def _pack(self, hats: Iterator[Any], test: np.ndarray, projector: Any = None) -> FoldHat:
        pack: Any = None
        for a, hat in enumerate(hats):
            pack = self.algebra.empty((len(self.alphas), *hat.shape), self.dtype) if a == 0 else pack
            pack[a] = self.algebra.astype(hat, self.dtype)
        return FoldHat(pack, test, projector, self.centred)

    def _centre_rows(self, x: Any) -> Any:
        return x - x.mean(0) if self.centred else x

    # -- targets --------------------------------------------------------------------------

    def statistics(self, Yt: Any, group: Sequence[int]) -> tuple[Any, list[Any]]:
        """What the hats apply to, of targets in rows (n_targets, n_trs).

        Returns the statistic of all rows (X'Y in the primal, Y in the dual) and that of each
        fold's training rows.
        """
        columns, rows = self.algebra.columns, self.algebra.rows
        if not self.is_primal:
            return Yt, [columns(Yt, self.folds[k][0]) for k in group]
        held_out = [columns(Yt, self.out[k]) @ rows(self.design, self.out[k]) for k in group]
        if self._folds_partition and len(group) == len(self.folds):
            whole = sum(held_out[1:], start=held_out[0])
        else:
            whole = Yt @ self.design
        return whole, [whole - part for part in held_out]

    def weights(self, statistic: Any, chosen: np.ndarray) -> Any:
        """Weights (n_targets, n_features + intercept) of all rows, from their statistic.

        `chosen` (n_targets,) indexes the penalties; targets with -1 keep what they hold.
        In the primal the statistic is overwritten.
        """
        algebra, p = self.algebra, self.n_features
        result = statistic if self.is_primal else algebra.copy(statistic)
        for a in np.unique(chosen[chosen >= 0]):
            targets = np.flatnonzero(chosen == a)
            penalty = self.penalties[a] if self.is_primal else self.alphas[a]
            result[targets] = solvers.weights(algebra, self._grams[self.setup_dtype(a)], result[targets], penalty)
        if not self.is_primal:
            return result @ self.design
        if self.rotation is not None:
            result[:, :p] = result[:, :p] @ algebra.astype(self.rotation, self.dtype).T
        return result
