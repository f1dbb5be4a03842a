"""The Little Prince (OpenNeuro ds003643): one audiobook, three languages, 112 listeners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurolm.brain import BoldRun
from neurolm.brain.images import read_bold, read_mask
from neurolm.checks import FileError, bad, bad_file, check_choice, check_file
from neurolm.datasets.dataset import DatasetInfo, Finding
from neurolm.datasets.fetch import check_files, fetch_files, read_registry
from neurolm.datasets.places import cached_copy, find_copy, not_found
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript, read_textgrid

FOLDER = "ds003643"
URL = "https://s3.amazonaws.com/openneuro.org/ds003643/"
TR = 2.0
N_SECTIONS = 9
VOLUMES = {  # of the preprocessed runs, section by section: README of the data set
    "CN": (283, 322, 322, 307, 293, 392, 364, 293, 401),
    "EN": (282, 298, 340, 303, 265, 343, 325, 292, 368),
    "FR": (309, 326, 354, 315, 293, 378, 332, 294, 336),
}
LANGUAGES = tuple(VOLUMES)

INFO = DatasetInfo(
    name="little_prince",
    description="Listeners to The Little Prince in English (49), Chinese (35) and French (28): preprocessed BOLD in MNI space, "
    "words with times.",
    design="Nine sections of about ten minutes (TR 2 s), one run each; every listener heard all nine in one language.",
    format="derivatives/sub-<EN057>/func/*_task-lppEN_run-<n>_space-MNIColin27_desc-preproc_bold.nii.gz (2 mm, denoised by "
    "multi-echo ICA), annotation/EN/lppEN_section<1-9>.TextGrid. No brain mask is published: name one with mask=.",
    licence="CC0",
    citation="Li, J., Bhattasali, S., Zhang, S., Franzluebbers, B., Luh, W., Spreng, R. N., Brennan, J., Yang, Y., Pallier, C. & "
    "Hale, J. (2022). Le Petit Prince multilingual naturalistic fMRI corpus. Scientific Data 9, 530.",
    url="https://openneuro.org/datasets/ds003643 (version 2.0.7)",
    facts=(
        "Run numbers differ from listener to listener (06-14, 15-23, with gaps): a listener's nine runs in the order of their numbers "
        "are sections 1 to 9, and the number of volumes must be the published one of that section.",
        "English: the four volumes before the audio are gone from the preprocessed runs, row 0 is audio time 0 s; four volumes "
        "follow the audio. French: two volumes follow the audio, none comes before it.",
        "Chinese: the README says both that the first four volumes were excluded and that the preprocessed runs match the audio. Row 0 "
        "is taken as audio time 0 s: look at the alignment check before anything else.",
        "Pictures were shown during section 1 (English: at 10 s, 35 s and 60 s, for 15 to 20 s each).",
        "English words are in lower case and without punctuation; contractions are two words (didn, t). Numbers joined by "
        "underscores are read with blanks. Four of the TextGrids are UTF-16; # marks a pause.",
        "lppEN_word_information.csv has 15,376 words with frequency, part of speech and parser counts; its times begin again with each "
        'section: read_events(path, where={"section": 1}). Its words differ from the TextGrids\' in some places.',
    ),
    is_downloadable=True,
)


class LittlePrince:
    """A local copy of ds003643, or a part of it.

    Parameters
    ----------
    folder : path
        Holds `annotation`, and `derivatives` where responses are wanted.
    language : {"EN", "CN", "FR"}
    mask : path, optional
        A brain mask on the grid of the preprocessed images; needed for responses only.
    """

    info = INFO
    is_simulated = False

    def __init__(self, folder: str | Path, language: str = "EN", mask: str | Path | None = None) -> None:
        self.folder: Path | None = Path(folder)
        self._root = Path(folder)
        self.language = check_choice("language", language, LANGUAGES)
        self._mask = mask
        if not (self._root / "annotation").is_dir():
            raise bad_file(folder, "holds no folder `annotation`", "Name the folder that holds the files of ds003643.")

    def subjects(self) -> list[str]:
        """Listeners of this language of whom all nine preprocessed runs are here, as "EN057"."""
        folders = (self._root / "derivatives").glob(f"sub-{self.language}*")
        return sorted(f.name.removeprefix("sub-") for f in folders if len(self._images(f.name)) == N_SECTIONS)

    def stories(self, subject: str | None = None) -> list[str]:
        """Sections whose words are here: "section1" to "section9"."""
        return [f"section{k}" for k in range(1, N_SECTIONS + 1) if self._grid(k).is_file()]

    def transcript(self, story: str) -> Transcript:
        """Words of one section; time zero is the start of its audio."""
        transcript = read_textgrid(check_file(self._grid(self._number(story)), "Fetch it: `neurolm data fetch little_prince`."))
        return transcript.with_words([_readable(word) for word in transcript.words])

    def bold(self, subject: str, story: str) -> BoldRun:
        """One listener's run inside the mask, as published (denoised and in MNI space), (n_trs, n_voxels)."""
        number = self._number(story)
        check_choice("subject", subject, self.subjects())
        if self._mask is None:
            raise bad("mask", "be named to read responses", None, "load_dataset('little_prince', mask='mask.nii.gz').")
        path = self._images(f"sub-{subject}")[number - 1]
        run = read_bold(path, read_mask(self._mask, "MNIColin27"), first_tr_s=0.0, tr=TR, subject=subject, story=story)
        self._check_volumes(path, number, run.n_trs)
        return run

    def files(self, story: str, subject: str | None = None) -> list[Path]:
        """The TextGrid; or a subject's image and the mask."""
        number = self._number(story)
        if subject is None:
            return [self._grid(number)]
        check_choice("subject", subject, self.subjects())
        return [self._images(f"sub-{subject}")[number - 1], *([] if self._mask is None else [Path(self._mask)])]

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Compare the files that are here with the published ones, and the runs with the lengths of their sections."""
        registry = read_registry("little_prince")
        findings = check_files({p: f for p, f in registry.items() if f"lpp{self.language}" in p}, self._root, progress)
        for story in self.stories():
            try:
                self.transcript(story)
            except FileError as error:
                findings.append(Finding("problem", str(error), story))
        for subject in self.subjects():
            for number, path in enumerate(self._images(f"sub-{subject}"), start=1):
                try:
                    self._check_volumes(path, number, _n_volumes(path))
                except FileError as error:
                    findings.append(Finding("problem", str(error), f"{subject} section{number}"))
        return findings + [Finding("note", fact) for fact in INFO.facts]

    def _images(self, subject_folder: str) -> list[Path]:
        """A listener's preprocessed runs in the order of their numbers; links that lead nowhere are not there."""
        pattern = f"{subject_folder}_task-lpp{self.language}_run-*_space-MNIColin27_desc-preproc_bold.nii.gz"
        return sorted(path for path in (self._root / "derivatives" / subject_folder / "func").glob(pattern) if path.is_file())

    def _grid(self, number: int) -> Path:
        return self._root / "annotation" / self.language / f"lpp{self.language}_section{number}.TextGrid"

    def _number(self, story: str) -> int:
        check_choice("story", story, [f"section{k}" for k in range(1, N_SECTIONS + 1)])
        return int(story.removeprefix("section"))

    def _check_volumes(self, path: Path, number: int, n_volumes: int) -> None:
        expected = VOLUMES[self.language][number - 1]
        if n_volumes != expected:
            problem = f"{n_volumes} volumes, section {number} has {expected}"
            raise bad_file(path, problem, "Is it the run of another section? The words would not fit.")


def load_little_prince(*, folder: str | Path | None = None, language: str = "EN", mask: str | Path | None = None) -> LittlePrince:
    """Find a local copy: `folder`, else $NEUROLM_DATA/ds003643, else the user's cache.

    Raises
    ------
    DatasetNotFound
        If there is none; the data set is too large to be fetched unasked.
    """
    found = find_copy(FOLDER, folder)
    if found is None:
        raise not_found(
            "little_prince", FOLDER, "`neurolm data fetch little_prince` gets the words; name subjects for responses."
        )
    return LittlePrince(found, language, mask)


def fetch_little_prince(progress: Progress = silent, *, subjects: Sequence[str] = ()) -> Path:
    """Download the words of all languages, and the nine preprocessed runs (0.6 to 0.8 GB) of each of `subjects` such as "EN057"."""
    registry = read_registry("little_prince")
    known = sorted({path.split("/")[1].removeprefix("sub-") for path in registry if path.startswith("derivatives/")})
    for subject in subjects:
        check_choice("subjects", subject, known)
    wanted = {f"sub-{subject}" for subject in subjects}
    chosen = {p: pinned for p, pinned in registry.items() if p.startswith("annotation/") or p.split("/")[1] in wanted}
    fetch_files(chosen, URL, cached_copy(FOLDER), progress)
    return cached_copy(FOLDER)


def _readable(word: str) -> str:
    """Blanks for the underscores of numbers, an apostrophe for the backtick that some contractions have."""
    return word.replace("_", " ").replace("`", "'").strip("'") or word


def _n_volumes(path: Path) -> int:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        shape = nibabel.load(path).shape
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise bad_file(path, f"is damaged or cut short ({error})", "Fetch it again.") from None
    return int(shape[3]) if len(shape) == 4 else 1
