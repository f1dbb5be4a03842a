"""One map on disk, in whichever format its space allows, with its sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.storage import write_json

if TYPE_CHECKING:
    import numpy as np

    from neurolm.brain import Space


def write_voxel_map(stem: Path, values: np.ndarray, space: Space, name: str, sidecar: dict[str, Any]) -> list[Path]:
    """NIfTI for volumes, GIFTI for surfaces, both CSV and the cortex as GIFTI for grayordinates, else CSV; and JSON beside it.

    Parameters
    ----------
    stem : path
        Without an ending.
    values : array of shape (n_voxels,)
        NaN where nothing is known or nothing is significant.
    name : str
        What the numbers are: the title of a CSV's column.
    """
    from neurolm.brain import Grayordinates, Surface, VolumeMask, VoxelMap

    voxels = VoxelMap(values, space, name)
    made: list[Path] = []
    if isinstance(space, VolumeMask):
        made.append(voxels.to_nifti(stem.with_name(f"{stem.name}.nii.gz")))
    if isinstance(space, (Surface, Grayordinates)):
        made += voxels.to_gifti(stem)
    if not isinstance(space, (VolumeMask, Surface)):
        made.append(voxels.to_csv(stem.with_name(f"{stem.name}.csv")))
    side = stem.with_name(f"{stem.name}.json")
    write_json(side, sidecar)
    return [*made, side]
