"""How well predictions match responses: one number for each voxel, NaN where nothing can be said."""

from __future__ import annotations

from typing import Any

from neurolm.arrays import constant_columns, is_torch, to_numpy
from neurolm.checks import bad, check_choice
from neurolm.statistics import columnwise_correlation


def correlation_score(Y: Any, Y_pred: Any) -> Any:
    """Pearson correlation of each voxel's response with its prediction.

    Parameters
    ----------
    Y, Y_pred : array or tensor of shape (n_trs, n_voxels) or (n_trs,)
        Held-out responses and predictions.

    Returns
    -------
    r : (n_voxels,) of the same kind; a scalar for one-dimensional input
        NaN where either is constant or not finite, never 0.

    Examples
    --------
    >>> import numpy as np
    >>> Y = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 2.0], [4.0, 1.0]])
    >>> correlation_score(Y, Y * 10 + 3)
    array([1., 1.])
    """
    Y, Y_pred, is_single = _matrices(Y, Y_pred)
    r = columnwise_correlation(Y, Y_pred)
    return r[0] if is_single else r


def r2_score(Y: Any, Y_pred: Any) -> Any:
    """Share of each voxel's variance that the prediction explains: 1 - SS_residual / SS_total.

    Parameters and result as for `correlation_score`. 1 is perfect, 0 is as good as the mean, negative
    is worse. NaN where the response is constant or anything is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> Y = np.array([[1.0], [2.0], [3.0]])
    >>> r2_score(Y, np.array([[1.0], [2.0], [2.0]]))
    array([0.5])
    """
    Y, Y_pred, is_single = _matrices(Y, Y_pred)
    undefined = constant_columns(Y)
    if not is_torch(Y):
        Y, Y_pred = Y.astype("float64"), Y_pred.astype("float64")
    total = ((Y - Y.mean(0)) ** 2).sum(0)
    total[undefined] = float("nan")
    r2 = 1 - ((Y - Y_pred) ** 2).sum(0) / total
    return r2[0] if is_single else r2


SCORES = {"correlation": correlation_score, "r2": r2_score}


def score(Y: Any, Y_pred: Any, scoring: str = "correlation") -> Any:
    """`correlation_score` or `r2_score`, by name."""
    return SCORES[check_choice("scoring", scoring, SCORES)](Y, Y_pred)


def _matrices(Y: Any, Y_pred: Any) -> tuple[Any, Any, bool]:
    Y, Y_pred = (a if is_torch(a) else to_numpy(a) for a in (Y, Y_pred))
    if tuple(Y.shape) != tuple(Y_pred.shape):
        raise bad("Y and Y_pred", "have the same shape", f"{tuple(Y.shape)} and {tuple(Y_pred.shape)}")
    if Y.ndim not in (1, 2) or len(Y) < 2:
        raise bad("Y", "have shape (n_trs, n_voxels) with at least two rows", tuple(Y.shape))
    return (Y, Y_pred, False) if Y.ndim == 2 else (Y[:, None], Y_pred[:, None], True)
