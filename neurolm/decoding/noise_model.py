"""How the noise of voxels goes together: the covariance that tells a likely residual from an unlikely one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import linalg

from neurolm.arrays import batches, to_numpy
from neurolm.checks import bad, check_finite, check_same_length
from neurolm.encoding.crossval import check_groups, run_folds

VOXELS_AT_ONCE = 2048  # columns of Y in one product: bounds memory, changes nothing else


class NoiseModel:
    """Residual covariance of an encoding model, from residuals of runs that it was not fitted on.

    For each run s the ridge is fitted without s (same penalties) and its residuals E_s give
    S_s = E_s' E_s; the covariance is the mean over runs of S_s / mean(diag S_s), shrunk towards
    the identity: (1 - shrinkage) * covariance + shrinkage * I. Its mean variance is 1; the residual
    variance itself is kept in `variance_`.

    Parameters
    ----------
    shrinkage : float in [0, 1]
        2/3 is the published value. 0 needs more TRs than voxels.
    n_factors : int or None
        None keeps the whole covariance. A number keeps that many leading components and, of the
        rest, only each voxel's own variance (low rank plus diagonal).

    Attributes
    ----------
    factors_ : (n_factors, n_voxels) and diagonal_ : (n_voxels,)
        The shrunk covariance is factors_' factors_ + diag(diagonal_).
    variance_ : float
        Mean residual variance over voxels and TRs, in squared units of the BOLD.

    References
    ----------
    Tang et al. (2023), Nature Neuroscience 26:858-866. The refits are not carried out: residuals
    without run s are (I - H_ss)^-1 (Y_s - X_s W), exactly, with H the hat matrix of all runs.
    """

    def __init__(self, shrinkage: float = 2 / 3, n_factors: int | None = None) -> None:
        self.shrinkage = shrinkage
        self.n_factors = n_factors

    def fit(
        self, X: Any, Y: Any, *, run_onsets: Any, alphas: Any, fit_intercept: bool = False, run_groups: Any = None
    ) -> NoiseModel:
        """Estimate the covariance from the training data of an encoding model.

        Parameters
        ----------
        X : array of shape (n_trs, n_delayed_features)
        Y : array of shape (n_trs, n_voxels)
            The decoded voxels alone.
        run_onsets : array of shape (n_runs,)
            First row of each run; at least two runs.
        alphas : array of shape (n_voxels,)
            The penalty of each voxel: `best_alphas_` of the fitted model.
        fit_intercept : bool
            Whether the model has an intercept that is not penalised (an `EncodingModel` has).
        run_groups : sequence of int, optional
            The stimulus of each run: runs of one stimulus are left out together.
        """
        residuals = leave_one_run_out_residuals(
            X, Y, run_onsets=run_onsets, alphas=alphas, fit_intercept=fit_intercept, run_groups=run_groups
        )
        return self.fit_residuals(residuals, run_onsets=run_onsets)

    def fit_residuals(self, residuals: Any, *, run_onsets: Any) -> NoiseModel:
        """The same from residuals (n_trs, n_voxels) that were made elsewhere."""
        self._check_settings()
        residuals = np.asarray(residuals, dtype=np.float64)
        check_finite("residuals", residuals, "Leave constant and NaN voxels out when voxels are selected.")
        runs = list(_run_slices(run_onsets, len(residuals)))
        factors = np.empty_like(residuals)
        for rows in runs:
            variance = (residuals[rows] ** 2).sum(axis=0).mean()
            if variance == 0:
                raise bad("residuals", "differ from 0 in every run", f"run {runs.index(rows)} with residuals of 0")
            factors[rows] = residuals[rows] / np.sqrt(variance * len(runs))
        self.variance_ = float((residuals**2).mean())
        return self._shrink(factors)

    @classmethod
    def from_covariance(cls, covariance: Any, shrinkage: float = 0.0) -> NoiseModel:
        """A noise model with this covariance (n_voxels, n_voxels), shrunk by `shrinkage`; refused if not positive definite."""
        covariance = np.asarray(covariance, dtype=np.float64)
        if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
            raise bad("covariance", "be square", covariance.shape)
        check_finite("covariance", covariance)
        if np.abs(covariance - covariance.T).max() > 1e-6 * np.abs(covariance).max():
            raise bad("covariance", "be symmetric", "an asymmetric matrix")
        model = cls(shrinkage)
        model._check_settings()
        model.variance_ = float(np.diag(covariance).mean())
        lower = _cholesky(covariance, "Shrink it: shrinkage > 0 adds to every eigenvalue.") if shrinkage == 0 else None
        model.factors_ = _square_root(covariance, 1 - shrinkage) if lower is None else lower.T
        model.diagonal_ = np.full(len(covariance), float(shrinkage))
        return model

    @property
    def n_voxels(self) -> int:
        return len(self.diagonal_)

    @property
    def covariance_(self) -> np.ndarray:
        """The shrunk covariance as a matrix (n_voxels, n_voxels): made again at every call."""
        return self.factors_.T @ self.factors_ + np.diag(self.diagonal_)

    def multiply_precision(self, rows: Any) -> np.ndarray:
        """rows @ inverse covariance, for rows of shape (n, n_voxels), in float64.

        Solved in whichever space is smaller: voxels, or factors by Woodbury's identity.

        Raises
        ------
        InputError
            If the covariance is not positive definite.
        """
        rows = np.asarray(rows, dtype=np.float64)
        check_same_length("voxels of the rows", rows.shape[1], "voxels of the noise model", self.n_voxels)
        hint = "Give shrinkage > 0 (published: 2/3), or more training TRs than voxels."
        if len(self.factors_) >= self.n_voxels or not self.diagonal_.min() > 0:
            lower = _cholesky(self.covariance_, hint)
            return linalg.cho_solve((lower, True), rows.T).T
        scaled = self.factors_ / self.diagonal_  # (k, V)
        lower = _cholesky(np.eye(len(scaled)) + scaled @ self.factors_.T, hint)
        base = rows / self.diagonal_
        return base - linalg.cho_solve((lower, True), (base @ self.factors_.T).T).T @ scaled

    def check_positive_definite(self) -> None:
        """Refuse a covariance that has no inverse; one with `shrinkage` has."""
        if not self.diagonal_.min() > 0:
            self.multiply_precision(np.zeros((1, self.n_voxels)))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As (arrays, attributes) for HDF5; `from_arrays` puts it together again."""
        settings = {"shrinkage": self.shrinkage, "n_factors": self.n_factors, "variance": self.variance_}
        return {"noise/factors": self.factors_, "noise/diagonal": self.diagonal_}, {"noise": settings}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> NoiseModel:
        """The noise model that `to_arrays` took apart."""
        kept = attributes["noise"]
        model = cls(kept["shrinkage"], kept["n_factors"])
        model.factors_, model.diagonal_ = arrays["noise/factors"], arrays["noise/diagonal"]
        model.variance_ = kept["variance"]
        return model

    def _shrink(self, factors: np.ndarray) -> NoiseModel:
        own_variance = np.zeros(factors.shape[1])
        if self.n_factors is not None:
            total = (factors**2).sum(axis=0)
            factors = _leading(factors, self.n_factors)
            own_variance = np.maximum(total - (factors**2).sum(axis=0), 0)
        self.factors_ = np.sqrt(1 - self.shrinkage) * factors
        self.diagonal_ = (1 - self.shrinkage) * own_variance + self.shrinkage
        if len(self.factors_) > self.n_voxels:  # fewer numbers say the same
            self.factors_ = linalg.qr(self.factors_, mode="r")[0][: self.n_voxels]
        return self

    def _check_settings(self) -> None:
        if not 0 <= self.shrinkage <= 1:
            raise bad("shrinkage", "lie in [0, 1]", self.shrinkage)
        if self.n_factors is not None and self.n_factors < 1:
            raise bad("n_factors", "be None or at least 1", self.n_factors)


def leave_one_run_out_residuals(
    X: Any, Y: Any, *, run_onsets: Any, alphas: Any, fit_intercept: bool = False, run_groups: Any = None
) -> np.ndarray:
    """Residuals of every run under the ridge fitted on the other runs, without any refit.

    E_s = (I - H_ss)^-1 (Y_s - X_s W), H = X (X'X + alpha I)^-1 X': exact, one solve of a run's size
    for each run and penalty. Parameters as for `NoiseModel.fit`.

    Returns
    -------
    residuals : (n_trs, n_voxels) float64
    """
    X, Y = to_numpy(X).astype(np.float64), to_numpy(Y)
    check_same_length("X", len(X), "Y", len(Y), "Both hold one row for each TR.")
    alphas = np.broadcast_to(np.asarray(to_numpy(alphas), dtype=np.float64), Y.shape[1:])
    if not (alphas > 0).all():
        raise bad("alphas", "be > 0 for every voxel", float(np.min(alphas)), "Leave unfitted voxels out.")
    maker = _ResidualMaker(X, fit_intercept)
    list(_run_slices(run_onsets, len(X)))  # checked
    if len(set(check_groups(run_groups, len(run_onsets)).tolist())) < 2:
        raise bad("run_groups", "hold at least two stimuli", "one story only", "Residuals are of left-out stories: add another.")
    runs = [held for _, held in run_folds(run_onsets, len(X), None, run_groups=run_groups)]
    residuals = np.empty(Y.shape)
    for alpha in np.unique(alphas):
        blocks = [linalg.cho_factor(maker.block(alpha, rows)) for rows in runs]
        columns = np.flatnonzero(alphas == alpha)
        for part in batches(len(columns), VOXELS_AT_ONCE):
            fitted = maker.apply(alpha, Y[:, columns[part]].astype(np.float64))
            for rows, block in zip(runs, blocks):
                residuals[np.ix_(rows, columns[part])] = linalg.cho_solve(block, fitted[rows])
    return residuals


def select_voxels(scores: Any, n_voxels: int) -> np.ndarray:
    """Indices, sorted, of the voxels with the best cross-validated scores.

    Parameters
    ----------
    scores : (n_voxels_of_the_brain,)
        For example `cv_scores_.max(axis=0)` of a fitted `RidgeCV`. NaN is never selected.
    n_voxels : int
        10,000 in the published study.

    Raises
    ------
    InputError
        If fewer voxels have a score.
    """
    scores = np.asarray(to_numpy(scores), dtype=np.float64)
    scored = np.flatnonzero(~np.isnan(scores))
    if not 1 <= n_voxels <= len(scored):
        raise bad("n_voxels", f"lie in 1..{len(scored)}, the voxels that have a score", n_voxels)
    return np.sort(scored[np.argsort(-scores[scored], kind="stable")[:n_voxels]])


def _run_slices(run_onsets: Any, n_trs: int) -> Iterator[slice]:
    onsets: Sequence[int] = np.asarray(run_onsets, dtype=np.int64).tolist()
    if len(onsets) < 2 or onsets[0] != 0 or sorted(set(onsets)) != onsets or onsets[-1] >= n_trs:
        raise bad(
            "run_onsets", f"rise from 0, stay below {n_trs} and name at least two runs", onsets, "Residuals are of left-out runs."
        )
    yield from (slice(a, b) for a, b in zip(onsets, [*onsets[1:], n_trs]))


class _ResidualMaker:
    """I - H for every penalty from one eigendecomposition of the smaller Gram matrix of X.

    Tall X: H = B diag(1 / (s + alpha)) B', B = X V. Wide X, U orthogonal: I - H = U diag(alpha / (s + alpha)) U',
    without the cancellation of a difference. An intercept centres X and takes the mean out as well.
    """

    def __init__(self, X: np.ndarray, fit_intercept: bool) -> None:
        n, p = X.shape
        self.is_tall = n > p
        self.mean_share = 1 / n if fit_intercept else 0.0
        X = X - X.mean(axis=0) if fit_intercept else X
        self.spectrum, vectors = linalg.eigh(X.T @ X if self.is_tall else X @ X.T)
        self.basis = X @ vectors if self.is_tall else vectors

    def block(self, alpha: float, rows: np.ndarray) -> np.ndarray:
        """The diagonal block of I - H that belongs to `rows`."""
        own = self.basis[rows]
        product = (own * self._weights(alpha)) @ own.T
        return (np.eye(len(own)) - product if self.is_tall else product) - self.mean_share

    def apply(self, alpha: float, Y: np.ndarray) -> np.ndarray:
        """(I - H) Y: the residuals of the fit on all rows."""
        product = (self.basis * self._weights(alpha)) @ (self.basis.T @ Y)
        return (Y - product if self.is_tall else product) - self.mean_share * Y.sum(axis=0)

    def _weights(self, alpha: float) -> np.ndarray:
        return (1.0 if self.is_tall else alpha) / (np.maximum(self.spectrum, 0) + alpha)


def _leading(factors: np.ndarray, n: int) -> np.ndarray:
    """The `n` leading components of factors' factors, as (n, n_voxels) factors."""
    n_rows, n_voxels = factors.shape
    if n_rows <= n_voxels:
        values, U = linalg.eigh(factors @ factors.T)
        return U[:, ::-1][:, :n].T @ factors
    values, V = linalg.eigh(factors.T @ factors)
    return (V * np.sqrt(np.maximum(values, 0))).T[::-1][:n]


def _square_root(covariance: np.ndarray, scale: float) -> np.ndarray:
    """R with R'R = scale * covariance, for a covariance that may have eigenvalues of 0 but none below."""
    values, V = linalg.eigh(covariance)
    if values[0] < -1e-8 * max(values[-1], 0):
        raise bad("noise covariance", "have no negative eigenvalue", f"{values[0]:.3g}", "It is not a covariance.")
    return (V * np.sqrt(scale * np.maximum(values, 0))).T


def _cholesky(matrix: np.ndarray, hint: str) -> np.ndarray:
    """Lower factor, or a message that names the smallest eigenvalue."""
    try:
        lower = linalg.cholesky(matrix, lower=True)
    except linalg.LinAlgError:
        lower = None
    if lower is None or np.diag(lower).min() <= 1e-7 * np.diag(lower).max():
        smallest = float(linalg.eigvalsh(matrix, subset_by_index=[0, 0])[0])
        raise bad("noise covariance", "be positive definite", f"a smallest eigenvalue of {smallest:.3g}", hint)
    return lower
