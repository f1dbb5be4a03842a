"""When the volumes of a BIDS run were measured, on the clock of the words; nothing is guessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from neurolm.brain.cifti import cifti_tr
from neurolm.brain.images import header_tr
from neurolm.checks import FileError, bad_file
from neurolm.datasets.bids_files import BidsFile
from neurolm.storage import read_json

SAME_TR_S = 1e-3  # headers keep float32


def run_tr(
    images: Sequence[BidsFile], raw: Iterable[BidsFile], root: Path, preprocessed: Path, named: float | None = None
) -> float:
    """The TR (s) that the header and every sidecar of a run agree on.

    Parameters
    ----------
    images : one NIfTI or CIFTI file, or both hemispheres' GIFTI
    raw : files of the same run in the raw tree
    root, preprocessed : path
        The BIDS folder and fMRIPrep's: sidecars at their top hold for a whole task.
    named : float, optional
        What the user says; then nothing is compared.

    Raises
    ------
    FileError
        If two of them disagree, or none says anything.
    """
    if named is not None:
        return named
    said = {}
    for path in _sidecars(images, raw, root, preprocessed):
        value = _number(path, "RepetitionTime")
        if value is not None:
            said[path] = value
    image = images[0]
    if image.extension == ".dtseries.nii":
        said[image.path] = cifti_tr(image.path)
    elif image.extension in (".nii", ".nii.gz"):
        try:
            said[image.path] = header_tr(image.path)
        except FileError as error:
            if not said or "does not know its TR" not in str(error):
                raise
    if not said:
        raise bad_file(image.path, "has no sidecar that says its TR", "Put RepetitionTime into its JSON, or set the option tr.")
    (first, tr), *others = said.items()
    for path, value in others:
        if abs(value - tr) > SAME_TR_S:
            raise bad_file(path, f"says TR {value:g} s, {first.name} says {tr:g} s", "Mend the wrong one, or set the option tr.")
    return tr


def start_time(images: Sequence[BidsFile], tr: float) -> float:
    """Scan time (s) at which the first row's TR began, so that the row stands for the middle of that TR.

    fMRIPrep's StartTime is the moment to which slices were shifted; without slice-time correction
    (no StartTime) a row is spread over its TR and the first begins at 0.
    """
    for image in images:
        for path in _beside(image.path):
            moment = _number(path, "StartTime") if path.is_file() else None
            if moment is not None:
                return moment - tr / 2
    return 0.0


def onset_seconds(events: Path, line: int, cell: str, hint: str) -> float:
    """The onset (s) that a cell of events.tsv says."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_file(events, f"{cell!r} is not a time in seconds", hint, line=line)
    return value


def _sidecars(images: Sequence[BidsFile], raw: Iterable[BidsFile], root: Path, preprocessed: Path) -> list[Path]:
    """JSON files that may say something of a run: beside its images, beside the raw image, at the top for the task."""
    beside = [path for image in images for path in _beside(image.path)]
    beside += [file.path for file in raw if file.suffix == "bold" and file.extension == ".json"]
    task = images[0].entities.get("task", "")
    top = [folder / f"task-{task}_bold.json" for folder in (preprocessed, root)]
    return [path for path in dict.fromkeys(beside + top) if path.is_file()]


def _beside(image: Path) -> list[Path]:
    stem = image.name.split(".")[0]
    return [image.with_name(f"{stem}.json")]


def _number(path: Path, key: str) -> float | None:
    said: Any = read_json(path)
    value = said.get(key) if isinstance(said, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_file(path, f"{key} is {value!r}, not a number of seconds", "Mend it.")
    return float(value)
