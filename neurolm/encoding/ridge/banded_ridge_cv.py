"""Banded ridge: one penalty per feature space and voxel, found by random search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from neurolm.arrays import to_numpy
from neurolm.checks import bad, check_choice, check_same_length
from neurolm.encoding.crossval import resolve_folds
from neurolm.encoding.ridge.banded_search import BandedFit, dirichlet_gammas, fit_banded_cv
from neurolm.encoding.ridge.fold_hats import FoldHats
from neurolm.encoding.ridge.fold_scores import SCORINGS
from neurolm.encoding.ridge.linear_algebra import algebra_for, like_input
from neurolm.encoding.ridge.ridge_cv import check_alphas, check_batch, check_X, check_X_y, predict_linear, report_targets
from neurolm.encoding.ridge.ridge_search import batch_size
from neurolm.progress import Progress, silent


class BandedRidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with its own penalty for every feature space (band) and voxel.

    Minimises ||Y - sum_b X_b W_b||^2 + alpha sum_b ||W_b||^2 / gamma_b. Band weights gamma are
    drawn from Dirichlet distributions; every draw is cross-validated with every alpha, and each
    voxel keeps its best pair. The same seed gives the draws, and so the result, of himalaya's
    random search.

    Parameters
    ----------
    feature_slices : mapping of str to slice, or sequence of slice, optional
        Columns of each feature space, such as `EncodingData.feature_slices`; together they cover
        all columns once. None: one band, which is `RidgeCV`.
    alphas : sequence of float
        Penalties > 0, in any order.
    n_iter : int, or array of shape (n_draws, n_bands)
        How many draws to try, the first one uniform; or the band weights themselves, >= 0.
    concentration : float or sequence of float
        Of the Dirichlet distributions, taken in turns.
    cv, scoring, fit_intercept, device, dtype, n_targets_batch
        As in `RidgeCV`.
    random_state : int or None
        Seed of the draws.

    Attributes
    ----------
    coef_ : (n_features, n_targets)
        For the features as they were given.
    intercept_ : (n_targets,)
    best_alphas_ : (n_targets,)
    best_gammas_ : (n_bands, n_targets)
    deltas_ : (n_bands, n_targets)
        log(gamma / alpha), as in himalaya.
    cv_scores_ : (n_draws, n_targets)
        Mean over folds, of each draw's best penalty.
    feature_slices_ : dict of str to slice

    References
    ----------
    Dupre la Tour et al. (2022), NeuroImage 264:119728; Nunez-Elizalde et al. (2019), NeuroImage 197:482.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 12)).astype("float32")
    >>> Y = (X[:, :4] @ rng.standard_normal((4, 2)) + 3 * rng.standard_normal((200, 2))).astype("float32")
    >>> spaces = {"sound": slice(0, 4), "words": slice(4, 12)}
    >>> model = BandedRidgeCV(spaces, alphas=[0.001, 1.0, 10.0, 1000.0], n_iter=20, random_state=0).fit(X, Y)
    >>> shares = model.product_measure(X, Y)
    >>> bool((shares["sound"] > shares["words"]).all())
    True
    """

    def __init__(
        self,
        feature_slices: Any = None,
        alphas: Any = (0.1, 1.0, 10.0, 100.0, 1000.0),
        n_iter: Any = 20,
        concentration: Any = (0.1, 1.0),
        cv: Any = 5,
        scoring: str = "r2",
        fit_intercept: bool = False,
        device: str = "auto",
        dtype: str = "float32",
        n_targets_batch: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.feature_slices = feature_slices
        self.alphas = alphas
        self.n_iter = n_iter
        self.concentration = concentration
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.device = device
        self.dtype = dtype
        self.n_targets_batch = n_targets_batch
        self.random_state = random_state

    def fit(self, X: Any, y: Any, progress: Progress = silent) -> BandedRidgeCV:
        """Find band weights and a penalty for every target and fit all rows with them.

        Parameters
        ----------
        X : array or tensor of shape (n_trs, n_features)
            All feature spaces side by side.
        y : array, tensor or HDF5 dataset of shape (n_trs, n_targets) or (n_trs,)
        """
        alphas = check_alphas(self.alphas)
        check_choice("scoring", self.scoring, SCORINGS)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_batch(self.n_targets_batch)
        X, y = check_X_y(self, X, y)
        self._is_1d = len(y.shape) == 1
        Y = y[:, None] if self._is_1d else y
        self.feature_slices_ = check_slices(self.feature_slices, X.shape[1])
        gammas = self._gammas(len(self.feature_slices_))
        hats = FoldHats(
            X,
            resolve_folds(self.cv, X, Y),
            alphas,
            centred=self.scoring == "correlation",
            fit_intercept=self.fit_intercept,
            dtype=self.dtype,
            algebra=algebra_for(self.device, X),
            n_targets=Y.shape[1],
            bands=list(self.feature_slices_.values()),
            n_draws=len(gammas),
        )
        batch = self.n_targets_batch or batch_size(hats)
        found = fit_banded_cv(hats, Y, gammas, scoring=self.scoring, n_targets_batch=batch, progress=progress)
        report_targets(found, alphas)
        self._store(found, alphas, gammas, X)
        self.method_ = hats.method
        return self

    def _gammas(self, n_bands: int) -> np.ndarray:
        if isinstance(self.n_iter, (int, np.integer)):
            if self.n_iter < 1:
                raise bad("n_iter", "be >= 1 draws, or the band weights to try", self.n_iter)
            return dirichlet_gammas(int(self.n_iter), n_bands, self.concentration, self.random_state)
        gammas = np.asarray(to_numpy(self.n_iter), dtype=np.float64)
        if gammas.ndim != 2 or gammas.shape[1] != n_bands or (gammas < 0).any() or not (gammas.sum(1) > 0).all():
            raise bad("n_iter", f"be an int or weights >= 0 of shape (n_draws, {n_bands}), not all zero", self.n_iter)
        return gammas

    def _store(self, found: BandedFit, alphas: np.ndarray, gammas: np.ndarray, X: Any) -> None:
        known = found.chosen >= 0
        best = np.where(known, alphas[found.chosen], np.nan)
        best_gammas = np.where(known, gammas[found.draw].T, np.nan)
        with np.errstate(divide="ignore"):
            deltas = np.log(best_gammas / best)
        self.coef_ = like_input(found.weights, X).T
        self.intercept_ = like_input(np.where(known, found.intercept, np.nan).astype(self.dtype), X)
        self.best_alphas_ = like_input(best.astype(self.dtype), X)
        self.best_gammas_ = like_input(best_gammas.astype(self.dtype), X)
        self.deltas_ = like_input(deltas.astype(self.dtype), X)
        self.cv_scores_ = like_input(found.scores, X)

    def predict(self, X: Any) -> Any:
        """Predictions (n_trs, n_targets), in the dtype of X; (n_trs,) if y was one-dimensional."""
        check_is_fitted(self)
        predictions = predict_linear(check_X(self, X), self.coef_, self.intercept_)
        return predictions[:, 0] if self._is_1d else predictions

    def predict_by_space(self, X: Any) -> dict[str, Any]:
        """What each feature space contributes to `predict`, (n_trs, n_targets) each, without the intercept."""
        check_is_fitted(self)
        X = check_X(self, X)
        return {name: predict_linear(X[:, band], self.coef_[band], None) for name, band in self.feature_slices_.items()}

    def product_measure(self, X: Any, y: Any) -> dict[str, np.ndarray]:
        """R2 of held-out data, split between the feature spaces: (n_targets,) each, summing to the joint R2.

        See `product_measure`.
        """
        parts = self.predict_by_space(X)
        y = to_numpy(y).reshape(len(y), -1)
        split = product_measure(y, np.stack([to_numpy(part) for part in parts.values()]), to_numpy(self.intercept_))
        return dict(zip(parts, split, strict=True))


def product_measure(Y: np.ndarray, predictions: np.ndarray, intercept: Any = 0.0) -> np.ndarray:
    """Split the R2 of a sum of predictions between its parts.

    R2_b = sum_t p_b (2 y - p) / sum_t (y - mean y)^2 with p = sum_b p_b and y free of the
    intercept. What the offset between y and the intercept costs is shared equally.

    Parameters
    ----------
    Y : array of shape (n_trs, n_targets)
    predictions : array of shape (n_bands, n_trs, n_targets)
        Of each feature space, without the intercept.
    intercept : float or array of shape (n_targets,)

    Returns
    -------
    r2 : (n_bands, n_targets)
        Sums over bands to the R2 of predictions.sum(0) + intercept. A part may be negative. NaN
        where a target does not vary.

    References
    ----------
    Dupre la Tour et al. (2022), NeuroImage 264:119728.
    """
    check_same_length("Y", Y.shape[0], "predictions", predictions.shape[1])
    total = ((Y - Y.mean(0, dtype=np.float64)) ** 2).sum(0)
    total = np.where(total > 0, total, np.nan)
    y = Y.astype(np.float64) - intercept
    joint = predictions.sum(0, dtype=np.float64)
    shares = np.einsum("btv,tv->bv", predictions, 2 * y - joint)
    offset = total - (y**2).sum(0)
    return (shares + offset / len(predictions)) / total


def check_slices(feature_slices: Any, n_features: int) -> dict[str, slice]:
    """Feature spaces by name; every column belongs to exactly one."""
    if feature_slices is None:
        return {"features": slice(0, n_features)}
    named = feature_slices if isinstance(feature_slices, Mapping) else {str(i): s for i, s in enumerate(feature_slices)}
    columns = {name: range(n_features)[s] for name, s in named.items() if isinstance(s, slice)}
    covered = sorted(i for part in columns.values() for i in part)
    if len(columns) != len(named) or covered != list(range(n_features)) or any(part.step != 1 for part in columns.values()):
        raise bad("feature_slices", f"be slices that cover each of the {n_features} features once", feature_slices)
    return {name: slice(part.start, part.stop) for name, part in columns.items()}
