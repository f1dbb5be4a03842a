"""Maps on the cortical surface: what a page needs to show them without a network.

The mesh (fsaverage5, from nilearn's package) is put into a page once, its coordinates as 16-bit
steps; every map is one byte per vertex. Both are base64 inside JSON that never runs; a viewer of
our own (surface_viewer.js) reads them. A still picture stands there for paper and for browsers
without WebGL.
"""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np

from neurolm.brain.space import Surface
from neurolm.checks import bad, check_choice
from neurolm.report.markup import Markup, element

MESHES = ("fsaverage5",)
SHAPES = ("inflated", "pial")
HEMISPHERES = ("left", "right")


@dataclass(frozen=True, eq=False, kw_only=True)
class SurfaceMaps:
    """Maps over both hemispheres of one mesh, on one colour scale.

    Parameters
    ----------
    names : tuple of str, n_maps
        What the slider steps through: "layer 0", "layer 5", ...
    left, right : array of shape (n_maps, n_vertices)
        NaN where nothing is shown (not significant, no data): the grey cortex is seen there.
    label : str
        What the numbers are, with their unit.
    limits : (float, float), optional
        Ends of the colour scale; values beyond take the end's colour. Default: the values' range,
        with zero in it, or around zero when `diverging`.
    diverging : bool
        Colours that part at the middle of the scale, for differences.
    first : int
        The map shown first, and in the still picture.
    mesh : "fsaverage5"
    """

    names: tuple[str, ...]
    left: np.ndarray
    right: np.ndarray
    label: str
    limits: tuple[float, float] | None = None
    diverging: bool = False
    first: int = 0
    mesh: str = field(default="fsaverage5")

    def __post_init__(self) -> None:
        mesh = read_mesh(self.mesh)
        for name in HEMISPHERES:
            expected = (len(self.names), len(mesh.coordinates["inflated", name]))
            if np.shape(getattr(self, name)) != expected:
                raise bad(name, f"have shape {expected} (n_maps, n_vertices of {self.mesh})", np.shape(getattr(self, name)))
        if not 0 <= self.first < len(self.names):
            raise bad("first", f"lie in [0, {len(self.names)})", self.first)
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise bad("limits", "rise", self.limits)

    @classmethod
    def from_values(cls, values: np.ndarray, space: Surface, **more: Any) -> SurfaceMaps:
        """Maps of shape (n_maps, n_voxels) in a `Surface` space."""
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != space.n_voxels:
            raise bad("values", f"have shape (n_maps, {space.n_voxels})", values.shape)
        return cls(left=values[:, : space.n_left], right=values[:, space.n_left :], mesh=space.mesh, **more)

    @property
    def scale(self) -> tuple[float, float]:
        """Ends of the colour scale."""
        if self.limits is not None:
            return self.limits
        both = np.concatenate([np.ravel(self.left), np.ravel(self.right), [0.0]])
        both = both[np.isfinite(both)]
        low, high = float(both.min()), float(both.max())
        if self.diverging:
            low, high = -max(-low, high), max(-low, high)
        return (low, high) if low < high else (low, low + 1.0)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles shared by both hemispheres, vertex coordinates in mm, sulcal depth."""

    faces: np.ndarray  # (n_faces, 3)
    coordinates: dict[tuple[str, str], np.ndarray]  # (shape, hemisphere) -> (n_vertices, 3)
    sulci: dict[str, np.ndarray]  # hemisphere -> (n_vertices,) bool: in a sulcus


@functools.cache
def read_mesh(name: str) -> Mesh:
    """The mesh of this name, from nilearn's package: no download."""
    check_choice("mesh", name, MESHES)
    from nilearn.datasets import load_fsaverage, load_fsaverage_data

    meshes = load_fsaverage(name)
    depth = load_fsaverage_data(mesh=name, data_type="sulcal").data.parts
    coordinates = {(s, h): np.asarray(meshes[s].parts[h].coordinates, np.float32) for s in SHAPES for h in HEMISPHERES}
    faces = np.asarray(meshes["inflated"].parts["left"].faces)
    if any(not np.array_equal(faces, meshes[s].parts[h].faces) for s in SHAPES for h in HEMISPHERES):
        raise bad("mesh", "have the same triangles in both hemispheres", name, "Install nilearn >= 0.12.")
    return Mesh(faces, coordinates, {h: np.asarray(depth[h]) > 0 for h in HEMISPHERES})


def quantised(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """One byte per value: 0 for NaN, 1 to 255 evenly from limits[0] to limits[1]; beyond is clipped."""
    low, high = limits
    with np.errstate(invalid="ignore"):
        steps = np.rint((np.asarray(values, np.float64) - low) / (high - low) * 254) + 1
    return np.where(np.isnan(steps), 0, np.clip(steps, 1, 255)).astype(np.uint8)


def colour_table(diverging: bool) -> np.ndarray:
    """(255, 3) bytes: colours of the steps 1 to 255, distinct with any colour vision."""
    import matplotlib as mpl

    return mpl.colormaps["PuOr_r" if diverging else "viridis"](np.linspace(0, 1, 255), bytes=True)[:, :3]


def mesh_element(name: str) -> Markup:
    """The mesh as data inside a page; one for all maps of the page."""
    mesh = read_mesh(name)
    bound = max(float(np.abs(c).max()) for c in mesh.coordinates.values())
    data = {
        "bound": bound,
        "faces": _base64(mesh.faces.astype("<u2")),
        "sulci": {h: _base64(mesh.sulci[h].astype(np.uint8)) for h in HEMISPHERES},
        "shapes": {
            shape: {h: _base64(np.rint(mesh.coordinates[shape, h] / bound * 32767).astype("<i2")) for h in HEMISPHERES}
            for shape in SHAPES
        },
    }
    return data_element(f"mesh-{name}", data)


def maps_element(maps: SurfaceMaps, name: str, still: Markup) -> Markup:
    """The maps as data and the place in which the viewer shows them; `still` is seen without it."""
    data = {
        "mesh": maps.mesh,
        "names": list(maps.names),
        "label": maps.label,
        "limits": list(maps.scale),
        "first": maps.first,
        "colours": _base64(colour_table(maps.diverging)),
        "maps": [{h: _base64(quantised(getattr(maps, h)[i], maps.scale)) for h in HEMISPHERES} for i in range(len(maps.names))],
    }
    return element("div", still, data_element(f"{name}-data", data), class_="surface", id=name, data_label=maps.label)


def viewer_script() -> str:
    """The viewer's JavaScript."""
    return files("neurolm.report").joinpath("surface_viewer.js").read_text(encoding="utf-8")


def data_element(name: str, data: Any) -> Markup:
    """JSON inside a page: data that a browser never runs, and from which no markup can escape."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return element("script", Markup(text.replace("<", "\\u003c")), type="application/json", id=name)


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
