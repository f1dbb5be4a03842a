"""Targets read a block of voxels at a time, from memory or from an HDF5 file.

Anything with a two-dimensional `shape` and column slicing `Y[:, start:stop]` will do: a numpy
array, a torch tensor, an open h5py dataset, or an object that makes columns when asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurolm.arrays import constant_columns
from neurolm.brain.bold_run import BoldRun
from neurolm.checks import bad, bad_file, check_file
from neurolm.encoding.ridge.linear_algebra import Algebra
from neurolm.storage import open_h5, whole_file


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


_CHUNK = (1024, 256)  # TRs, voxels: a megabyte of float32


def store_targets(path: str | Path, runs: Iterable[BoldRun | np.ndarray]) -> np.ndarray:
    """Write runs below each other; only one of them is in memory if `runs` is a generator.

    Parameters
    ----------
    path : path
        Of the HDF5 file, written as a whole.
    runs : iterable of BoldRun or arrays (n_trs, n_voxels)
        For example `(zscore_run(read_bold(p, mask, first_tr_s=0)) for p in paths)`.

    Returns
    -------
    run_onsets : (n_runs,)
        First row of every run.
    """
    onsets: list[int] = []
    with whole_file(path) as part, h5py.File(part, "w", locking=False) as file:
        dataset: Any = None
        for run in runs:
            data = np.asarray(run.data if isinstance(run, BoldRun) else run, dtype=np.float32)
            if data.ndim != 2 or (dataset is not None and data.shape[1] != dataset.shape[1]):
                wanted = "n_voxels" if dataset is None else dataset.shape[1]
                raise bad(f"run {len(onsets)}", f"have shape (n_trs, {wanted})", data.shape, "All runs share one mask.")
            if dataset is None:
                chunks = tuple(min(a, b) for a, b in zip(_CHUNK, data.shape, strict=True))
                dataset = file.create_dataset("bold", (0, data.shape[1]), "f4", maxshape=(None, data.shape[1]), chunks=chunks)
            onsets.append(dataset.shape[0])
            dataset.resize(dataset.shape[0] + len(data), axis=0)
            dataset[onsets[-1] :] = data
        if dataset is None:
            raise bad("runs", "hold at least one run", "none")
        file["run_onsets"] = np.array(onsets)
    return np.array(onsets)


@contextlib.contextmanager
def open_targets(path: str | Path) -> Iterator[tuple[h5py.Dataset, np.ndarray]]:
    """The stored BOLD as an HDF5 dataset (n_trs, n_voxels), and its run_onsets, while the file is open.

    Raises
    ------
    FileError
        If the file is missing, cut short, or was not written by `store_targets`.
    """
    check_file(path)
    with open_h5(path, "is not a whole HDF5 file", "Make it again with store_targets.") as file:
        if "bold" not in file or "run_onsets" not in file:
            raise bad_file(path, "lacks bold or run_onsets", "Make it again with store_targets.")
        yield file["bold"], file["run_onsets"][()]
