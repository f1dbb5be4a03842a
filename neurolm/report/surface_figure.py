"""A still picture of a cortical map: four views, for paper and for browsers without WebGL."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from neurolm.report.figures import INK, Picture, new_figure, style
from neurolm.report.markup import Markup, element
from neurolm.report.page import Section
from neurolm.report.surface import HEMISPHERES, Mesh, SurfaceMaps, colour_table, maps_element, quantised, read_mesh

_VIEWS = (("left", "lateral", -1), ("right", "lateral", 1), ("left", "medial", 1), ("right", "medial", -1))
_GYRUS, _SULCUS = 214, 178


def surface_figure(maps: SurfaceMaps, index: int | None = None) -> Picture:
    """Lateral and medial views of both inflated hemispheres with a colour bar.

    Parameters
    ----------
    index : int, optional
        Which map; default `maps.first`.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    index = maps.first if index is None else index
    mesh = read_mesh(maps.mesh)
    with style():
        figure, grid = new_figure(7.2, 5.4, nrows=2, ncols=2)
        for axes, (hemisphere, view, side) in zip(grid.flat, _VIEWS, strict=True):
            colours = vertex_colours(maps, index, hemisphere, mesh)
            _draw_hemisphere(axes, mesh.coordinates["inflated", hemisphere], mesh.faces, colours, side)
            axes.set_title(f"{hemisphere}, {view}", fontweight="normal", color=INK)
        bar = ScalarMappable(Normalize(*maps.scale), ListedColormap(colour_table(maps.diverging) / 255))
        figure.colorbar(bar, ax=grid, orientation="horizontal", shrink=0.5, aspect=30, label=f"{maps.label}, {maps.names[index]}")
    vertices = [np.arange(len(mesh.coordinates["inflated", h])) for h in HEMISPHERES]
    data: dict[str, Any] = {
        "hemisphere": np.repeat(HEMISPHERES, [len(v) for v in vertices]),
        "vertex": np.concatenate(vertices),
        "value": np.concatenate([maps.left[index], maps.right[index]]),
    }
    shown = np.isfinite(data["value"])
    text = f"{maps.label}, {maps.names[index]}, on the inflated cortex: {shown.sum():,} of {len(shown):,} vertices have a value."
    return Picture(figure, data, text)


def surface_section(maps: SurfaceMaps, *, name: str = "cortex", title: str = "On the cortex") -> Section:
    """The maps in the viewer, with what their grey means."""
    text = (
        f"{maps.label[:1].upper()}{maps.label[1:]} on the {maps.mesh} surface. Grey cortex has no value: nothing was measured "
        "or nothing is significant there. Values are shown in 254 steps; the map files hold them exactly."
    )
    viewer = maps_element(maps, f"{name}-map", still_image(surface_figure(maps)))
    return Section(name, title, (element("p", text), viewer), meshes=(maps.mesh,))


def still_image(picture: Picture) -> Markup:
    """The picture as an <img> of pixels: ten thousand triangles would be too large as SVG."""
    buffer = io.BytesIO()
    with style():
        picture.figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None}, pil_kwargs={"optimize": True})
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return Markup(element("img", src=f"data:image/png;base64,{encoded}", alt=picture.description, class_="still"))


def vertex_colours(maps: SurfaceMaps, index: int, hemisphere: str, mesh: Mesh) -> np.ndarray:
    """(n_vertices, 3) in [0, 1]: the map's colour, or the grey of gyri and sulci where it is NaN."""
    steps = quantised(getattr(maps, hemisphere)[index], maps.scale)
    grey = np.where(mesh.sulci[hemisphere], _SULCUS, _GYRUS)[:, None].repeat(3, axis=1)
    coloured = colour_table(maps.diverging)[np.maximum(steps, 1) - 1]
    return np.where(steps[:, None] > 0, coloured, grey) / 255


def _draw_hemisphere(axes: Any, coordinates: np.ndarray, faces: np.ndarray, colours: np.ndarray, side: int) -> None:
    """Orthographic view along the x axis from `side`: farther triangles first, nearer ones over them."""
    from matplotlib.collections import PolyCollection

    corners = coordinates[faces]  # (n_faces, 3 corners, xyz)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    facing = normals[:, 0] * side
    order = np.flatnonzero(facing > 0)
    order = order[np.argsort(corners[order, :, 0].mean(axis=1) * side, kind="stable")]
    shade = 0.62 + 0.38 * facing[order, None]
    shown = np.clip(colours[faces[order]].mean(axis=1) * shade, 0, 1)
    flat = np.stack([corners[order, :, 1] * side, corners[order, :, 2]], axis=-1)
    axes.add_collection(PolyCollection(list(flat), facecolors=shown, edgecolors=shown, linewidths=0.15, rasterized=True))
    axes.set(xlim=(-112, 112), ylim=(-78, 78), aspect="equal")
    axes.set_axis_off()
