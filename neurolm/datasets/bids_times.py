"""When the volumes of a BIDS run were measured, on the clock of the words; nothing is guessed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from neurolm.brain.cifti import cifti_tr
from neurolm.brain.images import LONGEST_TR_S, SHORTEST_TR_S, header_tr
from neurolm.checks import FileError, bad_file
from neurolm.datasets.bids_files import BidsFile, Level, MetadataTree
from neurolm.storage import read_json

SAME_TR_S = 1e-3  # headers keep float32
LATEST_START_S = 60.0  # of a first volume: what lies beyond is in milliseconds


def run_tr(images: Sequence[BidsFile], preprocessed: MetadataTree, raw: MetadataTree, named: float | None = None) -> float:
    """The TR (s) that the header and the nearest sidecar of a run agree on.

    Parameters
    ----------
    images : one NIfTI or CIFTI file, or both hemispheres' GIFTI
    preprocessed, raw : MetadataTree
        The images' own tree comes first: nearer sidecars win.
    named : float, optional
        What the user says; then nothing is compared.

    Raises
    ------
    FileError
        If header and sidecar disagree, none says anything, or one says what cannot be seconds.
    """
    if named is not None:
        return named
    sidecar = _said(_all_levels(images, preprocessed, raw), "RepetitionTime", SHORTEST_TR_S, LONGEST_TR_S)
    header = _said_by_header(images[0], sidecar)
    if sidecar is None and header is None:
        hint = "Put RepetitionTime into its JSON, or set the option tr."
        raise bad_file(images[0].path, "has no sidecar that says its TR", hint)
    if sidecar is not None and header is not None and abs(sidecar[1] - header) > SAME_TR_S:
        problem = f"says TR {header:g} s, {sidecar[0].name} says {sidecar[1]:g} s"
        raise bad_file(images[0].path, problem, "Mend the wrong one, or set the option tr.")
    return sidecar[1] if header is None else header  # type: ignore[index]


def start_time(images: Sequence[BidsFile], preprocessed: MetadataTree, tr: float) -> float:
    """Scan time (s) at which the first row's TR began, so that the row stands for the middle of that TR.

    fMRIPrep's StartTime is the moment to which slices were shifted; without slice-time correction
    (no StartTime) a row is spread over its TR and the first begins at 0.
    """
    said = _said(_own_levels(images, preprocessed), "StartTime", 0, LATEST_START_S)
    return 0.0 if said is None else said[1] - tr / 2


def sidecars(images: Sequence[BidsFile], preprocessed: MetadataTree, raw: MetadataTree) -> list[Path]:
    """Every JSON file that may say something of a run, nearest first."""
    return list(dict.fromkeys(file.path for level in _all_levels(images, preprocessed, raw) for file in level))


def _all_levels(images: Sequence[BidsFile], preprocessed: MetadataTree, raw: MetadataTree) -> list[Level]:
    return [*_own_levels(images, preprocessed), *raw.levels(images[0], "bold", ".json")]


def _own_levels(images: Sequence[BidsFile], preprocessed: MetadataTree) -> list[Level]:
    """Sidecars of the images, nearest first, then those of the same run's other forms."""
    own = [level for image in images for level in preprocessed.levels(image, "bold", ".json")]
    return [*own, preprocessed.other_forms(images[0])]


def _said_by_header(image: BidsFile, sidecar: tuple[Path, float] | None) -> float | None:
    """What the header says, or None where a sidecar has to do; a header that says what cannot be seconds is named."""
    if image.extension not in (".nii", ".nii.gz", ".dtseries.nii"):
        return None
    try:
        return cifti_tr(image.path) if image.extension == ".dtseries.nii" else header_tr(image.path)
    except FileError as error:
        if sidecar is None or "does not know its TR" not in str(error):
            raise
        if "says 0 " not in str(error) and "unknown" not in str(error):  # headers of many tools say nothing in these words
            said = str(error).removesuffix(" Give tr in seconds.")
            warnings.warn(f"{said} The {sidecar[1]:g} s of {sidecar[0].name} are used.", stacklevel=2)
        return None


def _said(levels: Iterable[Level], key: str, low: float, high: float) -> tuple[Path, float] | None:
    """The nearest sidecar that has a number of seconds under a key, and that number."""
    for level in levels:
        found = [(file.path, value) for file in level if (value := _seconds(file.path, key, low, high)) is not None]
        for path, value in found[1:]:
            if abs(value - found[0][1]) > SAME_TR_S:
                said = f"says {key} {value:g} s, {found[0][0].name} says {found[0][1]:g} s"
                raise bad_file(path, said, "Mend the wrong one, or set the option tr." if low else "Mend the wrong one.")
        if found:
            return found[0]
    return None


def onset_seconds(events: Path, line: int, cell: str, hint: str) -> float:
    """The onset (s) that a cell of events.tsv says."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_file(events, f"{cell!r} is not a time in seconds", hint, line=line)
    return value


def _seconds(path: Path, key: str, low: float, high: float) -> float | None:
    said: Any = read_json(path)
    value = said.get(key) if isinstance(said, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_file(path, f"{key} is {value!r}, not a number of seconds", "Mend it.")
    if not low <= value <= high:
        hint = "Mend it, or set the option tr." if key == "RepetitionTime" else "Mend it."
        raise bad_file(path, f"{key} is {value!r}, not seconds between {low:g} and {high:g}", hint)
    return float(value)
