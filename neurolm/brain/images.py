"""Reading brain images: masks, runs, surfaces. A damaged or misfitting file is named, never half used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import MESH_VERTICES, Surface, VolumeMask
from neurolm.checks import bad_file, check_file

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}  # of NIfTI's units of time; hertz are none
SHORTEST_TR_S, LONGEST_TR_S = 0.1, 30.0
OVERFLOW_SHARE = 0.75  # of the range of the stored type: no BOLD changes by that much in a TR


def read_mask(path: str | Path, template: str = "") -> VolumeMask:
    """A brain mask (NIfTI): every voxel that is not zero.

    Parameters
    ----------
    path : path
    template : str, optional
        The space that it is in; by default as its name says (`space-MNI152NLin2009cAsym`), else "MNI152" where
        its header has the code of MNI space.

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
    return VolumeMask(volume != 0, affine, template or _template(path), _header_codes(path, affine))


def _template(path: str | Path) -> str:
    named = re.search(r"(?:^|_)space-([^_.]+)", Path(path).name)
    if named is not None:
        return named[1]
    header: Any = load_image(path).header
    return "MNI152" if 4 in (int(header["sform_code"]), 0 if header["sform_code"] else int(header["qform_code"])) else ""


def _header_codes(path: str | Path, affine: np.ndarray) -> tuple[int, int]:
    """(qform, sform) codes of a header, without that of a form that says another place."""
    header: Any = load_image(path).header
    codes = []
    for name in ("qform", "sform"):
        form, code = getattr(header, f"get_{name}")(coded=True)
        codes.append(int(code) if form is not None and np.allclose(form, affine, atol=1e-3) else 0)
    return (codes[0], codes[1]) if any(codes) else (0, 2)


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
    check_stored_type(path, image)
    dtype = np.float64 if image.get_data_dtype() == np.float64 else np.float32
    data = load_image(path, lambda _: image.get_fdata(dtype=dtype, caching="unchanged"))
    return data, np.asarray(image.affine, dtype=np.float64)


def check_stored_type(path: str | Path, image: Any) -> None:
    """Refuse complex numbers and colours, of which a part would be read as if it were all."""
    kind = image.get_data_dtype().kind
    if kind == "c":
        raise bad_file(path, "holds complex numbers", "Save their magnitude, for example with np.abs, as float32.")
    if kind not in "iufb":
        raise bad_file(path, "holds colours or other structured values", "Give an image of one number for each voxel.")


def read_gifti(path: str | Path, n_vertices: int | None = None) -> tuple[np.ndarray, Mapping[str, str]]:
    """(values, metadata) of a functional GIFTI file: (n_vertices,), or (n_trs, n_vertices) of a series.

    A series is one array for each volume (fMRIPrep), or a single one of (n_vertices, n_trs), as GIFTI defines it
    and nilearn writes it.

    Parameters
    ----------
    n_vertices : int, optional
        Of the mesh, where it is known: a single array of (n_trs, n_vertices) is then understood too.
    """
    image: Any = load_image(path)
    arrays = [a.data for a in getattr(image, "darrays", [])]
    if any(a.dtype.kind not in "iuf" for a in arrays):
        raise bad_file(path, f"holds {arrays[0].dtype.name}, not real numbers", "Save one real number for each vertex.")
    if len(arrays) == 1 and arrays[0].ndim == 2 and 0 not in arrays[0].shape:
        vertices_first = n_vertices is None or arrays[0].shape[0] == n_vertices or arrays[0].shape[1] != n_vertices
        series = arrays[0].T if vertices_first else arrays[0]
        return (series[0] if len(series) == 1 else series), dict(image.meta)
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
    """A run on the surface: one functional GIFTI file per hemisphere, see `read_gifti`.

    fMRIPrep writes them as `*_hemi-L_space-fsaverage5_bold.func.gii`. `tr` in seconds.
    """
    n_vertices = MESH_VERTICES.get(mesh)
    (left_data, _), (right_data, _) = read_gifti(left, n_vertices), read_gifti(right, n_vertices)
    if left_data.ndim != 2 or right_data.ndim != 2 or len(left_data) != len(right_data):
        raise bad_file(right, f"has shape {right_data.shape} beside {left_data.shape} of the left", "Both need the same volumes.")
    data = np.concatenate([left_data, right_data], axis=1).astype(np.float32, copy=False)
    n_left, n_right = left_data.shape[1], right_data.shape[1]
    if mesh == "fsaverage":  # BIDS writes space-fsaverage_den-10k for fsaverage5
        mesh = next((name for name, size in MESH_VERTICES.items() if size == n_left), mesh)
    space = Surface(mesh, n_left, n_right)
    check_mesh(left, space)
    return BoldRun(data, first_tr_s + tr * np.arange(len(data)), space, subject, story)


def check_mesh(path: str | Path, space: Surface) -> None:
    """Refuse data of one mesh under the name of another."""
    expected = MESH_VERTICES.get(space.mesh)
    for n in (space.n_left, space.n_right):
        actual = next((name for name, size in MESH_VERTICES.items() if size == n), None)
        if expected is not None and n != expected and actual is not None:
            raise bad_file(path, f"has {n:,} vertices, as {actual} has; {space.mesh} has {expected:,}", f"Name it {actual}.")


def check_grid(
    path: str | Path, shape: tuple[int, ...], affine: np.ndarray, space: VolumeMask, advice: str = "Resample one of them first."
) -> None:
    """Refuse an image on another grid than the mask."""
    if tuple(shape) != space.mask.shape:
        raise bad_file(path, f"has shape {tuple(shape)}, the mask {space.mask.shape}", advice)
    if not np.allclose(affine, space.affine, atol=1e-3):
        offset = np.abs(affine - space.affine).max()
        raise bad_file(path, f"lies elsewhere than the mask (affines differ by up to {offset:.3g} mm)", advice)


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
    seconds = tr * SECONDS.get(unit, math.nan)
    if not is_tr(seconds):
        raise bad_file(path, f"does not know its TR (its header says {tr:g} {unit})", "Give tr in seconds.")
    return seconds


def is_tr(seconds: float) -> bool:
    """Whether volumes can be measured every so many seconds: milliseconds, hertz and NaN cannot be."""
    return SHORTEST_TR_S <= seconds <= LONGEST_TR_S


def _check_overflow(path: str | Path, data: np.ndarray) -> None:
    """Refuse whole numbers that went beyond what their type holds when the file was saved, and came back negative."""
    image: Any = load_image(path)
    stored = image.get_data_dtype()
    is_scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)  # to the range of the data, which then fill the type
    if stored.kind not in "iu" or stored.itemsize > 2 or is_scaled:
        return
    span = 2.0 ** (8 * stored.itemsize) - 1
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
