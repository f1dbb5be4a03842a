"""The hat matrices of every fold and penalty, from one set of Gram matrices.

Targets never enter here: one `FoldHats` serves any number of voxels, and any number of
shifted copies of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import constant_columns
from neurolm.encoding.crossval import Fold
from neurolm.encoding.ridge import solvers
from neurolm.encoding.ridge.cost_model import Cost, cheapest, ridge_costs
from neurolm.encoding.ridge.linear_algebra import Algebra
from neurolm.encoding.ridge.onednn_algebra import suited_to
from neurolm.encoding.ridge.prepared_design import PreparedDesign

HATS_BYTES = 2 << 30  # hats that are kept at once; more folds than fit are done in groups
SMALL_SETUP = 1e9  # floating point operations: problems below are factorised in float64 throughout
PRIMAL_SHARE = 0.8  # features over training rows up to which float32 keeps its digits in the primal
FAR = 10.0  # penalty over the largest eigenvalue, from which an intercept drowns what leaving out would find


@dataclass(frozen=True)
class FoldHat:
    """What predicts one fold's test rows.

    hats : (A, m, q); the predictions of a statistic (n_targets, q) are statistic @ hats[a].T
    test : the rows that are predicted
    projector : (m, n_test) or None
        Where there are more test rows than columns, predictions and targets are compared after
        this projection, which keeps their inner products.
    varies : bool
        Whether any feature varies over the test rows; if none does, nothing correlates.
    """

    hats: Any
    test: np.ndarray
    projector: Any = None
    varies: bool = True


def choose_method(costs: dict[str, Cost], n_features: int, folds: Sequence[Fold], dtype: str, *, banded: bool = False) -> Cost:
    """The cheapest method that keeps float32's digits, and that bands allow."""
    n_train = min(len(train) for train, _ in folds)
    primal = dtype == "float64" or n_features <= PRIMAL_SHARE * n_train
    allowed = [m for m in costs if (primal or m.startswith("dual")) and not (banded and m == "primal_leave_out")]
    return cheapest({m: costs[m] for m in allowed})


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
    bands : sequence of slice, optional
        Feature spaces that will be weighed against each other (`design.reweight`).
    method : str, optional
        One of `cost_model.METHODS`, instead of the cheapest.
    n_draws : int
        How often the bands will be weighed.

    Attributes
    ----------
    algebra : the one that was given, or `OneDnnAlgebra` where it is faster
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
        bands: Sequence[slice] | None = None,
        method: str | None = None,
        n_draws: int = 1,
    ) -> None:
        self.folds, self.alphas = list(folds), np.asarray(alphas, dtype=np.float64)
        self.centred, self.dtype = centred, dtype
        n_trs, n_features = X.shape
        self.costs = ridge_costs(n_trs, n_features, n_targets, len(self.alphas), self.folds)
        self.method = method or choose_method(self.costs, n_features, self.folds, dtype, banded=bands is not None).method
        self.is_primal = self.method.startswith("primal")
        self.algebra = suited_to(algebra, dtype, self.costs[self.method].total * n_draws)
        self.out = [np.setdiff1d(np.arange(n_trs), train) for train, _ in self.folds]
        self._folds_partition = np.array_equal(np.sort(np.concatenate(self.out)), np.arange(n_trs))
        self.design = PreparedDesign(
            X,
            self.alphas,
            primal=self.is_primal,
            fit_intercept=fit_intercept,
            dtype=dtype,
            algebra=self.algebra,
            principal_axes=self.method == "primal_leave_out",
            bands=bands,
            wide=self.costs[self.method].setup < SMALL_SETUP,
        )

    def groups(self, max_bytes: int = HATS_BYTES) -> Iterator[list[int]]:
        """Folds whose hats fit into `max_bytes` together, at least one at a time."""
        group: list[int] = []
        used = 0
        for k, (train, test) in enumerate(self.folds):
            columns = self.design.n_columns if self.is_primal else len(train)
            size = len(self.alphas) * len(test) * columns * np.dtype(self.dtype).itemsize
            if group and used + size > max_bytes:
                yield group
                group, used = [], 0
            group.append(k)
            used += size
        yield group

    # -- hats -----------------------------------------------------------------------------

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
        algebra, design, test = self.algebra, self.design, self.folds[k][1]
        X_test = {d: self._centre(design.rows(test, d)) for d in design.grams}
        projector = None
        if len(test) > design.n_columns:
            basis, compressed = algebra.xp.linalg.qr(X_test[design.setup_dtype(0)])
            X_test = {d: algebra.astype(compressed, d) for d in X_test}
            projector = algebra.array(basis.T, self.dtype)
        grams = {d: self._gram_train(k, d) for d in X_test}
        hats = self._empty(min(len(test), design.n_columns), design.n_columns)
        for a, d in self._penalties():
            solvers.primal_downdate(algebra, X_test[d] * self._scale(a), grams[d], design.penalties[a], hats[a])
        return FoldHat(hats, test, projector, self._varies(k))

    def _is_far(self, a: int) -> bool:
        """Whether this penalty is left to a downdate.

        Leaving rows out subtracts 1/n for the intercept from residual makers whose other entries
        shrink with the penalty.
        """
        largest = self.design.d_max if self.design.eigenvalues is None else float(self.design.eigenvalues.max())
        return self.design.fit_intercept and bool(self.alphas[a] > FAR * largest)

    def _gram_train(self, k: int, dtype: str) -> Any:
        """X_T'X_T, from the smaller of the rows that are fitted and those that are not."""
        train, out = self.folds[k][0], self.out[k]
        rows = self.design.rows(out if len(out) < len(train) else train, dtype)
        gram = self.algebra.gram(rows)
        return self.design.grams[dtype] - gram if len(out) < len(train) else gram

    def _primal_leave_out(self, k: int) -> FoldHat:
        algebra, design, test = self.algebra, self.design, self.folds[k][1]
        eigenvalues = algebra.numpy(design.eigenvalues)
        if design.fit_intercept:
            eigenvalues = np.append(eigenvalues, design.n_trs)
        inverse = 1 / (eigenvalues + design.penalties)
        Z_out = {d: design.rows(self.out[k], d) for d in design.grams}
        within = np.searchsorted(self.out[k], test)
        hats = self._empty(len(test), design.n_columns)
        for a, d in self._penalties():
            if self._is_far(a):
                right = self._centre(design.rows(test, d)) * self._scale(a)
                solvers.primal_downdate(algebra, right, self._gram_train(k, d), design.penalties[a], hats[a])
                continue
            solvers.primal_leave_out(
                algebra, Z_out[d], algebra.array(inverse[a], d), within, self.centred, hats[a], self._scale(a)
            )
        return FoldHat(hats, test, varies=self._varies(k))

    def _dual_downdate(self, k: int) -> FoldHat:
        train, test = self.folds[k]
        hats = self._empty(len(test), len(train))
        self._downdate_dual(k, list(self._penalties()), hats)
        return FoldHat(hats, test, varies=self._varies(k))

    def _downdate_dual(self, k: int, penalties: Sequence[tuple[int, str]], hats: Any) -> None:
        (train, test), algebra, design = self.folds[k], self.algebra, self.design
        K = {d: algebra.columns(design.grams[d], train) for d in {d for _, d in penalties}}
        K_train, K_test = ({d: algebra.rows(part, rows) for d, part in K.items()} for rows in (train, test))
        for a, d in penalties:
            settings = self.alphas[a], design.fit_intercept, self.centred, hats[a], self._scale(a)
            solvers.dual_downdate(algebra, K_train[d], K_test[d], *settings)

    def _dual_leave_out(self, group: Sequence[int]) -> list[FoldHat]:
        design, folds = self.design, [self.folds[k] for k in group]
        parts = [(train, out, np.searchsorted(out, test)) for (train, test), out in zip(folds, (self.out[k] for k in group))]
        hats = [self._empty(len(test), len(train)) for train, test in folds]
        far = [(a, d) for a, d in self._penalties() if self._is_far(a)]
        for k, fold_hats in zip(group if far else (), hats):
            self._downdate_dual(k, far, fold_hats)
        room = {d: self.algebra.empty(gram.shape, d) for d, gram in design.grams.items()}
        for a, d in self._penalties():
            if (a, d) in far:
                continue
            outs = [fold_hats[a] for fold_hats in hats]
            settings = design.fit_intercept, self.centred, outs, self._scale(a), room[d]
            solvers.dual_leave_out(self.algebra, design.grams[d], self.alphas[a], parts, *settings)
        return [
            FoldHat(fold_hats, test, varies=self._varies(k)) for fold_hats, (_, test), k in zip(hats, folds, group, strict=True)
        ]

    def _penalties(self) -> Iterator[tuple[int, str]]:
        """Each penalty's number and the precision it is factorised in."""
        return ((a, self.design.setup_dtype(a)) for a in range(len(self.alphas)))

    def _empty(self, *shape: int) -> Any:
        return self.algebra.empty((len(self.alphas), *shape), self.dtype)

    def _centre(self, x: Any) -> Any:
        return x - x.mean(0) if self.centred else x

    def _scale(self, a: int) -> float:
        """What keeps centred hats near one: penalties beyond all eigenvalues are as good as infinite."""
        far = self.centred and self.design.d_max > 0
        return max(1.0, float(self.alphas[a] / self.design.d_max)) if far else 1.0  # a numpy number would widen float32

    def _varies(self, k: int) -> bool:
        X_test = self.design.rows(self.folds[k][1])[:, : self.design.n_features]
        first, rest = X_test[:, :1], X_test[:, 1:]
        return bool(not constant_columns(first).all() or not constant_columns(rest).all())

    # -- targets --------------------------------------------------------------------------

    def statistics(self, Yt: Any, group: Sequence[int]) -> tuple[Any, list[Any]]:
        """What the hats apply to, of targets in rows (n_targets, n_trs).

        Returns the statistic of all rows (X'Y in the primal, Y in the dual) and that of each
        fold's training rows.
        """
        columns = self.algebra.columns
        if not self.is_primal:
            return Yt, [columns(Yt, self.folds[k][0]) for k in group]
        held_out = [self.algebra.multiply(columns(Yt, self.out[k]), self.design.rows(self.out[k])) for k in group]
        if self._folds_partition and len(group) == len(self.folds):
            whole = sum(held_out)
        else:
            whole = self.design.times(Yt)
        for part in held_out:  # in its place: what was held out becomes what was fitted
            self.algebra.xp.subtract(whole, part, out=part)
        return whole, held_out
