"""Files of an earlier config, moved out of an output folder so that they are never taken for results of the present one.

derivatives/neurolm            results of the config as it is
derivatives/neurolm.earlier/1  what the first change of the config left over, in the same sub-folders
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from neurolm.cli.terminal import warn

MOST_NAMED = 5


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
