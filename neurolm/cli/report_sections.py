"""What other analyses of the same data left on disk, as sections of a report.

Timescales    <folder>/<who>/<who>_desc-<estimator>_timescales.h5, of `neurolm timescales map`

<who> is "group" or "sub-<label>". An analysis that wants a place in the report adds a function here:
it looks for its own files and gives sections with their figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurolm.cli.report_maps import N_VERTICES, SHOWN_ON, on_cortex

if TYPE_CHECKING:
    from neurolm.report import Picture, Section
    from neurolm.timescales import WindowResult

Found = tuple[list["Section"], dict[str, "Picture"]]


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


FINDERS = (_timescales,)
