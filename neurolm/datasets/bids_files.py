"""Which files a BIDS tree holds: one walk over the folders in which images may lie, names taken apart.

BIDS fixes the depth (`sub-*/[ses-*/]func`), so that a tree of thousands of files is known after a
few hundred folder listings; no file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from neurolm.checks import bad_file

NOT_OF_A_RUN = frozenset({"sub", "space", "cohort", "res", "den", "hemi", "desc", "label"})  # the same run in another form
INDICES = frozenset({"run", "echo", "res"})
FORMATS = {".nii.gz": "nifti", ".nii": "nifti", ".func.gii": "gifti", ".dtseries.nii": "cifti"}


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
    def comparable(self) -> dict[str, str]:
        """Entities without the zeros before a number: run-1 and run-01 are one run."""
        return {key: without_zeros(value) if key in INDICES else value for key, value in self.entities.items()}

    @property
    def subject(self) -> str:
        return self.entities["sub"]

    @property
    def run(self) -> str:
        """What all files of one run share, without the subject: "pieman", "pieman_run-2", "pieman_ses-1_run-2"."""
        kept = [f"{key}-{value}" for key, value in self.entities.items() if key not in NOT_OF_A_RUN and key != "task"]
        return "_".join([self.entities.get("task", ""), *kept])


def without_zeros(value: object) -> str:
    """ "02" as "2"; YAML reads 02 as the number 2."""
    text = str(value)
    return str(int(text)) if text.isascii() and text.isdigit() else text


def is_of_run(file: BidsFile, other: BidsFile) -> bool:
    """Whether two files are of one subject and run, in whatever form."""
    return _run_key(file) == _run_key(other) and file.entities.get("sub") == other.entities.get("sub")


def _run_key(file: BidsFile) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in file.comparable.items() if key not in NOT_OF_A_RUN))


def parse_name(path: Path, *, of_subject: bool = True) -> BidsFile | None:
    """A name taken apart; None where it does not follow BIDS, or names no subject where it has to."""
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if not dot or not suffix or "-" in suffix or len(entities) != len(pairs) or (of_subject and "sub" not in entities):
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
                yield from files_in(folder)


def files_in(folder: str | Path, *, of_subject: bool = True) -> list[BidsFile]:
    """The files of BIDS name in one folder, by name; links whose content is not here are among them."""
    names = (parse_name(Path(folder, name), of_subject=of_subject) for name in sorted(os.listdir(folder)))
    return [file for file in names if file is not None]


def _folders(root: str | Path, prefix: str) -> list[str]:
    entries = [entry for entry in os.scandir(root) if entry.name.startswith(prefix)]
    for entry in entries:
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise bad_file(entry.path, "is a link to a folder that is not here", "Fetch it, or remove the link.")
    return [entry.path for entry in entries if entry.is_dir()]


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


@dataclass(frozen=True, kw_only=True)
class Form:
    """In which of its forms a run is read.

    Parameters
    ----------
    space : str
        As in the file names; other entities may follow as fMRIPrep writes them: "MNIPediatricAsym:cohort-2:res-2".
    res, den, desc : str, optional
        Resolution, density and description; of volumes, "preproc" by default.
    format : "nifti", "gifti" or "cifti", optional
    """

    space: str
    res: str | int | None = None
    den: str | int | None = None
    desc: str | None = None
    format: str | None = None

    @property
    def name(self) -> str:
        """The space alone: "MNIPediatricAsym"."""
        return self.space.split(":")[0]

    @property
    def entities(self) -> dict[str, str]:
        """What the file names must say, besides the space."""
        pairs = [part.partition("-") for part in self.space.split(":")[1:]]
        said = {"res": self.res, "den": self.den, "desc": self.desc}
        return {key: value for key, _, value in pairs} | {key: str(value) for key, value in said.items() if value is not None}

    def fits(self, file: BidsFile, *, without: str = "") -> bool:
        """Whether a file is in this form, in whatever the entity `without` says."""
        wanted = {"space": self.name, **self.entities}
        if "desc" not in wanted and FORMATS[file.extension] == "nifti":
            wanted["desc"] = "preproc"
        here = {"space": "native", **file.entities}
        return (self.format in (None, FORMATS[file.extension])) and all(
            without_zeros(here.get(key, "")) == without_zeros(value) for key, value in wanted.items() if key != without
        )


def preprocessed_runs(files: Iterable[BidsFile], root: Path, form: Form) -> Runs:
    """The preprocessed images of fMRIPrep in one form: NIfTI, both hemispheres' GIFTI, or CIFTI.

    Raises
    ------
    FileError
        If there is none, if a hemisphere is missing, or if one run is there in several forms.
    """
    found: dict[tuple[str, str], dict[str, BidsFile]] = {}
    names: dict[tuple[tuple[str, str], ...], str] = {}  # subjects may write run-1 or run-01
    bold = [file for file in files if file.suffix == "bold" and file.extension in FORMATS]
    for file in bold:
        if not form.fits(file):
            continue
        run = names.setdefault(_run_key(file), file.run)
        sides = found.setdefault((file.subject, run), {})
        hemisphere = file.entities.get("hemi", "")
        clash = [other for side, other in sides.items() if side == hemisphere or file.extension != other.extension]
        if clash:
            raise bad_file(file.path, f"is the same run as {clash[0].path.name}", _how_to_choose(file, clash[0], form))
        sides[hemisphere] = file
    if not found:
        said = "".join(f", {key} {value}" for key, value in form.entities.items())
        raise bad_file(root, f"holds no preprocessed run in space {form.name}{said}", _what_there_is(bold, form))
    for sides in found.values():
        if set(sides) not in ({""}, {"L", "R"}):
            raise bad_file(next(iter(sides.values())).path, "has no other hemisphere beside it", "Copy both.")
    return Runs({key: tuple(sides[side] for side in sorted(sides)) for key, sides in found.items()})


def _how_to_choose(first: BidsFile, second: BidsFile, form: Form) -> str:
    """The option that tells two forms of a run apart, with its values."""
    for key in sorted(NOT_OF_A_RUN - {"sub", "space", "hemi"}, key=lambda key: key not in ("res", "den", "desc")):
        values = sorted({file.entities[key] for file in (first, second) if key in file.entities})
        if first.comparable.get(key) != second.comparable.get(key):
            if key in ("res", "den", "desc"):
                return f"Choose one with the option {key}: {' or '.join(values)}."
            return f"Choose one with the option space: {' or '.join(f'{form.name}:{key}-{value}' for value in values)}."
    formats = sorted({FORMATS[file.extension] for file in (first, second)})
    if len(formats) == 2:
        return f"Choose one with the option format: {' or '.join(formats)}."
    return "Keep one of the two files."


def _what_there_is(bold: Iterable[BidsFile], form: Form) -> str:
    """Values of the first entity that keeps every run from fitting, with the option that takes them."""
    bold = list(bold)
    if not bold:
        return _WHAT_IS_NEEDED
    for key in ("desc", *form.entities):
        values = sorted({file.entities[key] for file in bold if key in file.entities and form.fits(file, without=key)})
        if values:
            option = key if key in ("res", "den", "desc") else "space"
            listed = ", ".join(f"{form.name}:{key}-{value}" if option == "space" else value for value in values)
            return f"In that space there are {key} {listed}: choose one with the option {option}."
    in_space = [file for file in bold if file.entities.get("space", "native") == form.name]
    missing = [key for key in form.entities if not any(key in file.entities for file in in_space)]
    others = [key for key in ("res", "den") if key not in form.entities and any(key in file.entities for file in in_space)]
    if missing and others:
        values = sorted({file.entities[others[0]] for file in in_space if others[0] in file.entities})
        return f"Files of that space say {others[0]}, not {missing[0]}: choose {' or '.join(values)} with the option {others[0]}."
    spaces = sorted({file.entities.get("space", "native") for file in bold})
    return f"There are {', '.join(spaces)}: choose one with the option space."


_WHAT_IS_NEEDED = (
    "It needs fMRIPrep's output: sub-*/func/*_space-*_desc-preproc_bold.nii.gz, *_hemi-L_space-fsaverage5_bold.func.gii "
    "or *_bold.dtseries.nii."
)


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
