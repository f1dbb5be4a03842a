"""What other analyses of the same data left on disk, as sections of a report.

Timescales    <folder>/<who>/<who>_desc-<estimator>_timescales.h5, of `neurolm timescales map`
Decoding      <folder>/decoding/scores.json, table.csv and windows.csv, of `neurolm decode`

<who> is "group" or "sub-<label>"; what was decoded of one subject stands on both pages.
An analysis that wants a place in the report adds a function here: it looks for its own files and gives sections with their figures.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurolm.brain.space import MESH_VERTICES, Grayordinates, Space, Surface, VolumeMask
from neurolm.brain.surface_projection import project
from neurolm.checks import bad_file
from neurolm.storage import read_json
from neurolm.workflows.output_folder import label

if TYPE_CHECKING:
    from neurolm.report import DecodedWindow, Picture, Section, SurfaceMaps
    from neurolm.timescales import WindowResult

Found = tuple[list["Section"], dict[str, "Picture"]]
SHOWN_ON = "fsaverage5"
N_VERTICES = MESH_VERTICES[SHOWN_ON]  # of one hemisphere; finer meshes of FreeSurfer begin with the same vertices
FINER = ("fsaverage6", "fsaverage")


def found_sections(folders: Sequence[Path], who: str) -> Found:
    """Sections of every analysis whose results for `who` lie in one of the folders."""
    sections: list[Section] = []
    pictures: dict[str, Picture] = {}
    for folder in folders:
        for finder in FINDERS:
            more, drawn = finder(folder, who)
            sections += more
            pictures |= drawn
    return sections, pictures


def _timescales(folder: Path, who: str) -> Found:
    from neurolm.report.timescale_page import timescale_sections
    from neurolm.timescales import load_windows

    paths = sorted((folder / who).glob(f"{who}_desc-*_timescales.h5"))
    results = {path.name.split("_desc-")[1].removesuffix("_timescales.h5"): load_windows(path)[0] for path in paths}
    if not results:
        return [], {}
    sections, pictures = timescale_sections({"group": results})  # the page says whose it is
    return [*sections, *_windows_on_cortex(results)], pictures


def _windows_on_cortex(results: dict[str, WindowResult]) -> list[Section]:
    """Windows of all estimators in one unit in one viewer: the slider steps through the estimators."""
    from neurolm.report import SurfaceMaps, surface_section

    sections = []
    for unit in sorted({result.units for result in results.values()}):
        maps = {}
        for name, result in results.items():
            values = on_cortex(result.index[None], result.space) if result.units == unit and result.space is not None else None
            if values is not None and np.isfinite(values).any():
                maps[name] = values[0]
        if maps:
            stacked = np.stack(list(maps.values()))
            shown = SurfaceMaps(
                names=tuple(maps),
                left=stacked[:, :N_VERTICES],
                right=stacked[:, N_VERTICES:],
                label=f"window ({unit})",
                mesh=SHOWN_ON,
            )
            sections.append(surface_section(shown, name=f"timescale-cortex-{unit}", title="Timescales on the cortex"))
    return sections


def _decoding(folder: Path, who: str) -> Found:
    from neurolm.report import decoder_section
    from neurolm.report.decoding_page import verdict

    home = folder / "decoding"
    if not all((home / name).is_file() for name in ("scores.json", "table.csv", "windows.csv")):
        return [], {}
    said = read_json(home / "scores.json")
    subject = said["settings"].get("subject") or ""
    if who not in ("group", f"sub-{label(subject)}" if subject else "group"):
        return [], {}
    try:
        windows = [_window(row) for row in _rows(home / "table.csv")]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise bad_file(home / "table.csv", f"is damaged ({error})", "Run `neurolm decode` again.") from None
    picture = _over_time(_rows(home / "windows.csv"))
    found = f"{f'sub-{label(subject)}: ' if subject else ''}{verdict(said['summary'])}"
    section = decoder_section(windows, verdict=found, over_time=picture)
    return [section], {"decoding-over-time": picture}


def _window(row: dict[str, str]) -> DecodedWindow:
    from neurolm.report import DecodedWindow

    return DecodedWindow(
        start_s=float(row.pop("start_s")),
        end_s=float(row.pop("end_s")),
        heard=tuple(row.pop("heard").split()),
        decoded=tuple(row.pop("decoded").split()),
        marks=tuple(row.pop("marks").split()),
        scores={name: _number(value) for name, value in row.items()},
    )


def _over_time(rows: list[dict[str, str]]) -> Picture:
    """The score that is drawn of those in windows.csv, with the windows above the null where nulls were made."""
    from neurolm.report.decoding_figures import score_over_time
    from neurolm.report.decoding_page import OVER_TIME

    columns = {name: np.array([_number(row[name]) for row in rows]) for name in rows[0]}
    name = next((name for name in OVER_TIME if name in columns), next(n for n in columns if n != "centre_s"))
    q = columns.get(f"{name}_q")
    return score_over_time(columns["centre_s"], columns[name], label=name, is_significant=None if q is None else q < 0.05)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except csv.Error as error:
        raise bad_file(path, f"is not a table ({error})", "Run `neurolm decode` again.") from None
    if not rows:
        raise bad_file(path, "holds no window", "Run `neurolm decode` again.")
    return rows


def _number(text: str) -> float:
    return float("nan") if text == "n/a" else float(text)


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


FINDERS = (_timescales, _decoding)
