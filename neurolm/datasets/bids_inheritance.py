"""Inheritance of BIDS metadata: which events.tsv and JSON sidecars apply to an image, nearest first.

A file applies when all entities of its name are among the image's and it lies in the image's folder or above it
(BIDS specification, "The Inheritance Principle"). A file in a nearer folder wins; in one folder the one with more
entities does. Files in one folder with equally many entities must not contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from neurolm.checks import bad_file
from neurolm.datasets.bids_files import BidsFile, files_in, is_of_run

Level = tuple[BidsFile, ...]


class MetadataTree:
    """The tables and sidecars of one tree, raw or derivative; a folder is listed when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, list[BidsFile]] = {}

    def levels(self, image: BidsFile, suffix: str, extension: str) -> Iterator[Level]:
        """Files that apply to an image of this tree, or to the run of an image of another tree, nearest first."""
        for folder in self._folders(image):
            fitting = [
                file for file in self._files(folder, suffix, extension) if image.comparable.items() >= file.comparable.items()
            ]
            fitting.sort(key=lambda file: -len(file.entities))
            for _, level in groupby(fitting, lambda file: len(file.entities)):
                yield tuple(level)

    def other_forms(self, image: BidsFile) -> Level:
        """Sidecars of the same run in other spaces: fMRIPrep writes some facts beside the volume alone."""
        return tuple(file for file in self._files(self._folders(image)[0], "bold", ".json") if is_of_run(file, image))

    def _folders(self, image: BidsFile) -> list[Path]:
        subject = self.root / f"sub-{image.subject}"
        session = [subject / f"ses-{image.entities['ses']}"] if "ses" in image.entities else []
        return [(session or [subject])[0] / "func", *session, subject, self.root]

    def _files(self, folder: Path, suffix: str, extension: str) -> list[BidsFile]:
        if folder not in self._listed:
            found = files_in(folder, of_subject=False) if folder.is_dir() else []
            self._listed[folder] = [file for file in found if file.suffix in ("bold", "events")]
        return [file for file in self._listed[folder] if (file.suffix, file.extension) == (suffix, extension)]


def events_file(trees: list[MetadataTree], image: BidsFile) -> Path | None:
    """The events.tsv of an image's run, or None.

    Raises
    ------
    FileError
        If two in one folder apply equally.
    """
    level = next((level for tree in trees for level in tree.levels(image, "events", ".tsv")), ())
    if len(level) > 1:
        raise bad_file(level[0].path, f"and {level[1].path.name} both hold for {image.path.name}", "Keep one.")
    return level[0].path if level else None
