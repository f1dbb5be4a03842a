"""LeBel et al. 2023 (OpenNeuro ds003020): hours of spoken stories, cortical responses as HDF5 matrices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from neurolm.brain import BoldRun, Space, Unplaced
from neurolm.brain.images import read_mask
from neurolm.checks import FileError, bad_file, check_choice, check_file
from neurolm.datasets.dataset import DatasetInfo, Finding
from neurolm.datasets.fetch import check_files, fetch_files, read_registry
from neurolm.datasets.places import cached_copy, find_copy, not_found
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript, read_textgrid
from neurolm.storage import open_h5, read_json

FOLDER = "ds003020"
URL = "https://s3.amazonaws.com/openneuro.org/ds003020/"
TEST_STORY = "wheretheressmoke"
TR, FIRST_ROW_TIME, N_TRIMMED = 2.0, 10.0, 20

INFO = DatasetInfo(
    name="lebel2023",
    description="Nine listeners to spoken narrative stories: preprocessed cortical BOLD, words and phones with times.",
    design="84 stories, scans of 6 to 18 minutes (TR 2 s); UTS01-UTS03 heard all 84, UTS09 54, UTS05-UTS08 27, UTS04 26. "
    f"The test story {TEST_STORY} was repeated: 10 times for UTS01-UTS03, 5 times for the others.",
    format="derivative/preprocessed_data/<subject>/<story>.hf5 (float64, n_trs x n_voxels, key `data`; the test story also "
    "`individual_repeats`), derivative/TextGrids/<story>.TextGrid, derivative/respdict.json (scanned TRs of each story).",
    licence="CC0",
    citation="LeBel, A., Wagner, L., Jain, S., Adhikari-Desai, A., Gupta, B., Morgenthal, A., Tang, J., Xu, L. & Huth, A. G. (2023). "
    "A natural language fMRI dataset for voxelwise encoding models. Scientific Data 10, 555.",
    url="https://openneuro.org/datasets/ds003020 (version 3.1.0)",
    facts=(
        "The sound began 10 s after the scan. The published matrices lack the first 10 and the last 10 scanned TRs: row 0 is story "
        "time 10 s, and a matrix has 20 rows fewer than respdict.json says. tr_times here say so; nothing else is to be trimmed.",
        "Words are in capitals; features of language models lower-case them (neurolm.stimuli.word_entries).",
        "TextGrids hold sp, {BR}, {LG}, {LS}, {NS}, {CG} and zero-length SENTENCE_START and SENTENCE_END marks. Some copies misspell "
        "them and hold more marks than they announce; Praat stops at the announced number and keeps one of marks that begin together.",
        "There is no punctuation in the transcripts.",
        "UTS04 has no life.hf5.",
        "sub-UTS01 ses-7 task-treasureisland: the raw image is damaged (the published matrix is there).",
        "Matrices hold the voxels of mask_thick.nii.gz of the subject's pycortex transform and no coordinates; where that mask is "
        "beside them it places the voxels.",
    ),
    is_downloadable=True,
)


class Lebel2023:
    """A local copy of ds003020, or a part of it.

    Parameters
    ----------
    folder : path
        Holds `derivative`, as OpenNeuro publishes it.
    """

    info = INFO
    is_simulated = False

    def __init__(self, folder: str | Path) -> None:
        self.folder: Path | None = Path(folder)
        self._derivative = Path(folder) / "derivative"
        if not self._derivative.is_dir():
            raise bad_file(folder, "holds no folder `derivative`", "Name the folder that holds the files of ds003020.")

    def subjects(self) -> list[str]:
        """Listeners of whom at least one matrix is here."""
        return sorted({path.parent.name for path in self._matrices("*")})

    def stories(self, subject: str | None = None) -> list[str]:
        """Stories with a TextGrid here; those whose matrix is here too where a subject is named."""
        with_words = {path.stem for path in (self._derivative / "TextGrids").glob("*.TextGrid") if path.is_file()}
        return sorted(with_words if subject is None else with_words & {path.stem for path in self._matrices(subject)})

    def transcript(self, story: str) -> Transcript:
        """Words in capitals, as published; time zero is the start of the sound."""
        return read_textgrid(self._grid(story), "word")

    def phones(self, story: str) -> Transcript:
        """The phones of a story, as a transcript of phones."""
        return read_textgrid(self._grid(story), "phone")

    def bold(self, subject: str, story: str) -> BoldRun:
        """One listener's responses to one story, (n_trs, n_voxels) float32; the mean over repeats for the test story."""
        return self._run(subject, story, self._read(subject, story, "data", 2))

    def files(self, story: str, subject: str | None = None) -> list[Path]:
        """The TextGrid; or a subject's matrix, the lengths of the stories, and the mask that places the voxels."""
        if subject is None:
            return [self._grid(story)]
        return [self._matrix(subject, story), self._derivative / "respdict.json", *self._masks(subject)[:1]]

    def repeats(self, subject: str, story: str = TEST_STORY) -> list[BoldRun]:
        """Every repeat of the test story, for noise ceilings."""
        return [self._run(subject, story, data) for data in self._read(subject, story, "individual_repeats", 3)]

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Compare the files that are here with the published ones, and the matrices with the lengths of their stories."""
        findings = check_files(read_registry("lebel2023"), self._derivative.parent, progress)
        for subject in self.subjects():
            for story in self.stories(subject):
                try:
                    with self._open(subject, story, "data", 2):
                        pass
                except FileError as error:
                    findings.append(Finding("problem", str(error), f"{subject} {story}"))
        for story in self.stories():
            try:
                self.transcript(story)
            except FileError as error:
                findings.append(Finding("problem", str(error), story))
        return findings + [Finding("note", fact) for fact in INFO.facts]

    def _matrices(self, subject: str) -> list[Path]:
        # a clone without its contents holds links that lead nowhere
        return [path for path in (self._derivative / "preprocessed_data").glob(f"{subject}/*.hf5") if path.is_file()]

    def _masks(self, subject: str) -> list[Path]:
        masks = sorted((self._derivative / "pycortex-db" / subject / "transforms").glob("*/mask_thick.nii.gz"))
        return [path for path in masks if path.is_file()]

    def _matrix(self, subject: str, story: str) -> Path:
        check_choice("subject", subject, self.subjects())
        hint = "Fetch it for this subject and story, or use `datalad get`."
        return check_file(self._derivative / "preprocessed_data" / subject / f"{story}.hf5", hint)

    def _grid(self, story: str) -> Path:
        check_choice("story", story, self.stories())
        return self._derivative / "TextGrids" / f"{story}.TextGrid"

    def _lengths(self) -> dict[str, int]:
        """Scanned TRs of each story."""
        path = check_file(self._derivative / "respdict.json", "It is part of ds003020: fetch it again.")
        try:
            lengths = read_json(path)
        except (UnicodeDecodeError, RecursionError):
            lengths = None
        if not isinstance(lengths, dict) or not all(isinstance(n, int) for n in lengths.values()):
            raise bad_file(path, "must map stories to numbers of TRs", "Fetch it again.")
        return lengths

    def _read(self, subject: str, story: str, key: str, n_dimensions: int) -> np.ndarray:
        with self._open(subject, story, key, n_dimensions) as matrix:
            return matrix.astype(np.float32)[:]

    @contextlib.contextmanager
    def _open(self, subject: str, story: str, key: str, n_dimensions: int) -> Iterator[h5py.Dataset]:
        """A matrix whose kind and number of rows are right; what h5py makes of a damaged file is a FileError."""
        path = self._matrix(subject, story)
        lengths = self._lengths()
        with open_h5(path, "is not a whole HDF5 file", "Fetch it again.") as file:
            if key not in file:
                raise bad_file(path, f"has no `{key}`, only {', '.join(map(str, file))}", f"Only {TEST_STORY} was repeated.")
            matrix = file[key]
            if not isinstance(matrix, h5py.Dataset) or matrix.dtype.kind not in "fi" or matrix.ndim != n_dimensions:
                raise bad_file(path, f"`{key}` is not an array of numbers with {n_dimensions} dimensions", "Fetch it again.")
            self._check_rows(subject, story, matrix.shape[-2], lengths)
            yield matrix

    def _check_rows(self, subject: str, story: str, n_rows: int, lengths: dict[str, int]) -> None:
        path = self._derivative / "preprocessed_data" / subject / f"{story}.hf5"
        if story not in lengths:
            raise bad_file(self._derivative / "respdict.json", f"does not know {story}", "Add its number of scanned TRs.")
        if n_rows != lengths[story] - N_TRIMMED:
            problem = f"{n_rows} rows, but {lengths[story]} scanned TRs less {N_TRIMMED} make {lengths[story] - N_TRIMMED}"
            raise bad_file(path, problem, "The words would not fit the rows: fetch it again, or correct respdict.json.")

    def _run(self, subject: str, story: str, data: np.ndarray) -> BoldRun:
        space, order = self._space(subject, data.shape[1])
        data = data if order is None else data[:, order]
        return BoldRun(data, FIRST_ROW_TIME + TR * np.arange(len(data)), space, subject, story)

    def _space(self, subject: str, n_voxels: int) -> tuple[Space, np.ndarray | None]:
        """The voxels' places, and the order that brings pycortex's columns (z, y, x) into that of a VolumeMask (x, y, z)."""
        masks = self._masks(subject)
        if not masks:
            return Unplaced(f"lebel2023 {subject}", n_voxels), None
        space = read_mask(masks[0], "native")
        mask = space.mask
        if space.n_voxels != n_voxels:
            problem = f"marks {space.n_voxels} voxels, the matrix of {subject} has {n_voxels}"
            raise bad_file(masks[0], problem, "Take the mask away to go on without places, or fetch both again.")
        columns = np.empty(mask.shape, dtype=np.int64)
        columns.T[mask.T] = np.arange(n_voxels)
        return space, columns[mask]


def load_lebel2023(*, folder: str | Path | None = None) -> Lebel2023:
    """Find a local copy: `folder`, else $NEUROLM_DATA/ds003020, else the user's cache.

    Raises
    ------
    DatasetNotFound
        If there is none; the data set is too large to be fetched unasked.
    """
    found = find_copy(FOLDER, folder)
    if found is None:
        raise not_found(
            "lebel2023",
            FOLDER,
            "`neurolm data fetch lebel2023` gets the words; responses are fetched for named subjects and stories.",
        )
    return Lebel2023(found)


def fetch_lebel2023(progress: Progress = silent, *, subjects: Sequence[str] = (), stories: Sequence[str] | None = None) -> Path:
    """Download TextGrids and lengths, and the matrices and masks of the `subjects` (all stories, or those named).

    The words are 85 MB; one subject's matrices are 8 to 24 GB. What is there and intact is kept; a broken download is continued.
    """
    registry = read_registry("lebel2023")
    known = sorted({path.split("/")[2] for path in registry if path.startswith("derivative/preprocessed_data/")})
    for subject in subjects:
        check_choice("subjects", subject, known)
    for story in stories or ():
        check_choice("stories", story, sorted({Path(path).stem for path in registry if path.endswith(".TextGrid")}))

    def is_wanted(path: str) -> bool:
        parts = path.split("/")
        if parts[1] == "preprocessed_data":
            return parts[2] in subjects and (stories is None or Path(path).stem in stories)
        if parts[1] == "pycortex-db":
            return parts[2] in subjects
        return True

    fetch_files({path: pinned for path, pinned in registry.items() if is_wanted(path)}, URL, cached_copy(FOLDER), progress)
    return cached_copy(FOLDER)
