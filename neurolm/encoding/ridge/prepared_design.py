"""One X made ready for ridge: centred, its Gram matrix, its principal axes, and in which precision.

Precision, when dtype is float32. The condition of a penalty is the largest eigenvalue of X'X over
it. Beyond 1e4 (in the dual 4e3) its Gram matrix, factor and hats are made in float64; so are those
of a problem too small for it to matter. Beyond 1e5 the features are also turned to their principal
axes, so that large and small directions do not meet in one float32 sum. Products with the targets
are made in float32 throughout. That keeps scores to 5e-5: measured on autocorrelated features with
power-law spectra, correlations with float32 factors are off by at most 4e-6 in the primal (condition
1e4) and 1.4e-5 in the dual (3e3), growing in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.arrays import batches
from neurolm.encoding.ridge import solvers
from neurolm.encoding.ridge.delayed_features import DelayedFeatures
from neurolm.encoding.ridge.linear_algebra import Algebra, largest_eigenvalue

FLOAT32_CONDITION = {"primal": 1e4, "dual": 4e3}
ROTATE_CONDITION = 1e5

BANDS_BYTES = 2 << 30  # kernels of all bands are kept up to here, and made again for each draw beyond

ROWS_AT_A_TIME = 4096  # of delayed features that are made when they are needed

_HUGE = 1e30  # the penalty of a band with no weight: beyond any feature, within float32


class PreparedDesign:
    """X, its Gram matrix (primal) or kernel (dual), and one penalty per alpha and column.

    Parameters
    ----------
    X : array of shape (n_trs, n_features), or DelayedFeatures
        Delayed features are made row by row in the primal, unless they must be turned to their
        principal axes.
    alphas : array of shape (n_alphas,)
    primal : bool
        Gram matrix X'X and penalties per column, or kernel XX' and one penalty.
    principal_axes : bool
        Turn the features to their principal axes whatever the condition.
    bands : sequence of slice
        Feature spaces that `reweight` weighs; one for plain ridge.
    wide : bool
        Factorise in float64 throughout.
    """

    def __init__(
        self,
        X: Any,
        alphas: np.ndarray,
        *,
        primal: bool,
        fit_intercept: bool,
        dtype: str,
        algebra: Algebra,
        principal_axes: bool = False,
        bands: Sequence[slice] | None = None,
        wide: bool = False,
    ) -> None:
        self.algebra, self.dtype, self.alphas = algebra, dtype, alphas
        self.primal, self.fit_intercept = primal, fit_intercept
        self.n_trs, self.n_features = X.shape
        self.bands = list(bands) if bands is not None else [slice(0, self.n_features)]
        self._always_wide = wide
        self._limit = FLOAT32_CONDITION["primal" if primal else "dual"]
        self.rotations: list[Any] = []
        self.eigenvalues: Any = None
        self._lazy: DelayedFeatures | None = None
        if isinstance(X, DelayedFeatures):
            if primal and not principal_axes and self._take_lazily(X):
                return
            X = X.rows(np.arange(self.n_trs))
        X, self.x_mean = self._centre(X)
        gram = self._gram(X)
        condition = largest_eigenvalue(gram) / alphas.min()
        if dtype == "float32" and (wide or condition > self._limit):
            X = algebra.astype(X, "float64")
            gram = self._gram(X)
        if primal and (principal_axes or condition > ROTATE_CONDITION):
            X, gram = self._rotate(X, gram)
        if primal and fit_intercept:
            X, gram = self._add_ones(X), self._add_row_of_ones(gram)
        self._X = X
        self._set_up(gram)

    # -- once -----------------------------------------------------------------------------

    def _take_lazily(self, X: DelayedFeatures) -> bool:
        """Keep delayed features as they are, if float32 can take them without turning them."""
        self.x_mean = X.mean() if self.fit_intercept else np.zeros(self.n_features)
        gram = X.gram(np.float64) - self.n_trs * np.outer(self.x_mean, self.x_mean)
        gram = self.algebra.array(gram, "float64")
        if largest_eigenvalue(gram) / self.alphas.min() > ROTATE_CONDITION and self.dtype == "float32":
            return False
        self._lazy, self._X = X, None
        self._set_up(self._add_row_of_ones(gram) if self.fit_intercept else gram)
        return True

    def _centre(self, X: Any) -> tuple[Any, np.ndarray]:
        """X as a matrix of dtype, its columns centred in float64 where an intercept is fitted."""
        if not self.fit_intercept:
            return self.algebra.array(X, self.dtype), np.zeros(self.n_features)
        X = self.algebra.array(X, "float64")
        mean = X.mean(0)
        return self.algebra.astype(X - mean, self.dtype), self.algebra.numpy(mean)

    def _gram(self, X: Any) -> Any:
        return self.algebra.gram(X if self.primal else X.T)

    def _rotate(self, X: Any, gram: Any) -> tuple[Any, Any]:
        """Each band to its own principal axes: a penalty per band does not notice."""
        rotated = self.algebra.copy(X)
        for band in self.bands:
            self.eigenvalues, vectors = self.algebra.eigh(gram[band, band])
            rotated[:, band] = self.algebra.multiply(X[:, band], vectors)
            self.rotations.append(vectors)
        diagonal = len(self.bands) == 1
        return rotated, self.algebra.xp.diag(self.eigenvalues) if diagonal else self._gram(rotated)

    def _add_ones(self, X: Any) -> Any:
        """The intercept's column."""
        return self.algebra.xp.concatenate([X, self.algebra.xp.ones_like(X[:, :1])], 1)

    def _add_row_of_ones(self, gram: Any) -> Any:
        """Its Gram matrix: ones are orthogonal to the centred features."""
        p = self.n_features
        wider = self.algebra.zeros((p + 1, p + 1), gram.dtype)
        wider[:p, :p] = gram
        wider[p, p] = self.n_trs
        return wider

    def _set_up(self, gram: Any) -> None:
        self._gram_matrix = gram
        self.n_columns = gram.shape[0] if self.primal else self.n_features
        self._kernels: list[Any] = []
        size = len(self.bands) * gram.shape[0] ** 2 * gram.itemsize
        if not self.primal and len(self.bands) > 1 and size <= BANDS_BYTES:
            self._kernels = [self.algebra.gram(self._X[:, band].T) for band in self.bands]
        self.penalties = np.tile(self.alphas[:, None], (1, self.n_columns))
        self._scale = np.ones(self.n_features)
        self._finish(largest_eigenvalue(gram))

    def _finish(self, d_max: float) -> None:
        """Keep matrices in each precision that some penalty asks for."""
        self.d_max = d_max
        self.wide = (d_max / self.alphas > self._limit) | self._always_wide
        if self.primal and self.fit_intercept:
            self.penalties[:, -1] = 0
        dtypes = {self.setup_dtype(a) for a in range(len(self.alphas))}
        self.grams = {d: self.algebra.astype(self._gram_matrix, d) for d in dtypes}
        if self._lazy is None:
            self._designs = {d: self.algebra.astype(self._X, d) for d in {self.dtype, *dtypes}}

    # -- rows -----------------------------------------------------------------------------

    def rows(self, rows: np.ndarray, dtype: str | None = None) -> Any:
        """Some rows of the (centred, turned) features and, in the primal, the intercept's column."""
        if self._lazy is None:
            return self.algebra.rows(self._designs[dtype or self.dtype], rows)
        made = self._lazy.rows(rows, np.float64 if self.fit_intercept else None)
        if self.fit_intercept:
            made = np.concatenate([made - self.x_mean, np.ones((len(rows), 1))], axis=1)
        return self.algebra.array(made, dtype or self.dtype)

    def times(self, Yt: Any) -> Any:
        """Yt @ X for targets (n_targets, n_trs)."""
        if self._lazy is None:
            X = self._designs[self.dtype]
            return self.algebra.multiply(Yt, X if self.primal or len(self.bands) == 1 else X * self._scale_like(X))
        parts = batches(self.n_trs, ROWS_AT_A_TIME)
        return sum(self.algebra.multiply(Yt[:, part], self.rows(np.arange(part.start, part.stop))) for part in parts)

    def setup_dtype(self, a: int) -> str:
        """The precision in which penalty number `a` is factorised."""
        return "float64" if self.wide[a] else self.dtype

    # -- bands ----------------------------------------------------------------------------

    def reweight(self, gammas: np.ndarray) -> None:
        """Weigh the bands, as if each had been multiplied by the square root of its gamma.

        Statistics and weights remain those of X itself: in the primal a weight is a penalty of
        alpha / gamma, in the dual the kernel is the weighted sum of the bands' kernels.
        """
        scale = np.zeros(self.n_features)
        for band, gamma in zip(self.bands, gammas, strict=True):
            scale[band] = gamma
        self._scale = scale
        if self.primal:
            p = self.n_features
            with np.errstate(divide="ignore"):
                self.penalties[:, :p] = np.minimum(self.alphas[:, None] / scale, _HUGE)
            root = self._scale_like(self._gram_matrix) ** 0.5
            self._finish(largest_eigenvalue(self._gram_matrix[:p, :p] * root[:, None] * root))
            return
        if self._kernels:
            self._gram_matrix = sum(
                (k * float(g) for k, g in zip(self._kernels[1:], gammas[1:])), self._kernels[0] * float(gammas[0])
            )
        else:
            self._gram_matrix = self.algebra.multiply(self._X * self._scale_like(self._X), self._X.T)
        self._finish(largest_eigenvalue(self._gram_matrix))

    def _scale_like(self, x: Any) -> Any:
        return self.algebra.astype(self.algebra.array(self._scale, "float64"), x.dtype)

    # -- weights --------------------------------------------------------------------------

    def weights(self, statistic: Any, chosen: np.ndarray) -> Any:
        """Weights (n_targets, n_features, and the intercept's in the primal) of all rows.

        Parameters
        ----------
        statistic : array of shape (n_targets, q)
            X'Y in the primal, where it is overwritten; Y in the dual.
        chosen : int array of shape (n_targets,)
            Indexes the alphas; targets with -1 keep what they hold.
        """
        algebra = self.algebra
        result = statistic if self.primal else algebra.copy(statistic)
        for a in np.unique(chosen[chosen >= 0]):
            targets = np.flatnonzero(chosen == a)
            penalty = self.penalties[a] if self.primal else self.alphas[a]
            result[targets] = solvers.weights(algebra, self.grams[self.setup_dtype(a)], result[targets], penalty)
        if not self.primal:
            return self.times(result)
        for band, rotation in zip(self.bands, self.rotations):
            result[:, band] = algebra.multiply(result[:, band], algebra.astype(rotation, self.dtype).T)
        return result

    def intercepts(self, weights: Any, target_means: np.ndarray) -> np.ndarray:
        """(n_targets,) float64, of the uncentred features and targets; zero where none is fitted."""
        numpy = self.algebra.numpy
        if not self.fit_intercept:
            return np.zeros(len(target_means))
        shift = numpy(weights[:, : self.n_features]).astype(np.float64) @ self.x_mean
        own = numpy(weights[:, -1]) if self.primal else 0.0
        return target_means + own - shift
