"""Where voxels are: every matrix keeps the place of its columns from input to map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from neurolm.checks import bad, check_same_length
from neurolm.storage import content_hash

MESH_VERTICES = {"fsaverage3": 642, "fsaverage4": 2562, "fsaverage5": 10242, "fsaverage6": 40962, "fsaverage": 163842}
_MNI = re.compile(r"MNI152\w*|MNI305|MNIColin27|ICBM152\w*")  # MNIPediatricAsym and MNIInfant are other brains


@runtime_checkable
class Space(Protocol):
    """The places of n_voxels columns."""

    @property
    def n_voxels(self) -> int: ...

    def table(self) -> dict[str, np.ndarray]:
        """Columns that place each voxel, for CSV: name or coordinates."""
        ...


@dataclass(frozen=True, eq=False)
class Regions:
    """Named regions of interest, one column each."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if len(set(self.names)) != len(self.names):
            raise bad("names", "all differ", self.names)

    @property
    def n_voxels(self) -> int:
        return len(self.names)

    def table(self) -> dict[str, np.ndarray]:
        return {"region": np.array(self.names)}


@dataclass(frozen=True, eq=False)
class VolumeMask:
    """Voxels inside a brain mask, in C order of the mask's True entries.

    Parameters
    ----------
    mask : bool array of shape (nx, ny, nz)
    affine : array of shape (4, 4)
        Voxel indices to millimetres, as in NIfTI.
    template : str
        The space by name: "MNI152NLin2009cAsym", "T1w"; "" where it is not known.
    header_codes : (int, int)
        The NIfTI codes of qform and sform: 1 scanner, 2 aligned, 3 Talairach, 4 MNI. Maps are written with them.
    """

    mask: np.ndarray
    affine: np.ndarray
    template: str = ""
    header_codes: tuple[int, int] = (0, 2)

    def __post_init__(self) -> None:
        mask, affine = np.asarray(self.mask, dtype=bool), np.asarray(self.affine, dtype=np.float64)
        if mask.ndim != 3 or not mask.any():
            raise bad("mask", "be a 3-D array with at least one True voxel", f"shape {mask.shape}, {int(mask.sum())} True")
        if affine.shape != (4, 4):
            raise bad("affine", "have shape (4, 4)", affine.shape)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "affine", affine)

    @property
    def n_voxels(self) -> int:
        return int(self.mask.sum())

    @property
    def is_mni(self) -> bool:
        """Whether the space is known to be one of an adult MNI template, which fsaverage fits to a few millimetres."""
        return _MNI.fullmatch(self.template) is not None

    def coordinates(self) -> np.ndarray:
        """(n_voxels, 3) in millimetres."""
        indices = np.argwhere(self.mask)
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    def table(self) -> dict[str, np.ndarray]:
        return dict(zip(("x_mm", "y_mm", "z_mm"), self.coordinates().T, strict=True))


@dataclass(frozen=True, eq=False)
class Surface:
    """Vertices of a two-hemisphere surface mesh: all of the left, then all of the right."""

    mesh: str
    n_left: int
    n_right: int

    @property
    def n_voxels(self) -> int:
        return self.n_left + self.n_right

    def table(self) -> dict[str, np.ndarray]:
        hemisphere = np.repeat(["left", "right"], [self.n_left, self.n_right])
        return {"hemisphere": hemisphere, "vertex": np.concatenate([np.arange(self.n_left), np.arange(self.n_right)])}


@dataclass(frozen=True, eq=False)
class Unplaced:
    """Voxels of a published matrix that came without coordinates: known by their column alone.

    Scores and tables work; images need the mask that the matrix was extracted with.
    """

    label: str
    n_voxels: int

    def table(self) -> dict[str, np.ndarray]:
        return {"column": np.arange(self.n_voxels)}


@dataclass(frozen=True, eq=False)
class Grayordinates:
    """Columns of a CIFTI file: cortical vertices of two hemispheres, and voxels of what lies below.

    Parameters
    ----------
    mesh : str
        Of the vertices, "fsLR".
    n_left, n_right : int
        Vertices of each whole hemisphere, medial wall included.
    structures : tuple of str, n_voxels
        "CORTEX_LEFT", "CORTEX_RIGHT", "THALAMUS_LEFT" and so on, as CIFTI names them.
    vertices : int array of shape (n_voxels,)
        Vertex of its hemisphere; -1 for voxels.
    coordinates : array of shape (n_voxels, 3)
        Of voxels in millimetres; NaN for vertices, whose place is their mesh's.
    """

    mesh: str
    n_left: int
    n_right: int
    structures: tuple[str, ...]
    vertices: np.ndarray
    coordinates: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "structures", tuple(self.structures))
        check_same_length("structures", len(self.structures), "vertices", len(self.vertices))
        if np.shape(self.coordinates) != (len(self.structures), 3):
            raise bad("coordinates", f"have shape ({len(self.structures)}, 3)", np.shape(self.coordinates))

    @property
    def n_voxels(self) -> int:
        return len(self.structures)

    def table(self) -> dict[str, np.ndarray]:
        places = dict(zip(("x_mm", "y_mm", "z_mm"), np.asarray(self.coordinates).T, strict=True))
        return {"structure": np.array(self.structures), "vertex": self.vertices, **places}

    def on_surface(self, values: np.ndarray) -> tuple[np.ndarray, Surface]:
        """The cortical part of a map, (n_vertices,): NaN on the medial wall; and the surface that it is on."""
        whole = np.full(self.n_left + self.n_right, np.nan)
        names = np.array(self.structures)
        for structure, first in (("CORTEX_LEFT", 0), ("CORTEX_RIGHT", self.n_left)):
            here = names == structure
            whole[first + self.vertices[here]] = np.asarray(values)[here]
        return whole, Surface(self.mesh, self.n_left, self.n_right)


def place_names(space: Space) -> list[str]:
    """A name for each column, to be read: "LIFG", "(50 -85 10) mm", "left vertex 12", "column 3"."""
    table = space.table()
    if isinstance(space, VolumeMask):
        return [_millimetres(row) for row in space.coordinates()]
    if isinstance(space, Grayordinates):
        rows = zip(space.structures, space.vertices, np.asarray(space.coordinates), strict=True)
        return [f"{structure} {f'vertex {vertex}' if vertex >= 0 else _millimetres(mm)}" for structure, vertex, mm in rows]
    if isinstance(space, Surface):
        return [f"{side} vertex {vertex}" for side, vertex in zip(table["hemisphere"], table["vertex"], strict=True)]
    if isinstance(space, Unplaced):
        return [f"column {i}" for i in range(space.n_voxels)]
    return [" ".join(str(column[i]) for column in table.values()) for i in range(space.n_voxels)]


def _millimetres(place: np.ndarray) -> str:
    return f"({' '.join(f'{mm:g}' for mm in place)}) mm"


def space_arrays(space: Space) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A space as (arrays, attributes) for HDF5."""
    if isinstance(space, Regions):
        return {"space/names": np.array(space.names)}, {"space": "regions"}
    if isinstance(space, VolumeMask):
        said = {"space": "volume", "template": space.template, "header_codes": list(space.header_codes)}
        return {"space/mask": space.mask.astype(np.uint8), "space/affine": space.affine}, said
    if isinstance(space, Surface):
        return {}, {"space": "surface", "mesh": space.mesh, "n_left": space.n_left, "n_right": space.n_right}
    if isinstance(space, Unplaced):
        return {}, {"space": "unplaced", "label": space.label, "n_voxels": space.n_voxels}
    if isinstance(space, Grayordinates):
        names, codes = np.unique(space.structures, return_inverse=True)
        arrays = {"space/structures": names, "space/structure": codes.astype(np.uint8)}
        arrays |= {"space/vertices": space.vertices, "space/coordinates": space.coordinates}
        return arrays, {"space": "grayordinates", "mesh": space.mesh, "n_left": space.n_left, "n_right": space.n_right}
    raise bad("space", "be Regions, VolumeMask, Surface, Grayordinates or Unplaced", type(space).__name__)


def space_from_arrays(arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> Space:
    """The space that `space_arrays` took apart."""
    kind = attributes.get("space")
    if kind == "regions":
        return Regions(tuple(str(n) for n in arrays["space/names"]))
    if kind == "volume":
        qform, sform = attributes.get("header_codes", (0, 2))
        template = attributes.get("template", "")
        return VolumeMask(arrays["space/mask"].astype(bool), arrays["space/affine"], template, (qform, sform))
    if kind == "surface":
        return Surface(attributes["mesh"], attributes["n_left"], attributes["n_right"])
    if kind == "unplaced":
        return Unplaced(attributes["label"], attributes["n_voxels"])
    if kind == "grayordinates":
        names = tuple(str(arrays["space/structures"][code]) for code in arrays["space/structure"])
        places = arrays["space/vertices"], arrays["space/coordinates"]
        return Grayordinates(attributes["mesh"], attributes["n_left"], attributes["n_right"], names, *places)
    raise bad("space", "be regions, volume, surface, grayordinates or unplaced", kind)


def space_hash(space: Space) -> str:
    """Equal for equal places, whatever the name and the header of their space say."""
    arrays, attributes = space_arrays(space)
    return content_hash(arrays, {key: value for key, value in attributes.items() if key not in ("template", "header_codes")})


def check_fits(space: Space, n_voxels: int, what: str) -> None:
    """Refuse a matrix or map whose columns are not the voxels of `space`."""
    check_same_length(
        what, n_voxels, "the voxels of its space", space.n_voxels, "Use the mask that the data were extracted with."
    )
