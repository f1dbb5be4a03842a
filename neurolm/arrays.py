"""Array arithmetic that numpy and torch share: the kind that goes in comes out.

Rows are time, columns are voxels or features. Sums run in float64 where the input is
numpy; torch tensors keep their dtype and device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


def is_torch(x: Any) -> bool:
    """True for a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def to_numpy(x: Any) -> np.ndarray:
    """A numpy view or copy of `x`, wherever it lives; float32 where numpy lacks the type (bfloat16)."""
    if not is_torch(x):
        return np.asarray(x)
    x = x.detach().cpu()
    is_known = not x.is_floating_point() or str(x.dtype) in ("torch.float16", "torch.float32", "torch.float64")
    return (x if is_known else x.float()).numpy()


def constant_columns(x: Any) -> np.ndarray:
    """Which columns never change, or hold NaN or infinity: (n_columns,) bool.

    Such columns have no z-score and no correlation. "Never change" allows for rounding:
    a standard deviation below 1e-10 of the column's largest magnitude (1e-5 in float32).
    """
    x = to_numpy(x)
    eps = 1e-5 if x.dtype == np.float32 else 1e-10
    with np.errstate(invalid="ignore", over="ignore"):
        spread = x.std(axis=0, dtype=np.float64)
        size = np.abs(x).max(axis=0)
        return ~np.isfinite(spread) | (spread <= eps * size)


def column_moments(x: Any) -> tuple[Any, Any]:
    """Mean and standard deviation (ddof=0) of every column.

    A constant column gets a standard deviation of 1, so that dividing only centres it.
    """
    mean = x.mean(0)
    std = x.std(0, correction=0) if is_torch(x) else x.std(0)
    std[constant_columns(x)] = 1
    return mean, std


def zscore(x: Any) -> Any:
    """Centre every column and divide it by its standard deviation (ddof=0).

    Constant columns become zero, not NaN: use `constant_columns` to know them.
    """
    mean, std = column_moments(x)
    return (x - mean) / std


def batches(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n) in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
