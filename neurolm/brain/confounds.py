"""Nuisance signals of a run: read those that fMRIPrep wrote, and regress them out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.checks import bad, bad_file, check_file, check_finite, check_same_length
from neurolm.tables import Table, parse_table

CONSTANT, DEPENDENT = 1e-13, 1e-12  # of a column's largest value; of the largest singular value: float64 rounding
OF_THE_FORM = frozenset({"hemi", "space", "cohort", "res", "den", "desc", "label"})  # what confounds do not depend on
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
    options = dict(options)
    paths = [bold_path] if isinstance(bold_path, (str, Path)) else list(bold_path)
    images = [str(check_file(path)) for path in paths]
    if "smoothAROMAnonaggr" not in images[0]:
        options.setdefault("ica_aroma", "basic")  # nilearn's default is for images that AROMA has denoised already
    hint = "Keep fMRIPrep's confounds beside it."
    table_path = confounds_file(paths[0])
    if table_path is not None:
        _read_table(table_path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a strategy lacks is an error below
            table, _ = load_confounds(images if len(images) == 2 else images[0], strategy=tuple(strategy), demean=True, **options)
    except Exception as error:  # a damaged table makes nilearn and pandas raise almost anything
        raise bad_file(paths[0], f"has no usable confounds beside it ({error})", hint) from None
    if table is None or table.empty:
        raise bad_file(paths[0], f"has no column beside it for the strategy {', '.join(strategy)}", hint)
    return table.to_numpy(dtype=np.float64), tuple(table.columns)


def non_steady_volumes(image: str | Path) -> np.ndarray | None:
    """(n_trs,) True where fMRIPrep flags a volume as measured before the steady state; None without a confounds table.

    Parameters
    ----------
    image : path
        The preprocessed image: the columns `non_steady_state_outlier*` of the table beside it count.
    """
    path = confounds_file(image)
    if path is None:
        return None
    table = _read_table(path)
    flags = [name for name in table.columns if name.startswith("non_steady_state_outlier")]
    return np.array([any(_is_flag(table.value(row, name), path, row.line) for name in flags) for row in table.rows], dtype=bool)


def confounds_file(image: str | Path) -> Path | None:
    """The confounds table beside an image of fMRIPrep, in its name of today or of before version 20."""
    image = Path(image)
    pairs = [pair for pair in image.name.split(".")[0].split("_")[:-1] if pair.split("-")[0] not in OF_THE_FORM]
    names = [f"{'_'.join(pairs)}_desc-confounds_{suffix}.tsv" for suffix in ("timeseries", "regressors")]
    return next((path for name in names if os.path.lexists(path := image.with_name(name))), None)


def _read_table(path: Path) -> Table:
    try:
        text = check_file(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise bad_file(path, f"cannot be read ({error})", "Copy it again from fMRIPrep's output.") from None
    table = parse_table(text, path)
    if not table.rows or "\0" in text:
        raise bad_file(path, "is not a table of confounds: it has no rows of text", "Copy it again from fMRIPrep's output.")
    return table


def _is_flag(cell: str, path: Path, line: int) -> bool:
    try:
        return float(cell) != 0
    except ValueError:
        raise bad_file(path, f"{cell!r} is not a number", "Copy it again from fMRIPrep's output.", line=line) from None


def regress_out(run: BoldRun, confounds: np.ndarray, *, without: np.ndarray | None = None) -> BoldRun:
    """A run without what a least-squares fit of these signals explains; every voxel's mean stays.

    Parameters
    ----------
    run : BoldRun
    confounds : array of shape (n_trs, n_confounds)
        One row for each row of the run: cut both before, or neither.
    without : bool array of shape (n_trs,), optional
        Rows that the fit leaves out, such as `non_steady_volumes`; what the fit says of them is removed there too.
    """
    confounds = np.asarray(confounds, dtype=np.float64)
    if confounds.ndim != 2 or confounds.shape[1] >= run.n_trs:
        raise bad("confounds", f"have shape ({run.n_trs}, fewer columns than rows)", confounds.shape)
    check_same_length("confounds", len(confounds), "rows of the run", run.n_trs, "Drop the same volumes from both.")
    check_finite("confounds", confounds, "fMRIPrep leaves the first row of derivatives empty: fill it with 0.")
    rows = np.ones(run.n_trs, dtype=bool) if without is None else ~np.asarray(without, dtype=bool)
    check_same_length("without", len(rows), "rows of the run", run.n_trs)
    if rows.sum() <= confounds.shape[1]:
        raise bad("without", "leave more rows than confounds", f"{rows.sum()} rows, {confounds.shape[1]} confounds")
    basis = _orthonormal(confounds, rows)
    data = run.data.astype(np.float64)
    cleaned = data - basis @ (basis[rows].T @ data[rows])
    return run.with_data(cleaned.astype(run.data.dtype if run.data.dtype.kind == "f" else np.float64, copy=False))


def _orthonormal(confounds: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n_trs, rank) columns, orthonormal over some rows, that span the confounds centred there, whatever their units.

    Columns are scaled to unit length before the rank is decided: rotations squared lie 1e11 below a global signal.
    """
    largest = np.abs(confounds[rows]).max(axis=0, initial=0)
    scaled = confounds / np.where(largest > 0, largest, 1)
    scaled -= scaled[rows].mean(axis=0)
    lengths = np.linalg.norm(scaled[rows], axis=0)
    varies = lengths > CONSTANT * np.sqrt(rows.sum())
    scaled = scaled[:, varies] / lengths[varies]
    _, sizes, directions = np.linalg.svd(scaled[rows], full_matrices=False)
    kept = sizes > DEPENDENT * sizes.max(initial=0)
    return scaled @ directions[kept].T / sizes[kept]
