"""Volume maps on the cortical surface."""

from __future__ import annotations

import numpy as np

from neurolm.brain.space import Surface, VolumeMask
from neurolm.checks import bad, check_choice

MESHES = ("fsaverage3", "fsaverage4", "fsaverage5", "fsaverage6", "fsaverage")


def project(values: np.ndarray, volume: VolumeMask, mesh: str = "fsaverage5", n_depths: int = 6) -> tuple[np.ndarray, Surface]:
    """Sample a volume between the white and the pial surface of a mesh in the same millimetres.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        NaN is missing and is never mixed into its neighbours.
    volume : VolumeMask
        In MNI space, which fsaverage fits to a few millimetres. A `template` that is another space is refused; with
        none it is taken to be MNI.
    mesh : str
        fsaverage5 comes with nilearn; the others are downloaded by it.
    n_depths : int
        Sampling points through the thickness of cortex, averaged.

    Returns
    -------
    values : array of shape (n_vertices,), left hemisphere first
        Trilinear over the voxels that have a value; NaN where those carry less than half of the weight.
    surface : Surface
    """
    from scipy.ndimage import map_coordinates

    values = np.asarray(values, dtype=np.float64)
    if values.shape != (volume.n_voxels,):
        raise bad("values", f"have shape ({volume.n_voxels},)", values.shape)
    if volume.template and not volume.is_mni:
        hint = "Read the data in an MNI space, or on a surface: no transform to fsaverage is known."
        raise bad("volume", "be in MNI space to be projected", f"the space {volume.template}", hint)
    white, pial, n_left = _cortex(mesh)
    inverse = np.linalg.inv(volume.affine)
    filled, known = np.zeros(volume.mask.shape), np.zeros(volume.mask.shape)
    known[volume.mask] = np.isfinite(values)
    filled[volume.mask] = np.nan_to_num(values, posinf=0, neginf=0)
    total, weight = np.zeros(len(white)), np.zeros(len(white))
    for depth in np.linspace(0, 1, n_depths):
        millimetres = (1 - depth) * white + depth * pial
        indices = (millimetres @ inverse[:3, :3].T + inverse[:3, 3]).T
        total += map_coordinates(filled, indices, order=1, mode="constant") / n_depths
        weight += map_coordinates(known, indices, order=1, mode="constant") / n_depths
    sampled = np.full(len(white), np.nan)
    enough = weight >= 0.5
    sampled[enough] = total[enough] / weight[enough]
    return sampled, Surface(mesh, n_left, len(white) - n_left)


def _cortex(mesh: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Vertices of the white and pial surface (n_vertices, 3) in mm, and how many are left."""
    from nilearn.datasets import load_fsaverage

    loaded = load_fsaverage(check_choice("mesh", mesh, MESHES))
    white, pial = (
        np.concatenate([np.asarray(loaded[name].parts[side].coordinates) for side in ("left", "right")])
        for name in ("white_matter", "pial")
    )
    return white, pial, len(loaded["pial"].parts["left"].coordinates)
