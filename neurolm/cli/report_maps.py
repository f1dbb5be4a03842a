"""Maps of an analysis on the cortex of a report: whatever space they are in, shown on fsaverage5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurolm.brain.space import MESH_VERTICES, Grayordinates, Space, Surface, VolumeMask
from neurolm.brain.surface_projection import project

if TYPE_CHECKING:
    from neurolm.report import SurfaceMaps

SHOWN_ON = "fsaverage5"
N_VERTICES = MESH_VERTICES[SHOWN_ON]  # of one hemisphere; finer meshes of FreeSurfer begin with the same vertices
FINER = ("fsaverage6", "fsaverage")


def surface_maps(
    space: Space, names: Sequence[str], r: np.ndarray, q: np.ndarray | None, fdr: float, *, label: str = "held-out correlation"
) -> SurfaceMaps | None:
    """One map for each feature set, NaN where q is above the level; None where columns have no place on that cortex.

    Parameters
    ----------
    r, q : arrays of shape (n_sets, n_voxels)
        Without q, or where nothing was tested, every value is shown.
    """
    from neurolm.report import SurfaceMaps

    shown = np.asarray(r, dtype=np.float64)
    if q is not None and np.isfinite(q).any():
        with np.errstate(invalid="ignore"):
            shown = np.where(q < fdr, shown, np.nan)
            label = f"{label} where q < {fdr:g}"
    values = on_cortex(shown, space)
    if values is None:
        return None
    best = int(np.nan_to_num(values).sum(axis=1).argmax())
    return SurfaceMaps(
        names=tuple(names), left=values[:, :N_VERTICES], right=values[:, N_VERTICES:], label=label, first=best, mesh=SHOWN_ON
    )


def on_cortex(values: np.ndarray, space: Space) -> np.ndarray | None:
    """(n_maps, n_vertices of fsaverage5), or None where the space does not lie on it.

    Volumes must be known to be in MNI space, which fsaverage fits to a few millimetres. Of finer meshes the
    vertices that they share with fsaverage5 are shown.
    """
    if not isinstance(space, (VolumeMask, Surface)) or why_not_on_cortex(space):
        return None
    if isinstance(space, VolumeMask):
        return np.stack([project(one, space, SHOWN_ON)[0] for one in values])
    return np.concatenate([values[:, :N_VERTICES], values[:, space.n_left : space.n_left + N_VERTICES]], axis=1)


def why_not_on_cortex(space: Space) -> str:
    """A sentence for the report where voxels or vertices cannot be drawn on fsaverage5; "" where they can, or are neither."""
    none = "No cortical surface is drawn"
    if isinstance(space, VolumeMask) and not space.is_mni:
        where = (
            f"the voxels are in the space {space.template}, not in MNI space"
            if space.template
            else "the voxels' space is not known"
        )
        return f"{none}: {where}, and no transform from it to {SHOWN_ON} is given. The map files hold every value."
    if isinstance(space, Grayordinates):
        return f"{none}: the data are grayordinates on {space.mesh}, and no transform from it to {SHOWN_ON} is given."
    if isinstance(space, Surface):
        if space.mesh not in (SHOWN_ON, *FINER):
            return f"{none}: the data are on the mesh {space.mesh}, and no transform from it to {SHOWN_ON} is given."
        expected = MESH_VERTICES[space.mesh]
        if (space.n_left, space.n_right) != (expected, expected):
            sizes = f"{space.n_left:,} and {space.n_right:,} vertices"
            return f"{none}: the data have {sizes} where {space.mesh} has {expected:,} in each hemisphere."
    return ""
