"""Narratives (OpenNeuro ds002345): 345 listeners, 28 stories, responses preprocessed with fMRIPrep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from neurolm.brain import BoldRun
from neurolm.brain.images import read_bold, read_mask, read_surface_bold
from neurolm.checks import FileError, bad, bad_file, check_choice
from neurolm.datasets.bids_times import onset_seconds
from neurolm.datasets.dataset import DatasetInfo, Finding
from neurolm.datasets.fetch import check_files, fetch_files, read_registry
from neurolm.datasets.places import cached_copy, find_copy, not_found
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript, read_events
from neurolm.stimuli.text_file import read_annotation
from neurolm.tables import parse_table

FOLDER = "ds002345"
WORDS_FOLDER = "narratives_align"
URL = "https://s3.amazonaws.com/openneuro.org/ds002345/"
WORDS_URL = "https://raw.githubusercontent.com/charlottecaucheteux/brainscore/b435db8b889bd004b528c0177e0f1e1cf2d3853c/"
TR = 1.5
SURFACE = "fsaverage6"
VOLUME = "MNI152NLin2009cAsym"
LEAD_IN_S = {  # from the start of the audio file to the start of its story; elsewhere 0
    "pieman": 15.0,
    "prettymouth": 21.0,
    "milkywayoriginal": 21.0,
    "milkywaysynonyms": 21.0,
    "milkywayvodka": 21.0,
    "21styear": 21.0,
    "slumlordreach": 25.0,
    "notthefallintact": 25.0,
    "notthefalllongscram": 25.0,
    "notthefallshortscram": 25.0,
    "shapesphysical": 45.0,
    "shapessocial": 45.0,
    "merlin": 29.0,
    "sherlock": 29.0,
}

INFO = DatasetInfo(
    name="narratives",
    description="Listeners to spoken stories of 3 to 56 minutes, with word times; responses preprocessed with fMRIPrep.",
    design="345 listeners, each to one or a few of 28 spoken stimuli, most once (TR 1.5 s); some are scrambled or reworded versions.",
    format="Raw BIDS tree (sub-*/func/*_events.tsv), fMRIPrep output in derivatives/fmriprep (fsaverage6 GIFTI, MNI152NLin2009cAsym "
    "NIfTI), gentle alignments <story>/align.csv (word, token, onset, offset).",
    licence="CC0 (scans); audio for non-commercial research under fair use; the corrected alignments come without a licence file",
    citation="Nastase, S. A. et al. (2021). The 'Narratives' fMRI dataset for evaluating models of naturalistic language comprehension. "
    "Scientific Data 8, 250.",
    url="https://openneuro.org/datasets/ds002345 (version 1.1.4); fMRIPrep output: datalad install ///labs/hasson/narratives",
    facts=(
        "Word times count from the start of the audio file, and the audio starts at another scan time in every study. Stories begin "
        "where events.tsv says; 15 to 45 s of music and silence come first in some audio files and are part of the word times. "
        "tr_times here are audio times: scan time less (story onset in events.tsv less that lead-in).",
        "sub-038 and sub-105: events.tsv puts milkyway and prettymouth 6 s and 7.5 s earlier than for all others; their audio began "
        "before the scan. The authors leave these scans out.",
        "bronx and piemanpni: the aligned words run 14 s and 8 s past the end of the story in events.tsv. Which is right is not "
        "documented: look at the alignment check before anything else.",
        "milkywaysynonyms: the first word is placed at 5.6 s, in the music; the second begins at 21.7 s.",
        "There is no alignment of notthefalllongscram and notthefallshortscram.",
        "Up to 6 % of the words of a story have no time; they are left out and counted.",
        "schema: two stories and two films in each run; events.tsv differs from listener to listener.",
        "The authors' scan_exclude.json names 27 scans of low intersubject correlation in auditory cortex; nothing is left out here.",
        "pieman was scanned twice or more for some listeners: name the run.",
    ),
    is_downloadable=True,
)


@dataclass(frozen=True)
class Scan:
    """One run in which a story was heard, and when its audio began (s of scan time)."""

    stem: str
    audio_start: float


class Narratives:
    """A local copy of ds002345.

    Parameters
    ----------
    folder : path
        The raw BIDS tree with its events.tsv files, and `derivatives/fmriprep` where responses are wanted.
    words : path, optional
        Where the alignments are: <story>/align.csv or <story>_align.csv. By default stimuli/gentle_checked
        or stimuli/gentle below `folder`, or $NEUROLM_DATA/narratives_align.
    mask : path, optional
        Read responses in MNI space inside this mask; without it they are read on fsaverage6.
    """

    info = INFO
    is_simulated = False

    def __init__(self, folder: str | Path, words: str | Path | None = None, mask: str | Path | None = None) -> None:
        self.folder: Path | None = Path(folder)
        self._root = Path(folder)
        self._mask = mask
        if not any(self._root.glob("sub-*/func/*_events.tsv")):
            raise bad_file(folder, "holds no sub-*/func/*_events.tsv", "Name the raw BIDS folder of ds002345.")
        self._words = _words_folder(self._root, words)

    def subjects(self) -> list[str]:
        """Listeners of whom preprocessed responses are here, as "001"."""
        folders = (self._root / "derivatives" / "fmriprep").glob("sub-*")
        return sorted(f.name.removeprefix("sub-") for f in folders if any(self._event_files(f.name)))

    def stories(self, subject: str | None = None) -> list[str]:
        """Stories whose words are here; those that a subject heard where one is named."""
        aligned = {path.parent.name for path in self._words.glob("*/align.csv")}
        aligned |= {path.name.removesuffix("_align.csv") for path in self._words.glob("*_align.csv")}
        return sorted(aligned if subject is None else aligned & set(self._all_scans(subject)))

    def transcript(self, story: str) -> Transcript:
        """Words as written, with times from the start of the audio file; untimed words are left out and counted."""
        return replace(read_events(self._aligned(story)), name=story)

    def runs(self, subject: str, story: str) -> list[str]:
        """The scans in which a listener heard a story, as "sub-001_task-pieman_run-1"."""
        return [scan.stem for scan in self._scans(subject, story)]

    def bold(self, subject: str, story: str, run: str | None = None) -> BoldRun:
        """One scan of one listener, (n_trs, n_vertices) or inside the mask; `run` names it where there are several.

        Row times are times of the story's audio: negative before it began.
        """
        scan = self._scan(subject, story, run)
        images, first = self._images(subject, scan), -scan.audio_start
        if self._mask is not None:
            return read_bold(images[0], read_mask(self._mask, VOLUME), first_tr_s=first, tr=TR, subject=subject, story=story)
        left, right = images
        return read_surface_bold(left, right, SURFACE, first_tr_s=first, tr=TR, subject=subject, story=story)

    def files(self, story: str, subject: str | None = None) -> list[Path]:
        """The alignment; or a subject's images, the mask, and the events.tsv files that say in which scan the story was."""
        if subject is None:
            return [self._aligned(story)]
        mask = [] if self._mask is None else [Path(self._mask)]
        return [*self._images(subject, self._scan(subject, story, None)), *mask, *self._event_files(f"sub-{subject}")]

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Compare events and alignments with the published ones, and read every events.tsv and transcript that is here."""
        findings = check_files(read_registry("narratives"), self._root, progress)
        for story in self.stories():
            try:
                self.transcript(story)
            except FileError as error:
                findings.append(Finding("problem", str(error), story))
        for path in self._event_files("sub-*"):
            try:
                _audio_starts(path)
            except FileError as error:
                findings.append(Finding("problem", str(error), path.name))
        level = "ok" if self.stories() else "problem"
        findings.append(Finding(level, f"words of {len(self.stories())} stories are here", str(self._words)))
        findings.append(Finding("note", f"responses of {len(self.subjects())} listeners are here"))
        return findings + [Finding("note", fact) for fact in INFO.facts]

    def _aligned(self, story: str) -> Path:
        check_choice("story", story, self.stories())
        nested = self._words / story / "align.csv"
        return nested if nested.is_file() else self._words / f"{story}_align.csv"

    def _scan(self, subject: str, story: str, run: str | None) -> Scan:
        """The scan in which a listener heard a story; `run` names it where there are several."""
        scans = self._scans(subject, story)
        if run is not None:
            check_choice("run", run, [scan.stem for scan in scans])
        elif len(scans) > 1:
            listed = ", ".join(scan.stem for scan in scans)
            raise bad("run", f"be named, because sub-{subject} heard {story} more than once", None, f"Choose one of {listed}.")
        return next(s for s in scans if run in (None, s.stem))

    def _images(self, subject: str, scan: Scan) -> list[Path]:
        """The volume where there is a mask, else both hemispheres."""
        folder = self._root / "derivatives" / "fmriprep" / f"sub-{subject}" / "func"
        if self._mask is not None:
            return [folder / f"{scan.stem}_space-{VOLUME}_res-native_desc-preproc_bold.nii.gz"]
        return [folder / f"{scan.stem}_space-{SURFACE}_hemi-{side}.func.gii" for side in "LR"]

    def _event_files(self, subject_folder: str) -> list[Path]:
        return sorted(self._root.glob(f"{subject_folder}/func/*_events.tsv"))

    def _scans(self, subject: str, story: str) -> list[Scan]:
        check_choice("subject", subject, self.subjects())
        scans = self._all_scans(subject)
        return scans[check_choice(f"story of sub-{subject}", story, sorted(scans))]

    def _all_scans(self, subject: str) -> dict[str, list[Scan]]:
        """Every scan of a listener by the stories in it."""
        scans: dict[str, list[Scan]] = {}
        for path in self._event_files(f"sub-{subject}"):
            for story, start in _audio_starts(path).items():
                scans.setdefault(story, []).append(Scan(path.name.removesuffix("_events.tsv"), start))
        return scans


def load_narratives(
    *, folder: str | Path | None = None, words: str | Path | None = None, mask: str | Path | None = None
) -> Narratives:
    """Find a local copy: `folder`, else $NEUROLM_DATA/ds002345, else the user's cache.

    Raises
    ------
    DatasetNotFound
        If there is none.
    """
    found = find_copy(FOLDER, folder)
    if found is None:
        hint = "`neurolm data fetch narratives` gets words and events; responses: datalad install ///labs/hasson/narratives."
        raise not_found("narratives", FOLDER, hint)
    return Narratives(found, words, mask)


def fetch_narratives(progress: Progress = silent) -> Path:
    """Download events, participants and the 26 corrected alignments (1.3 MB); fMRIPrep output comes from DataLad."""
    folder = cached_copy(FOLDER)
    fetch_files(read_registry("narratives_words"), WORDS_URL, folder, progress)
    fetch_files(read_registry("narratives"), URL, folder, progress)
    return folder


def _words_folder(root: Path, words: str | Path | None) -> Path:
    if words is not None:
        if not Path(words).is_dir():
            raise bad_file(words, "no such folder", "Name the folder that holds <story>/align.csv or <story>_align.csv.")
        return Path(words)
    places = [root / "stimuli" / "gentle_checked", root / "stimuli" / "gentle", find_copy(WORDS_FOLDER)]
    return next((place for place in places if place is not None and place.is_dir()), root / "stimuli" / "gentle_checked")


def _audio_starts(path: Path) -> dict[str, float]:
    """Scan time (s) at which the audio of each story in an events.tsv began."""
    table = parse_table(read_annotation(path), path)
    if not {"onset", "trial_type", "stim_file"} <= set(table.columns):
        named = ", ".join(table.columns)
        raise bad_file(path, f"names the columns {named}", "It needs onset, trial_type and stim_file.", line=1)
    starts: dict[str, float] = {}
    for row in table.rows:
        if table.value(row, "trial_type") != "story":
            continue
        story = table.value(row, "stim_file").removesuffix("_audio.wav")
        start = onset_seconds(path, row.line, table.value(row, "onset"), "Fetch it again.")
        starts.setdefault(story, start - LEAD_IN_S.get(story, 0.0))
    return starts
