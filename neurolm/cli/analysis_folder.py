"""One folder for each kind of analysis: two kinds that are given the same output folder never write the same file.

The first analysis in a folder has the folder to itself. One of another kind that names the same output goes into a
folder of its own in it, called after its kind, and index.html leads to the pages of all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from neurolm.checks import FileError
from neurolm.cli.run_processes import RUN_ID
from neurolm.cli.terminal import warn
from neurolm.storage import read_json

CONFIG = "config.json"


def kind_in(folder: Path) -> str | None:
    """The kind of analysis that a folder belongs to; None where there is none yet."""
    try:
        config = read_json(folder / CONFIG)
    except FileError:
        return None
    kind = config.get("analysis", "training") if isinstance(config, dict) else "training"
    return str(kind)


def own_folder(folder: Path, kind: str) -> Path:
    """Where an analysis of this kind writes when `folder` is its output."""
    owner = kind_in(folder)
    if owner is None or owner == kind:
        return folder
    warn(f"NOTE: {folder} holds an analysis of the kind {owner!r}; this one ({kind}) has the folder {folder / kind}.")
    return folder / kind


def lay_plan(plan: Any) -> None:
    """Write the plan of a single command into its output folder, which from then on belongs to this kind of analysis.

    Steps of `neurolm run` find the plan there.
    """
    if RUN_ID not in os.environ:
        plan.write()


def analysis_folders(folder: Path) -> list[Path]:
    """The folder of an analysis, then those of other kinds that share its output."""
    root = folder.parent if kind_in(folder.parent) not in (None, "training") else folder
    inside = sorted(path.parent for path in root.glob(f"*/{CONFIG}") if path.parent.name == kind_in(path.parent))
    return list(dict.fromkeys([folder, root, *inside]))


def write_index(folder: Path) -> Path | None:
    """index.html over all analyses that share an output, where there are several."""
    from neurolm.report.markup import element
    from neurolm.report.page import Page, Section

    folders = analysis_folders(folder)
    if len(folders) < 2:
        return None
    root = folders[1] if folders[1] in folders[0].parents else folders[0]
    rows: list[Any] = []
    for one in sorted(folders):
        page = next((one / name for name in ("report.html", "identification/scores.csv", "comparison/models.md")
                     if (one / name).is_file()), one / CONFIG)  # fmt: skip
        config = read_json(one / CONFIG)
        title = (config.get("title") if isinstance(config, dict) else "") or one.name
        rows.append(element("li", element("a", f"{kind_in(one)}: {title}", href=str(page.relative_to(root)))))
    section = Section("analyses", "Analyses in this folder", (element("ul", *rows),))
    index = Page(kind="Index", title=root.name, verdict=f"{len(rows)} analyses share this folder.", sections=(section,))
    return index.write(root / "index.html")
