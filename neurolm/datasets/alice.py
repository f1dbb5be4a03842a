"""Alice in Wonderland, chapter 1: 27 listeners, six language regions, words to the millisecond."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurolm.brain import BoldRun, Regions
from neurolm.brain.preprocess import detrend_legendre, mean_run, zscore_run
from neurolm.checks import FileError, bad, bad_file, check_choice, check_file
from neurolm.datasets.dataset import DatasetInfo, Finding, Regressors
from neurolm.datasets.fetch import check_files, fetch_files, inside, read_registry
from neurolm.datasets.places import cached_copy, find_copy, not_found
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript, read_textgrid

ALICE_URL = (
    "https://raw.githubusercontent.com/daandouwe/Thesis/ec54039b6ac5ad7bf8c81b91768108e5be5c1ce0/brain-data/syntax-in-rnng/"
)
FOLDER = "alice2016"
STORY = "alice"
REGIONS = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")
RADII = ("10mm", "6mm")
N_TRS, TR, FIRST_TR_TIME, N_DISCARDED = 362, 2.0, 20.0, 10
EMPTY_SUBJECTS = ("s33",)
TEXTGRID = "alice_stim_shared/DownTheRabbitHoleFinal_exp120_pad_1.TextGrid"
PREDICTORS_FILE = "alice_data_shared/sept18-generic-predictors-under-hrf-with-logfrqhal.txt"
PREDICTORS = (
    "rate_conv",
    "frq_conv_orth",
    "break_conv_orth",
    "tdp_conv_orth",
    "tdx_conv_orth",
    "bup_conv_orth",
    "bux_conv_orth",
    "cfgsurp_conv_orth",
    "bigramlex_conv_orth",
    "trigramlex_conv_orth",
    "bigrampos_conv_orth",
    "trigrampos_conv_orth",
)

INFO = DatasetInfo(
    name="alice",
    description="Listeners to chapter 1 of Alice's Adventures in Wonderland: mean BOLD of six language regions, "
    "word times corrected by hand, movement, published regressors.",
    design="One run of 12.4 minutes (362 volumes, TR 2 s) for each of 28 listeners, all to the same recording, slowed to 120 %.",
    format="Text tables, regions as columns: LATL RATL LPTL LIPL LPreM LIFG, spheres of 10 mm or 6 mm; a Praat TextGrid.",
    licence="CC-BY 4.0",
    citation="Brennan, J. R., Stabler, E. P., Van Wagenen, S. E., Luh, W.-M. & Hale, J. T. (2016). Abstract linguistic structure "
    "correlates with temporal activity during naturalistic comprehension. Brain and Language 157-158, 81-94.",
    url="https://github.com/daandouwe/Thesis (brain-data/syntax-in-rnng at commit ec54039)",
    facts=(
        "Ten volumes were discarded: row 0 of the BOLD is story time 20 s, where the first word begins.",
        "s33 is all zeros in both radii; it is left out and 27 listeners remain.",
        "The movement tables still hold the ten discarded volumes (372 rows, 371 for s33); they are dropped here.",
        "So does the table of generic predictors.",
        "There is one run: cross-validate over contiguous blocks with a gap.",
        "The TextGrid marks pauses with sp and six of its intervals are empty; neither is a word.",
    ),
    is_downloadable=True,
)


class Alice:
    """A local copy of the Alice data set.

    Parameters
    ----------
    folder : path
        Holds `alice_data_shared` and `alice_stim_shared`.
    radius : {"10mm", "6mm"}
        Radius of the spheres that the regions' time courses were averaged over.
    """

    info = INFO
    is_simulated = False

    def __init__(self, folder: str | Path, radius: str = "10mm") -> None:
        self.folder: Path | None = Path(folder)
        self.radius = check_choice("radius", radius, RADII)
        self._root = Path(folder)
        if not (self._root / "alice_data_shared").is_dir():
            raise bad_file(
                folder, "holds no alice_data_shared", "Name the folder that holds alice_data_shared and alice_stim_shared."
            )

    def subjects(self) -> list[str]:
        """The 27 listeners with data: s33 is all zeros and left out."""
        paths = (self._root / "alice_data_shared" / self.radius).glob("s*-timecourses.txt")
        return sorted({path.name.split("-")[0] for path in paths} - set(EMPTY_SUBJECTS))

    def stories(self, subject: str | None = None) -> list[str]:
        return [STORY]

    def transcript(self, story: str = STORY) -> Transcript:
        """2,127 words; time zero is the start of the recording, 20 s before the first word."""
        check_choice("story", story, [STORY])
        return replace(read_textgrid(self._root / TEXTGRID, "word"), name=STORY)

    def bold(self, subject: str, story: str = STORY) -> BoldRun:
        """One listener's (362, 6) time courses as published: not detrended, not z-scored."""
        check_choice("story", story, [STORY])
        self._check_subject(subject)
        return BoldRun(
            _read_table(self._time_courses(subject), N_TRS, len(REGIONS)), _tr_times(), Regions(REGIONS), subject, STORY
        )

    def files(self, story: str = STORY, subject: str | None = None) -> list[Path]:
        """The TextGrid, or a subject's table of time courses."""
        return [self._root / TEXTGRID if subject is None else self._time_courses(subject)]

    def mean_listener(self, detrend_degree: int = 6) -> BoldRun:
        """The mean over listeners of each one's run, detrended (Legendre, 6 by default) and z-scored."""
        runs = [zscore_run(detrend_legendre(self.bold(subject), detrend_degree)) for subject in self.subjects()]
        return mean_run(runs)

    def movement(self, subject: str) -> np.ndarray:
        """(362, 6) SPM8 realignment parameters: x, y, z in mm, three rotations in radians; the discarded volumes dropped."""
        self._check_subject(subject)
        paths = sorted((self._root / "alice_data_shared").glob(f"{subject}-rp_*.txt"))
        if len(paths) != 1:
            raise bad_file(self._root / "alice_data_shared", f"has {len(paths)} files {subject}-rp_*.txt", "There must be one.")
        return _read_table(paths[0], N_DISCARDED + N_TRS, 6)[N_DISCARDED:]

    def regressors(self, subject: str) -> dict[str, np.ndarray]:
        """The published word rate and sound power of one listener, each (362,), HRF-convolved."""
        self._check_subject(subject)
        files = {"rate": "rate", "sound_power": "sndpwr"}
        folder = self._root / "alice_data_shared"
        return {name: _read_table(folder / f"{subject}-{file}.txt", N_TRS, 1)[:, 0] for name, file in files.items()}

    def predictors(self) -> dict[str, np.ndarray]:
        """The twelve published linguistic predictors, each (362,), HRF-convolved; the discarded volumes dropped."""
        table = _read_table(self._root / PREDICTORS_FILE, N_DISCARDED + N_TRS, len(PREDICTORS))[N_DISCARDED:]
        return dict(zip(PREDICTORS, table.T, strict=True))

    def regressors_of(self, story: str = STORY) -> Regressors:
        """Sound power, which is the same for all listeners to 1e-5, and log frequency of the words, orthogonal to their rate."""
        check_choice("story", story, [STORY])
        sound = np.mean([self.regressors(subject)["sound_power"] for subject in self.subjects()], axis=0)
        return Regressors({"sound": sound, "frequency": self.predictors()["frq_conv_orth"]}, _tr_times())

    def regressor_files(self, story: str = STORY) -> list[Path]:
        """The files that `regressors_of` reads."""
        own = [self._root / "alice_data_shared" / f"{s}-{name}.txt" for s in self.subjects() for name in ("rate", "sndpwr")]
        return [self._root / PREDICTORS_FILE, *own]

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Compare every file with its published hash, read every table, and name the known facts."""
        registry = read_registry("alice")
        missing = [Finding("problem", "is missing", path) for path in registry if not inside(self._root, path).exists()]
        notes = [Finding("note", fact) for fact in INFO.facts]
        return [*check_files(registry, self._root, progress), *missing, *_try_to_read(self), *notes]

    def _time_courses(self, subject: str) -> Path:
        return self._root / "alice_data_shared" / self.radius / f"{subject}-timecourses.txt"

    def _check_subject(self, subject: str) -> None:
        if subject in EMPTY_SUBJECTS:
            raise bad("subject", "be a listener with data", subject, f"{subject} is all zeros in the published files.")
        check_choice("subject", subject, self.subjects())


def load_alice(
    *, folder: str | Path | None = None, radius: str = "10mm", download: bool = True, progress: Progress = silent
) -> Alice:
    """Find the Alice data set: `folder`, else $NEUROLM_DATA/alice2016, else the user's cache, else a download into it.

    Raises
    ------
    DatasetNotFound
        If none of these has it. The message says what was tried.
    """
    found = find_copy(FOLDER, folder)
    cached = cached_copy(FOLDER)
    if found is not None and found != cached:
        return Alice(found, radius)
    if download:
        fetch_alice(progress)
    elif not (cached / TEXTGRID).is_file():
        raise not_found("alice", FOLDER, "Get it with `neurolm data fetch alice`.")
    return Alice(cached, radius)


def fetch_alice(progress: Progress = silent) -> Path:
    """Download the data set into the user's cache; what is already there and intact is kept."""
    cached = cached_copy(FOLDER)
    try:
        fetch_files(read_registry("alice"), ALICE_URL, cached, progress)
    except FileError as error:
        hint = f"The download failed: {error} Set NEUROLM_DATA to a folder that holds {FOLDER}, or try again with a network."
        raise not_found("alice", FOLDER, hint) from error
    return cached


def _tr_times() -> np.ndarray:
    return FIRST_TR_TIME + TR * np.arange(N_TRS)


def _read_table(path: Path, n_rows: int, n_columns: int) -> np.ndarray:
    check_file(path, "The copy is incomplete: `neurolm data check alice` says what is missing.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file is refused below
            table = np.loadtxt(path, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise bad_file(path, f"is not a table of numbers ({error})", "Copy it again from its source.") from None
    if table.shape != (n_rows, n_columns):
        raise bad_file(
            path, f"must hold {n_rows} rows x {n_columns} columns; got {table.shape}", "Copy it again from its source."
        )
    return table


def _try_to_read(alice: Alice) -> list[Finding]:
    findings = []
    subjects = alice.subjects()
    for subject in subjects:
        try:
            run = alice.bold(subject)
            alice.movement(subject)
            alice.regressors(subject)
        except FileError as error:
            findings.append(Finding("problem", str(error), subject))
            continue
        if run.bad_voxels.any():
            names = ", ".join(np.array(REGIONS)[run.bad_voxels])
            findings.append(Finding("problem", f"{names} constant or not finite", subject))
    expected = 27
    level = "ok" if len(subjects) == expected else "problem"
    return [*findings, Finding(level, f"{len(subjects)} of {expected} listeners, {alice.radius}")]
