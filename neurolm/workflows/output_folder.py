"""The output folder of an analysis: one for each kind, names of files in it, and files of an earlier config.

The first analysis in a folder has the folder to itself. One of another kind that names the same output goes into a
folder of its own in it, called after its kind, and index.html leads to the pages of all.

derivatives/neurolm            results of the config as it is
derivatives/neurolm.earlier/1  what the first change of the config left over, in the same sub-folders
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from neurolm.checks import FileError, bad
from neurolm.progress import warn
from neurolm.storage import read_json, write_json
from neurolm.workflows.run_processes import RUN_ID

CONFIG = "config.json"
MOST_NAMED = 5


def label(name: str) -> str:
    """A name as BIDS allows it in a file name: letters and digits only."""
    cleaned = re.sub(r"[^A-Za-z0-9]", "", name)
    if not cleaned:
        raise bad("a subject's or story's name", "hold at least one letter or digit", name)
    return cleaned


def model_label(model: str) -> str:
    """A model's name for file names: `openai-community/gpt2` is `gpt2`."""
    return label(model.rstrip("/").rsplit("/", 1)[-1])


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


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself where it is not there yet."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


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


def write_workflow(output: Path, config: Any, **names: list[str]) -> None:
    """Write what the Snakefiles in pipelines/ read as `config`.

    Steps start where `neurolm run` was started, so that relative paths in a config mean the same to
    all. Matrix products differ in the last bits between thread counts, so every step pins its own.
    """
    pinned = " ".join(f"{name}={config.threads}" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"))
    settings = {
        "command": f"cd {_word(Path.cwd())} && {pinned} {_word(sys.executable)} -m neurolm",
        "folder": _word(output),
        "threads": config.threads,
        "device": _word(config.device),
        "gpus": int(config.device.startswith("cuda")),
    }
    write_if_new(output / ".neurolm" / "plan.json", settings | names)


def _word(text: object) -> str:
    """One word of a shell command, safe in a rule of Snakemake, where braces are names of its own."""
    return shlex.quote(str(text)).replace("{", "{{").replace("}", "}}")


def write_if_new(path: Path, value: Any) -> None:
    """Write JSON unless the file says the same already."""
    try:
        if json.loads(path.read_text(encoding="utf-8")) == value:
            return
    except (OSError, ValueError):
        pass
    write_json(path, value)


def file_marks(paths: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    """What changes whenever a file is written: inode, size and times, to be compared for equality only."""
    marks: dict[Path, tuple[int, ...]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            marks[path] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return marks


def earlier_folders(folder: Path) -> list[Path]:
    """Where leftovers of an output folder have been moved to, in order of their numbers."""
    place = _place(folder)
    return sorted((path for path in place.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))


def set_aside(folder: Path, paths: Iterable[Path]) -> Path | None:
    """Move files out of an output folder into a new numbered folder beside it, and name them; None if there are none."""
    leftover = sorted(path for path in paths if path.is_file())
    if not leftover:
        return None
    target = _new_folder(folder)
    for path in leftover:
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)
        _remove_empty(path.parent, folder)
    warn(f"NOTE: {leftovers_text(target, [path.relative_to(folder) for path in leftover])}")
    return target


def leftovers_text(target: Path, names: Iterable[Path]) -> str:
    """One sentence about what was moved."""
    named = [str(name) for name in names]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    files = "1 file" if len(named) == 1 else f"{len(named)} files"
    return f"{files} of an earlier config moved to {target}: {', '.join(named[:MOST_NAMED])}{more}"


def _place(folder: Path) -> Path:
    """Beside the output folder, where that can be written to; else hidden in it."""
    beside = folder.with_name(f"{folder.name}.earlier")
    return beside if beside.is_dir() or os.access(folder.parent, os.W_OK) else folder / ".neurolm" / "earlier"


def _new_folder(folder: Path) -> Path:
    while True:
        taken = earlier_folders(folder)
        target = _place(folder) / str(int(taken[-1].name) + 1 if taken else 1)
        with contextlib.suppress(FileExistsError):  # another process was faster
            target.mkdir(parents=True)
            return target


def _remove_empty(folder: Path, root: Path) -> None:
    with contextlib.suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent
