"""Ridge regression with one cross-validated penalty per voxel."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurolm.arrays import is_torch, to_numpy
from neurolm.checks import bad, check_choice, check_finite, check_real, check_same_length
from neurolm.encoding.crossval import resolve_folds
from neurolm.encoding.ridge.banded_search import BandedFit
from neurolm.encoding.ridge.delayed_features import DelayedFeatures
from neurolm.encoding.ridge.fold_hats import FoldHats
from neurolm.encoding.ridge.fold_scores import SCORINGS
from neurolm.encoding.ridge.linear_algebra import algebra_for, like_input
from neurolm.encoding.ridge.ridge_search import RidgeFit, fit_ridge_cv
from neurolm.progress import Progress, silent
from neurolm.storage import whole_file

LEAST_ALPHA, MOST_ALPHA = 1e-37, 1e38  # normal numbers of float32
EDGE_SHARE = 0.05  # of the targets, at one end of the grid: from here on the fit warns


class RidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression whose penalty is cross-validated for every voxel, exactly and fast.

    Minimises ||Y - X W||^2 + alpha ||W||^2, as scikit-learn and himalaya write it. One
    factorisation serves all folds and penalties; primal or dual, Gram downdates or the
    block-leave-out identity are chosen by counting operations. The result is that of refitting
    every fold with every penalty.

    Parameters
    ----------
    alphas : sequence of float
        Penalties to choose from, > 0, in any order.
    cv : int, scikit-learn splitter, or iterable of (train, test)
        An int means that many contiguous, unshuffled folds. For BOLD use
        `leave_one_run_out(run_onsets)` or `contiguous_blocks(n_trs, 5, gap=5)`.
    scoring : "r2" or "correlation"
        What the best penalty maximises, averaged over folds.
    alpha_per_target : bool
        Otherwise one penalty, the best on average, serves all targets.
    fit_intercept : bool
        Fit an intercept that is not penalised (in each fold again).
    device : "auto", "cpu" or "cuda"
        "auto": where a tensor lives, else a GPU if there is one.
    dtype : "float32" or "float64"
        Precision of the products with the targets. With float32, a penalty is factorised in
        float64 where the largest eigenvalue of X'X exceeds it 1e4 times (in the dual 4e3 times).
    n_targets_batch : int, optional
        Voxels handled at once; None for 512, or fewer where memory asks for it (more on a GPU).

    Attributes
    ----------
    coef_ : (n_features, n_targets)
    intercept_ : (n_targets,)
    best_alphas_ : (n_targets,)
    cv_scores_ : (n_alphas, n_targets)
        Mean over folds. A fold in which a target does not vary has no score and is left out.
    method_ : str
        How it was computed: one of `cost_model.METHODS`.

    Notes
    -----
    A target that is constant or holds NaN gets NaN everywhere, is counted in a warning, and
    leaves the others as they are. `cv_scores_` of the best penalty is a little optimistic:
    `nested_cv_scores` is not. `coef_` is stored in `dtype`; predictions have the dtype of X.

    References
    ----------
    Dupre la Tour et al. (2022), NeuroImage 264:119728 (himalaya).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 10)).astype("float32")
    >>> Y = X @ rng.standard_normal((10, 3)).astype("float32") + 3 * rng.standard_normal((200, 3)).astype("float32")
    >>> model = RidgeCV(alphas=[0.01, 10.0, 10000.0], cv=5).fit(X, Y)
    >>> model.coef_.shape, model.best_alphas_.shape, model.cv_scores_.shape
    ((10, 3), (3,), (3, 3))
    >>> bool((model.cv_scores_.max(axis=0) > 0.3).all())
    True
    """

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0, 100.0, 1000.0),
        cv: Any = 5,
        scoring: str = "r2",
        alpha_per_target: bool = True,
        fit_intercept: bool = False,
        device: str = "auto",
        dtype: str = "float32",
        n_targets_batch: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.alpha_per_target = alpha_per_target
        self.fit_intercept = fit_intercept
        self.device = device
        self.dtype = dtype
        self.n_targets_batch = n_targets_batch

    def fit(self, X: Any, y: Any, progress: Progress = silent, coef_file: str | Path | None = None) -> RidgeCV:
        """Choose a penalty for every target and fit all rows with it.

        Parameters
        ----------
        X : array or tensor of shape (n_trs, n_features), or DelayedFeatures
        y : array, tensor or HDF5 dataset of shape (n_trs, n_targets) or (n_trs,)
            Anything with a shape and column slicing is read a block of voxels at a time.
        coef_file : path, optional
            A `.npy` file to keep the weights in, a row for each target (and in the primal a last
            column for the intercept of centred data); `coef_` is then mapped from it, and memory
            does not grow with the number of voxels.
        """
        alphas = check_alphas(self.alphas)
        check_choice("scoring", self.scoring, SCORINGS)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_batch(self.n_targets_batch)
        X, y = check_X_y(self, X, y)
        self._is_1d = len(y.shape) == 1
        Y = y[:, None] if self._is_1d else y
        hats = FoldHats(
            X,
            resolve_folds(self.cv, X, Y),
            alphas,
            centred=self.scoring == "correlation",
            fit_intercept=self.fit_intercept,
            dtype=self.dtype,
            algebra=algebra_for(self.device, X),
            n_targets=Y.shape[1],
        )
        with _weights(coef_file, Y.shape[1], hats) as weights:
            found = fit_ridge_cv(
                hats,
                Y,
                scoring=self.scoring,
                alpha_per_target=self.alpha_per_target,
                n_targets_batch=self.n_targets_batch,
                weights=weights,
                progress=progress,
            )
        report_targets(found, alphas)
        self._store(found, alphas, X)
        self.method_ = hats.method
        return self

    def _store(self, found: RidgeFit, alphas: np.ndarray, X: Any) -> None:
        best = np.where(found.chosen >= 0, alphas[found.chosen], np.nan).astype(self.dtype)
        intercept = np.where(found.chosen >= 0, found.intercept, np.nan).astype(self.dtype)
        self.coef_ = like_input(found.weights, X).T
        self.intercept_ = like_input(intercept, X)
        self.best_alphas_ = like_input(best, X)
        self.cv_scores_ = like_input(found.scores, X)

    def predict(self, X: Any) -> Any:
        """Predictions (n_trs, n_targets), in the dtype of X; (n_trs,) if y was one-dimensional."""
        check_is_fitted(self)
        X = check_X(self, X)
        X = X.rows(np.arange(len(X))) if isinstance(X, DelayedFeatures) else X
        predictions = predict_linear(X, self.coef_, self.intercept_)
        return predictions[:, 0] if self._is_1d else predictions


def predict_linear(X: Any, coef: Any, intercept: Any) -> Any:
    """X @ coef + intercept as the kind and dtype of X; `intercept` may be None."""
    if is_torch(X):
        coef = like_input(coef, X)
        predictions = X.to(coef.dtype) @ coef
        return (predictions if intercept is None else predictions + like_input(intercept, X)).to(X.dtype)
    predictions = X @ to_numpy(coef)
    if intercept is not None:
        predictions += to_numpy(intercept)
    return predictions.astype(X.dtype, copy=False)


@contextlib.contextmanager
def _weights(path: str | Path | None, n_targets: int, hats: FoldHats) -> Iterator[np.ndarray | None]:
    """A `.npy` file mapped into memory for the weights, there only once they are all in it."""
    if path is None:
        yield None
        return
    if Path(path).suffix != ".npy":
        raise bad("coef_file", "end in .npy", path, "It is a plain numpy file: np.load(coef_file, mmap_mode='r').")
    with whole_file(path) as part:
        mapped = np.lib.format.open_memmap(part, "w+", hats.dtype, (n_targets, hats.design.n_columns))
        yield mapped
        mapped.flush()


def check_alphas(alphas: Any) -> np.ndarray:
    """Penalties as a float64 vector, every one positive in float32 too, in which voxels keep theirs."""
    checked = np.atleast_1d(np.asarray(to_numpy(alphas), dtype=np.float64))
    if checked.ndim != 1 or not checked.size or not np.isfinite(checked).all() or (checked <= 0).any():
        raise bad("alphas", "be positive numbers, at least one", alphas, "A penalty of zero is not ridge regression.")
    if checked.min() < LEAST_ALPHA or checked.max() > MOST_ALPHA:
        raise bad("alphas", f"lie in {LEAST_ALPHA:g} ... {MOST_ALPHA:g}, what float32 holds", alphas)
    return checked


def check_X(estimator: Any, X: Any, *, reset: bool = False) -> Any:
    """X as a finite floating-point matrix of its own kind, its width checked or remembered."""
    if isinstance(X, DelayedFeatures):
        _check_width(estimator, X, reset)
        return X
    if not is_torch(X):
        X = validate_data(estimator, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite=False)
    elif X.ndim != 2:
        raise bad("X", "have shape (n_trs, n_features)", tuple(X.shape))
    else:
        _check_width(estimator, X, reset)
    check_real("X", X)
    X = X.float() if is_torch(X) and not X.is_floating_point() else X
    check_finite("X", to_numpy(X), "NaN features cannot be fitted: drop the rows or repair the stimulus.")
    return X


def _check_width(estimator: Any, X: Any, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = X.shape[1]
    elif X.shape[1] != estimator.n_features_in_:
        raise bad("X", f"have {estimator.n_features_in_} features, as in fit", X.shape[1])


def check_X_y(estimator: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """X and targets that go row by row; targets may hold NaN in some columns, not in all."""
    X = check_X(estimator, X, reset=True)
    if y is None:
        raise bad("y", "be given", y, f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    y = y if hasattr(y, "shape") and not hasattr(y, "iloc") else np.asarray(y)
    check_real("y", y)
    if len(y.shape) not in (1, 2):
        raise bad("y", "have shape (n_trs, n_targets) or (n_trs,)", y.shape)
    check_same_length("X", X.shape[0], "y", y.shape[0], "Both have one row per TR.")
    if X.shape[0] < 2:
        raise bad("X", "have at least 2 rows", f"{X.shape[0]} sample")
    return X, y


def report_targets(found: RidgeFit | BandedFit, alphas: np.ndarray) -> None:
    """Warn of targets without a result, partly scored ones, and penalties at the grid's ends."""
    n = len(found.chosen)
    warn_of_undefined(found.undefined, "their weights, penalties and scores", stacklevel=5)
    unscored = (found.chosen < 0) & ~found.undefined
    if unscored.any():
        _warn(f"{_some(unscored)} have no defined score in any fold: their weights, penalties and scores are NaN.")
    partly = found.partly_scored & ~unscored
    if partly.any():
        _warn(f"{_some(partly)} do not vary in some fold: their scores are means over the other folds.")
    if len(alphas) < 2:
        return
    for end, name in ((alphas.argmin(), "smallest"), (alphas.argmax(), "largest")):
        share = (found.chosen == end).sum() / max(1, n - int((found.chosen < 0).sum()))
        if share >= EDGE_SHARE:
            _warn(f"{share:.0%} of the targets chose the {name} penalty, {alphas[end]:g}: extend alphas in that direction.")


def warn_of_undefined(undefined: np.ndarray, what: str, stacklevel: int = 4) -> None:
    """Count and name targets that cannot be fitted; if that is all of them, stop."""
    if undefined.all():
        raise bad("y", "hold at least one target that varies and is finite", "NaN or constant values in all of them")
    if undefined.any():
        _warn(f"{_some(undefined)} are constant or hold NaN: {what} are NaN.", stacklevel)


def _some(mask: np.ndarray) -> str:
    which = np.flatnonzero(mask)
    more = ", ..." if len(which) > 5 else ""
    return f"{len(which)} of {len(mask)} targets (columns {', '.join(map(str, which[:5]))}{more})"


def _warn(message: str, stacklevel: int = 4) -> None:
    warnings.warn(message, UserWarning, stacklevel=stacklevel)


def check_batch(n_targets_batch: Any) -> Any:
    """None or a positive whole number."""
    if n_targets_batch is not None and (not isinstance(n_targets_batch, (int, np.integer)) or n_targets_batch < 1):
        raise bad("n_targets_batch", "be None or a whole number >= 1", n_targets_batch)
    return n_targets_batch
