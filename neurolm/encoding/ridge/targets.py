"""Targets read a block of voxels at a time, from memory or from an HDF5 file.

Anything with a two-dimensional `shape` and column slicing `Y[:, start:stop]` will do: a numpy
array, a torch tensor, an open h5py dataset, or an object that makes columns when asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import constant_columns
from neurolm.checks import bad
from neurolm.encoding.ridge.linear_algebra import Algebra


@dataclass(frozen=True)
class TargetBlock:
    """Some targets, in rows.

    values : (n_targets, n_trs); undefined targets are zero, the others centred if asked
    mean : (n_targets,) float64; zero unless centred
    undefined : bool (n_targets,); True where a target is constant or holds NaN
    """

    values: Any
    mean: np.ndarray
    undefined: np.ndarray


def read_targets(Y: Any, columns: slice, *, algebra: Algebra, dtype: str, centre: bool) -> TargetBlock:
    """Read columns of Y (n_trs, n_targets), one target per row.

    Raises
    ------
    InputError
        If a value is infinite.
    """
    rows = algebra.transposed(Y[:, columns])
    mean = rows.mean(1, dtype=algebra.xp.float64)
    undefined = _undefined(algebra, rows, mean)
    if undefined.any():
        gone = np.flatnonzero(undefined)
        if np.isinf(algebra.numpy(rows[gone])).any():
            raise bad("Y", "hold no infinite values", "infinity", "NaN marks voxels that were not measured.")
        rows[gone], mean[gone] = 0, 0
    if centre:
        rows -= algebra.astype(mean, rows.dtype)[:, None]
    means = algebra.numpy(mean) if centre else np.zeros(len(undefined))
    return TargetBlock(algebra.astype(rows, dtype), means, undefined)


def _undefined(algebra: Algebra, rows: Any, mean: Any) -> np.ndarray:
    """Rows that `constant_columns` calls constant; only the suspicious ones are looked at closely."""
    with np.errstate(invalid="ignore", over="ignore"):
        spread = algebra.xp.einsum("vn,vn->v", rows, rows) / rows.shape[1] - mean**2
        suspicious = np.flatnonzero(algebra.numpy(~(spread > 1e-4 * mean**2)))
    undefined = np.zeros(len(rows), dtype=bool)
    undefined[suspicious] = constant_columns(algebra.numpy(rows[suspicious]).T)
    return undefined
