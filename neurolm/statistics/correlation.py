"""Pearson correlation, whose value does not depend on the unit of the data.

Squares of float32 numbers below 1e-19 or above 1e19 leave the range, and so do products of two sums
of squares. Columns are therefore scaled by a power of two (which is exact) before anything is
squared, and a product is divided by the two roots one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.arrays import constant_columns, is_torch

_LARGEST_EXPONENT = 120  # a scale beyond it would leave the range of float32 itself


def columnwise_correlation(a: Any, b: Any) -> Any:
    """Pearson correlation of a[:, j] with b[:, j]: (n_columns,).

    Parameters
    ----------
    a, b : arrays or tensors of shape (n_rows, n_columns)
        numpy is computed in float64; torch keeps its dtype and device.

    Returns
    -------
    r : (n_columns,) of the same kind
        NaN where either column is constant or not finite, never 0: nothing was measured there.
    """
    return (unit_columns(a) * unit_columns(b)).sum(0).clip(-1, 1)


def unit_columns(x: Any) -> Any:
    """Columns centred and of length one, so that a correlation is one product; NaN where `constant_columns`.

    Parameters
    ----------
    x : array or tensor of shape (n_rows, n_columns)

    Returns
    -------
    unit : of the same kind and shape; numpy in float64
    """
    undefined = constant_columns(x)
    if not is_torch(x):
        x = np.asarray(x, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x = x - x.mean(0)
        x = x * power_of_two(abs(x).amax(0) if is_torch(x) else abs(x).max(0))
        x = x / (x * x).sum(0) ** 0.5
    x[:, undefined] = float("nan")
    return x


def correlation_of_sums(product: Any, square_a: Any, square_b: Any) -> Any:
    """Pearson correlation from centred sums: of products, of squares of one side and of the other.

    The division is by one root after the other: the product of two sums of squares may leave the
    range of float32 where the correlation is well defined. NaN where a sum of squares is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return product / square_a**0.5 / square_b**0.5


def power_of_two(largest: Any) -> Any:
    """The power of two by which a value becomes about 1; 1 for 0. Multiplying by it changes no digit.

    Parameters
    ----------
    largest : array or tensor of float
        Largest magnitude of each column or row.
    """
    xp = _namespace(largest)
    exponent = xp.frexp(largest)[1].clip(-_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    return xp.ldexp(xp.ones_like(largest), -exponent)


def _namespace(x: Any) -> Any:
    if not is_torch(x):
        return np
    import torch

    return torch
