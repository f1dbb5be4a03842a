"""CIFTI dense series (`*.dtseries.nii`): read only; maps are written as GIFTI and CSV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.images import check_stored_type, is_tr, load_image
from neurolm.brain.space import Grayordinates
from neurolm.checks import bad_file

_SECONDS = {"SECOND": 1.0, "MILLISECOND": 1e-3, "MICROSECOND": 1e-6}  # CIFTI allows HERTZ, METER and RADIAN too


def read_cifti_bold(
    path: str | Path, *, first_tr_s: float, tr: float | None = None, mesh: str = "fsLR", subject: str = "", story: str = ""
) -> BoldRun:
    """A dense series as (n_trs, n_grayordinates), every column with its structure and place.

    Parameters
    ----------
    path : path
        `*_space-fsLR_den-91k_bold.dtseries.nii` of fMRIPrep, or any dense series.
    first_tr_s : float
        Story time (s) at which the first volume was acquired.
    tr : float, optional
        Seconds; the file says its own.

    Raises
    ------
    FileError
        If the file is missing, cut short or not a dense series.
    """
    import nibabel

    image: Any = load_image(path)
    if not isinstance(image, nibabel.Cifti2Image):
        raise bad_file(path, f"is {type(image).__name__}, not CIFTI", "Give a *.dtseries.nii file.")
    series, models = _axes(path, image)
    check_stored_type(path, image)
    data = load_image(path, lambda _: np.asarray(image.dataobj, dtype=np.float32))
    step = _step(path, series) if tr is None else tr
    space = load_image(path, lambda _: _space(models, mesh))
    return BoldRun(data, first_tr_s + step * np.arange(len(data)), space, subject, story)


def cifti_tr(path: str | Path) -> float:
    """Seconds between the volumes of a dense series."""
    return _step(path, _axes(path, load_image(path))[0])


def _step(path: str | Path, series: Any) -> float:
    seconds = float(series.step) * _SECONDS.get(str(series.unit), math.nan)
    if not is_tr(seconds):
        said = f"{float(series.step):g} {str(series.unit).lower()}"
        raise bad_file(path, f"does not know its TR (its axis of time says {said})", "Give tr in seconds.")
    return seconds


def _axes(path: str | Path, image: Any) -> tuple[Any, Any]:
    from nibabel import cifti2

    header = image.header
    axes = load_image(path, lambda _: [header.get_axis(i) for i in header.mapped_indices])
    if len(axes) != 2 or not isinstance(axes[0], cifti2.SeriesAxis) or not isinstance(axes[1], cifti2.BrainModelAxis):
        raise bad_file(path, "is not a CIFTI dense series", "It needs one axis of time and one of grayordinates.")
    return axes[0], axes[1]


def _space(models: Any, mesh: str) -> Grayordinates:
    names = tuple(str(name).removeprefix("CIFTI_STRUCTURE_") for name in models.name)
    coordinates = np.full((len(names), 3), np.nan)
    is_voxel = np.asarray(models.volume_mask)
    if is_voxel.any():
        affine = np.asarray(models.affine)
        coordinates[is_voxel] = models.voxel[is_voxel] @ affine[:3, :3].T + affine[:3, 3]
    vertices = np.where(is_voxel, -1, models.vertex).astype(np.int32)
    n_left, n_right = (int(models.nvertices.get(f"CIFTI_STRUCTURE_CORTEX_{side}", 0)) for side in ("LEFT", "RIGHT"))
    return Grayordinates(mesh, n_left, n_right, names, vertices, coordinates)
