"""Which files a BIDS tree holds: one walk over the folders in which images may lie, names taken apart.

BIDS fixes the depth (`sub-*/[ses-*/]func`), so that a tree of thousands of files is known after a
few hundred folder listings; no file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from neurolm.checks import bad_file

NOT_OF_A_RUN = frozenset({"sub", "space", "res", "den", "hemi", "desc", "label"})  # the same run in another form


@dataclass(frozen=True)
class BidsFile:
    """A file whose name follows BIDS: `sub-01_task-pieman_desc-preproc_bold.nii.gz`.

    Parameters
    ----------
    path : Path
    entities : dict of str to str
        In the order of the name: {"sub": "01", "task": "pieman", "desc": "preproc"}.
    suffix, extension : str
        "bold", ".nii.gz".
    """

    path: Path
    entities: dict[str, str]
    suffix: str
    extension: str

    @property
    def subject(self) -> str:
        return self.entities["sub"]

    @property
    def run(self) -> str:
        """What all files of one run share, without the subject: "pieman", "pieman_run-2", "pieman_ses-1_run-2"."""
        kept = [f"{key}-{value}" for key, value in self.entities.items() if key not in NOT_OF_A_RUN and key != "task"]
        return "_".join([self.entities.get("task", ""), *kept])


def parse_name(path: Path) -> BidsFile | None:
    """A name taken apart; None where it does not follow BIDS."""
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if not dot or not suffix or "-" in suffix or len(entities) != len(pairs) or "sub" not in entities:
        return None
    return BidsFile(path, entities, suffix, f".{extension}")


def find_files(root: str | Path, kind: str = "func") -> list[BidsFile]:
    """Every file of BIDS name in `sub-*/func` and `sub-*/ses-*/func` below a folder, by its path.

    Raises
    ------
    FileError
        If a folder cannot be listed.
    """
    try:
        return sorted(_walk(Path(root), kind), key=lambda file: file.path)
    except OSError as error:
        raise bad_file(error.filename or root, f"cannot be listed ({error.strerror})", "Check its permissions.") from None


def _walk(root: Path, kind: str) -> Iterator[BidsFile]:
    for subject in _folders(root, "sub-"):
        for holder in (subject, *_folders(subject, "ses-")):
            folder = os.path.join(holder, kind)
            if os.path.isdir(folder):
                names = (parse_name(Path(folder, entry.name)) for entry in os.scandir(folder))
                yield from (file for file in names if file is not None)


def _folders(root: str | Path, prefix: str) -> list[str]:
    return [entry.path for entry in os.scandir(root) if entry.name.startswith(prefix) and entry.is_dir()]


@dataclass(frozen=True)
class Runs:
    """The images of one derivative in one space: {(subject, run): files}; two files where hemispheres are apart."""

    images: dict[tuple[str, str], tuple[BidsFile, ...]] = field(default_factory=dict)

    @property
    def subjects(self) -> list[str]:
        return sorted({subject for subject, _ in self.images})

    def stories(self, subject: str | None = None) -> list[str]:
        """Runs of one subject, or of any, by name."""
        return sorted({run for who, run in self.images if subject in (None, who)})


def preprocessed_runs(files: Iterable[BidsFile], root: Path, space: str, res: str | None = None) -> Runs:
    """The preprocessed images of fMRIPrep in one space: NIfTI, both hemispheres' GIFTI, or CIFTI.

    Raises
    ------
    FileError
        If there is none, if a hemisphere is missing, or if one run is there in several resolutions.
    """
    found: dict[tuple[str, str], dict[str, BidsFile]] = {}
    bold = [file for file in files if file.suffix == "bold" and _is_series(file)]
    for file in bold:
        if file.entities.get("space", "native") != space or (res is not None and file.entities.get("res") != res):
            continue
        form = found.setdefault((file.subject, file.run), {})
        hemisphere = file.entities.get("hemi", "")
        if hemisphere in form:
            other = form[hemisphere].path.name
            raise bad_file(file.path, f"is the same run as {other}", "Choose one with the option res.")
        form[hemisphere] = file
    if not found:
        spaces = sorted({file.entities.get("space", "native") for file in bold})
        listed = f"There are {', '.join(spaces)}: choose one with the option space." if spaces else _WHAT_IS_NEEDED
        raise bad_file(root, f"holds no preprocessed run in space {space}" + (f", res {res}" if res else ""), listed)
    for form in found.values():
        if set(form) not in ({""}, {"L", "R"}):
            raise bad_file(next(iter(form.values())).path, "has no other hemisphere beside it", "Copy both.")
    return Runs({key: tuple(form[side] for side in sorted(form)) for key, form in found.items()})


_WHAT_IS_NEEDED = (
    "It needs fMRIPrep's output: sub-*/func/*_space-*_desc-preproc_bold.nii.gz, *_hemi-L_space-fsaverage5_bold.func.gii "
    "or *_bold.dtseries.nii."
)


def _is_series(file: BidsFile) -> bool:
    if file.extension in (".nii.gz", ".nii"):
        return file.entities.get("desc") == "preproc"
    return file.extension in (".func.gii", ".dtseries.nii")
