"""Reading brain images: masks, runs, surfaces. A damaged or misfitting file is named, never half used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import Surface, VolumeMask
from neurolm.checks import bad_file, check_file

OVERFLOW_SHARE = 0.75  # of the range of the stored type: no BOLD changes by that much in a TR


def read_mask(path: str | Path) -> VolumeMask:
    """A brain mask (NIfTI): every voxel that is not zero.

    Raises
    ------
    FileError
        If the file is missing, damaged, not 3-D, empty, or not a mask (NaN inside).
    """
    volume, affine = read_volume(path, n_dimensions=3)
    if np.isnan(volume).any():
        raise bad_file(path, "holds NaN, so it is not a mask", "Give a mask: 0 outside the brain, 1 inside.")
    if not volume.any():
        raise bad_file(path, "is a mask without a voxel", "Give a mask that is not zero everywhere.")
    return VolumeMask(volume != 0, affine)


def read_bold(
    path: str | Path,
    mask: VolumeMask,
    *,
    first_tr_s: float,
    tr: float | None = None,
    subject: str = "",
    story: str = "",
) -> BoldRun:
    """A 4-D NIfTI run as (n_trs, n_voxels) inside a mask.

    Parameters
    ----------
    path : path
        .nii or .nii.gz, already preprocessed.
    mask : VolumeMask
        On the same grid: shape and affine are compared.
    first_tr_s : float
        Story time (s) at which the first volume of the file was acquired; negative when the scan
        began before the story.
    tr : float, optional
        Seconds; read from the header where it says so.

    Raises
    ------
    FileError
        If the file is missing, cut short, not 4-D, on another grid, or does not know its TR.
    """
    volume, affine = read_volume(path, n_dimensions=4)
    check_grid(path, volume.shape[:3], affine, mask)
    tr = header_tr(path) if tr is None else tr
    data = np.ascontiguousarray(volume[mask.mask].T, dtype=np.float32)
    _check_overflow(path, data)
    return BoldRun(data, first_tr_s + tr * np.arange(len(data)), mask, subject, story)


def read_volume(path: str | Path, n_dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """(data as float32, affine) of a NIfTI file; float64 data stay float64."""
    import nibabel

    image: Any = load_image(path)
    if not isinstance(image, (nibabel.Nifti1Image, nibabel.Nifti1Pair)):
        raise bad_file(path, f"is {type(image).__name__}, not NIfTI", "Convert it to .nii.gz.")
    shape = tuple(int(n) for n in image.shape)
    if len(shape) != n_dimensions:
        raise bad_file(
            path, f"has {len(shape)} dimensions {shape} where {n_dimensions} are needed", _dimension_hint(n_dimensions)
        )
    dtype = np.float64 if image.get_data_dtype() == np.float64 else np.float32
    data = load_image(path, lambda _: image.get_fdata(dtype=dtype, caching="unchanged"))
    return data, np.asarray(image.affine, dtype=np.float64)


def read_gifti(path: str | Path) -> tuple[np.ndarray, Mapping[str, str]]:
    """(values, metadata) of a functional GIFTI file: (n_vertices,), or (n_trs, n_vertices) of several arrays."""
    image: Any = load_image(path)
    arrays = [a.data for a in getattr(image, "darrays", [])]
    if not arrays or any(a.ndim != 1 or len(a) != len(arrays[0]) for a in arrays):
        raise bad_file(path, "is not a functional GIFTI file", "It needs arrays of one value for each vertex.")
    return (arrays[0] if len(arrays) == 1 else np.stack(arrays)), dict(image.meta)


def read_surface_bold(
    left: str | Path,
    right: str | Path,
    mesh: str,
    *,
    first_tr_s: float,
    tr: float,
    subject: str = "",
    story: str = "",
) -> BoldRun:
    """A run on the surface: one functional GIFTI file per hemisphere, one array per volume.

    fMRIPrep writes them as `*_hemi-L_space-fsaverage5_bold.func.gii`. `tr` in seconds.
    """
    (left_data, _), (right_data, _) = read_gifti(left), read_gifti(right)
    if left_data.ndim != 2 or right_data.ndim != 2 or len(left_data) != len(right_data):
        raise bad_file(right, f"has shape {right_data.shape} beside {left_data.shape} of the left", "Both need the same volumes.")
    data = np.concatenate([left_data, right_data], axis=1).astype(np.float32, copy=False)
    space = Surface(mesh, left_data.shape[1], right_data.shape[1])
    return BoldRun(data, first_tr_s + tr * np.arange(len(data)), space, subject, story)


def check_grid(path: str | Path, shape: tuple[int, ...], affine: np.ndarray, space: VolumeMask) -> None:
    """Refuse an image on another grid than the mask."""
    if tuple(shape) != space.mask.shape:
        raise bad_file(path, f"has shape {tuple(shape)}, the mask {space.mask.shape}", "Resample one of them first.")
    if not np.allclose(affine, space.affine, atol=1e-3):
        offset = np.abs(affine - space.affine).max()
        raise bad_file(
            path, f"lies elsewhere than the mask (affines differ by up to {offset:.3g} mm)", "Resample one of them first."
        )


def load_image(path: str | Path, read: Any = None) -> Any:
    """`nibabel.load(path)`, or what `read(path)` makes of it; whatever goes wrong, the file is named.

    Damaged files make nibabel raise almost anything, so that every error of its reading is the file's.
    """
    import warnings

    import nibabel

    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd headers; what cannot be read raises
            return (read or nibabel.load)(path)
    except Exception as error:
        raise bad_file(
            path, f"is damaged or cut short ({str(error) or type(error).__name__})", "Copy or make it again."
        ) from None


def header_tr(path: str | Path) -> float:
    """The TR (s) that a NIfTI header says.

    Raises
    ------
    FileError
        If it says nothing that could be a TR.
    """
    header: Any = load_image(path).header
    zooms = header.get_zooms()  # mm, and the TR
    if len(zooms) < 4:
        raise bad_file(path, f"has {len(zooms)} dimensions where 4 are needed", _dimension_hint(4))
    tr, unit = float(zooms[3]), header.get_xyzt_units()[1]
    seconds = tr / {"msec": 1e3, "usec": 1e6}.get(unit, 1)
    if not 0.1 <= seconds <= 30:
        raise bad_file(path, f"does not know its TR (its header says {tr:g} {unit})", "Give tr in seconds.")
    return seconds


def _check_overflow(path: str | Path, data: np.ndarray) -> None:
    """Refuse whole numbers that went beyond what their type holds when the file was saved, and came back negative."""
    image: Any = load_image(path)
    stored = image.get_data_dtype()
    if stored.kind not in "iu" or stored.itemsize > 2:
        return
    slope = float(image.dataobj.slope)
    span = abs(slope) * (2.0 ** (8 * stored.itemsize) - 1)
    jumps = np.abs(np.diff(data, axis=0)).max(axis=0, initial=0) if len(data) else np.zeros(0)
    wrapped = int((jumps > OVERFLOW_SHARE * span).sum())
    if wrapped:
        raise bad_file(
            path,
            f"was saved as {stored.name} and overflowed: {wrapped} voxels jump by more than {OVERFLOW_SHARE:.0%} of its range "
            "between two volumes",
            "Save it as float32.",
        )


def _dimension_hint(n_dimensions: int) -> str:
    return "Give one volume, not a run." if n_dimensions == 3 else "Give a run: one volume for each TR."
