"""Nuisance signals of a run: read those that fMRIPrep wrote, and regress them out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.checks import bad, bad_file, check_file, check_finite, check_same_length

CONSTANT, DEPENDENT = 1e-13, 1e-12  # of a column's largest value; of the largest singular value: float64 rounding
STRATEGIES = ("motion", "high_pass", "wm_csf", "global_signal", "compcor", "ica_aroma")


def read_confounds(
    bold_path: str | Path | Sequence[str | Path],
    strategy: Sequence[str] = ("motion", "high_pass", "wm_csf"),
    **options: Any,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Confounds of a run of fMRIPrep, as nilearn chooses them.

    Parameters
    ----------
    bold_path : path, or both hemispheres' paths
        The preprocessed image (NIfTI, GIFTI, CIFTI); `*_desc-confounds_timeseries.tsv` and its JSON file lie beside it.
    strategy : sequence of {"motion", "high_pass", "wm_csf", "global_signal", "compcor", "ica_aroma"}
        Volumes are never dropped: a gap inside a run is an error. Scrubbing is therefore not offered.
    **options
        As `nilearn.interfaces.fmriprep.load_confounds` takes them: motion="full".

    Returns
    -------
    confounds : array of shape (n_trs, n_confounds)
        Centred.
    names : tuple of str

    Raises
    ------
    FileError
        If the table is missing or lacks what the strategy needs.
    """
    from nilearn.interfaces.fmriprep import load_confounds

    for name in strategy:
        if name not in STRATEGIES:
            raise bad("strategy", f"hold only {', '.join(STRATEGIES)}", name, "Scrubbing would make gaps inside a run.")
    paths = [bold_path] if isinstance(bold_path, (str, Path)) else list(bold_path)
    images = [str(check_file(path)) for path in paths]
    hint = "Keep fMRIPrep's confounds beside it."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a strategy lacks is an error below
            table, _ = load_confounds(images if len(images) == 2 else images[0], strategy=tuple(strategy), demean=True, **options)
    except Exception as error:  # a damaged table makes nilearn and pandas raise almost anything
        raise bad_file(paths[0], f"has no usable confounds beside it ({error})", hint) from None
    if table is None or table.empty:
        raise bad_file(paths[0], f"has no column beside it for the strategy {', '.join(strategy)}", hint)
    return table.to_numpy(dtype=np.float64), tuple(table.columns)


def regress_out(run: BoldRun, confounds: np.ndarray) -> BoldRun:
    """A run without what a least-squares fit of these signals explains; every voxel's mean stays.

    Parameters
    ----------
    run : BoldRun
    confounds : array of shape (n_trs, n_confounds)
        One row for each row of the run: cut both before, or neither.
    """
    confounds = np.asarray(confounds, dtype=np.float64)
    if confounds.ndim != 2 or confounds.shape[1] >= run.n_trs:
        raise bad("confounds", f"have shape ({run.n_trs}, fewer columns than rows)", confounds.shape)
    check_same_length("confounds", len(confounds), "rows of the run", run.n_trs, "Drop the same volumes from both.")
    check_finite("confounds", confounds, "fMRIPrep leaves the first row of derivatives empty: fill it with 0.")
    basis = _orthonormal(confounds)
    data = run.data.astype(np.float64)
    cleaned = data - basis @ (basis.T @ data)
    return run.with_data(cleaned.astype(run.data.dtype if run.data.dtype.kind == "f" else np.float64, copy=False))


def _orthonormal(confounds: np.ndarray) -> np.ndarray:
    """(n_trs, rank) orthonormal columns that span the centred confounds, whatever their units.

    Columns are scaled to unit length before the rank is decided: rotations squared lie 1e11 below a global signal.
    """
    largest = np.abs(confounds).max(axis=0, initial=0)
    scaled = confounds / np.where(largest > 0, largest, 1)
    scaled -= scaled.mean(axis=0)
    lengths = np.linalg.norm(scaled, axis=0)
    varies = lengths > CONSTANT * np.sqrt(len(scaled))
    basis, sizes, _ = np.linalg.svd(scaled[:, varies] / lengths[varies], full_matrices=False)
    return basis[:, sizes > DEPENDENT * sizes.max(initial=0)]
