"""Any BIDS data set with fMRIPrep's output: volumes in a mask, surfaces on fsaverage, CIFTI dense series."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain import (
    BoldRun,
    VolumeMask,
    read_bold,
    read_cifti_bold,
    read_confounds,
    read_mask,
    read_surface_bold,
    regress_out,
)
from neurolm.brain.confounds import confounds_file, non_steady_volumes
from neurolm.brain.images import check_grid
from neurolm.brain.preprocess import trim_run
from neurolm.brain.space import MESH_VERTICES, Surface
from neurolm.checks import FileError, InputError, bad, bad_file, check_choice
from neurolm.datasets.bids_files import FORMATS, BidsFile, Form, MetadataTree, events_file, find_files, preprocessed_runs
from neurolm.datasets.bids_stories import StoryRun, other_recordings, refuse, story_runs
from neurolm.datasets.bids_times import run_tr, sidecars, start_time
from neurolm.datasets.dataset import DatasetInfo, DatasetNotFound, Finding
from neurolm.progress import Progress, silent
from neurolm.stimuli import Mismatch, Transcript, mark_sentences, read_transcript
from neurolm.stimuli.text_file import read_annotation
from neurolm.storage import read_json

MASKS = ("common", "subject")
NON_STEADY = ("drop", "keep")
CONFOUNDS = ("timeseries", "regressors", "mixing", "AROMAnoiseICs")  # suffixes of the tables, and of their sidecars
SUBJECTS_APART = (
    "Subjects in native spaces share no voxels: choose a standard space with the option space, or analyse each subject in a "
    "config of its own, with `subjects: [ID]` below `dataset:` and the option `mask: subject`."
)
SMALL_COMMON_MASK = 0.8  # of the median subject's: below it some subject's mask is odd

INFO = DatasetInfo(
    name="bids",
    description="Any BIDS data set that fMRIPrep has preprocessed: your own, or one of OpenNeuro's.",
    design="As the data set says; every run is a story: the one that its events.tsv names, else its task: pieman, pieman_run-2.",
    format="sub-*/[ses-*/]func below the fMRIPrep folder: *_desc-preproc_bold.nii.gz with *_desc-brain_mask.nii.gz, "
    "*_hemi-L/R_space-fsaverage5_bold.func.gii, or *_bold.dtseries.nii; events.tsv and words beside them.",
    licence="as the data set says",
    citation="as the data set says",
    url="https://openneuro.org",
    facts=(
        "Words come from <words>/<story>.TextGrid (.tsv, .csv, .json), else from the runs' own events.tsv; sentences and paragraphs "
        "from the punctuation of <words>/<story>.txt, where that plain text lies beside them.",
        "A run is the story whose words file has the name of a stim_file in its events.tsv, or of a trial_type; else of its file.",
        "Rows lie on the clock of the story: it starts where events.tsv names the story, or at the option onset_s.",
        "Where fMRIPrep corrected for slice times, the sidecar's StartTime says to which moment of the TR.",
        "Volumes of several subjects are read in the mask that all of them have (mask: common), or each in its own (mask: subject).",
        "Events and sidecars hold for every run below their folder, the nearest first (BIDS inheritance); run-1 and run-01 are one.",
        "Confounds are removed only where the option confounds names a strategy, and fitted without the volumes that fMRIPrep flags "
        "as non-steady state. The option non_steady: drop drops those at the start of a run; no other volume is dropped.",
    ),
)


class Bids:
    """A BIDS tree and its fMRIPrep derivatives.

    Parameters
    ----------
    folder : path
        The BIDS folder, or fMRIPrep's own.
    derivatives : path, optional
        fMRIPrep's folder, relative to `folder`; by default derivatives/fmriprep, derivatives, or `folder` itself.
    space : str
        As in the file names: MNI152NLin2009cAsym, fsaverage5, fsLR; with the cohort of a template that has some:
        "MNIPediatricAsym:cohort-2".
    res, den, desc, format : str, optional
        Where a run is there in several resolutions ("2"), densities ("91k"), descriptions ("preproc", the default of
        volumes; "smoothAROMAnonaggr"), or formats ("nifti", "gifti", "cifti").
    words : path, optional
        Folder with <story>.TextGrid (.tsv, .csv, .json), named as stim_file or trial_type in events.tsv, or as the run or
        its task; default stimuli/.
        A plain text beside it, <story>.txt, gives sentences and paragraphs.
    tier : str, optional
        Of TextGrids, where several could hold the words.
    onset_s : float, optional
        Scan time (s) at which the clock of the words began; by default as events.tsv says.
    confounds : sequence of str, optional
        Strategies of `read_confounds` to regress out: ["motion", "high_pass", "wm_csf"].
    mask : path, "common" or "subject"
        Of volumes. "common": voxels in the brain masks of all runs of all subjects.
    tr : float, optional
        Seconds, where header and sidecar disagree or say nothing.
    non_steady : {"drop", "keep"}
        What happens to the volumes at the start of a run that fMRIPrep's confounds flag as non-steady state. By default
        they are kept, and `check` asks for a choice. They are never used to fit confounds.

    Raises
    ------
    DatasetNotFound
        If no folder is named.
    """

    is_simulated = False

    def __init__(
        self,
        *,
        folder: str | Path | None = None,
        derivatives: str | Path | None = None,
        space: str = "MNI152NLin2009cAsym",
        res: str | int | None = None,
        den: str | int | None = None,
        desc: str | None = None,
        format: str | None = None,
        words: str | Path | None = None,
        tier: str | None = None,
        onset_s: float | None = None,
        confounds: str | Sequence[str] = (),
        mask: str | Path = "common",
        tr: float | None = None,
        non_steady: str | None = None,
    ) -> None:
        if folder is None:
            raise DatasetNotFound("bids: no folder is named. Set the option folder: to the BIDS folder, or to fMRIPrep's own.")
        paths = {"folder": folder, "derivatives": derivatives, "words": words, "mask": mask}
        texts = {"space": space, "desc": desc, "format": format, "tier": tier}
        for name, text in (paths | texts).items():
            if (text is not None or name == "space") and not isinstance(text, (str, Path) if name in paths else str):
                raise bad(name, "be text", text, "Put it into quotes.")
        if format is not None:
            check_choice("format", format, sorted(set(FORMATS.values())))
        if non_steady is not None:
            check_choice("non_steady", non_steady, NON_STEADY)
        if tr is not None and not (_is_number(tr) and 0.1 <= tr <= 30):
            raise bad("tr", "be seconds between 0.1 and 30", tr)
        if onset_s is not None and not _is_number(onset_s):
            raise bad("onset_s", "be a finite number of seconds", onset_s)
        if not isinstance(confounds, (str, list, tuple)) or not all(isinstance(one, str) for one in confounds):
            raise bad("confounds", "be a list of strategies", confounds, "For example [motion, high_pass].")
        if not Path(folder).is_dir():
            raise bad_file(folder, "no such folder", "Name the BIDS folder, or fMRIPrep's own.")
        self.folder: Path | None = Path(folder)
        self._root = Path(folder)
        self._preprocessed = _derivatives(self._root, derivatives)
        self.form = Form(space=space, res=res, den=den, desc=desc, format=format)
        self.space, self.mask, self.tr, self.onset_s = self.form.name, mask, tr, onset_s
        self.tier, self.non_steady = tier, non_steady
        self.confounds = (confounds,) if isinstance(confounds, str) else tuple(confounds)
        self.words = Path(words) if words is not None else self._root / "stimuli"
        if words is not None and not self.words.is_dir():
            raise bad_file(words, "no such folder", "Name the folder that holds <story>.TextGrid, .tsv, .csv or .json.")
        self._files = find_files(self._preprocessed)
        self._runs = preprocessed_runs(self._files, self._preprocessed, self.form)
        self._derived, self._raw = MetadataTree(self._preprocessed), MetadataTree(self._root)

    @cached_property
    def info(self) -> DatasetInfo:
        """What is known of any BIDS data set, and what dataset_description.json says of this one."""
        path = self._root / "dataset_description.json"
        said = read_json(path) if os.path.lexists(path) else {}
        if not isinstance(said, dict):
            raise bad_file(path, "does not map names to values", "Mend it as BIDS asks.")
        authors = said.get("Authors")
        names = ", ".join(map(str, authors)) if isinstance(authors, list) else ""
        cited = said.get("HowToAcknowledge") or said.get("DatasetDOI") or ""
        stories = self.stories()
        shown = ", ".join(stories[:6]) + (f" and {len(stories) - 6} more" if len(stories) > 6 else "")
        known = {
            "design": f"{len(self.subjects())} listeners with preprocessed runs; {len(stories)} runs: {shown}",
            "name": said.get("Name"),
            "licence": said.get("License") or said.get("Licence"),
            "citation": ". ".join(str(part) for part in (names, said.get("Name"), cited) if part),
            "url": said.get("DatasetDOI"),
        }
        described: dict[str, Any] = {key: str(value) for key, value in known.items() if value}
        return replace(INFO, **described)

    def subjects(self) -> list[str]:
        """Listeners with at least one preprocessed run, as "01"."""
        return self._runs.subjects

    def stories(self, subject: str | None = None) -> list[str]:
        """Stories as events.tsv names them, else the task, and session and run where the file names have them."""
        return sorted({story for who, story in self._heard if subject in (None, who)})

    @cached_property
    def _heard(self) -> dict[tuple[str, str], StoryRun]:
        """The run of every subject and story."""
        trees = [self._derived, self._raw]
        events = {key: events_file(trees, images[0]) for key, images in self._runs.images.items()}
        return story_runs(self._runs.images, events, self.words)

    def transcript(self, story: str) -> Transcript:
        """The words of a run, from the words folder or from events.tsv."""
        check_choice("story", story, self.stories())
        run = self._run_of(story)
        refuse(run)
        path = run.words_file()
        if path is not None:
            return replace(self._marked(path)[0], name=story)
        events = next((one.events.path for one in self._all_runs_of(story) if one.events is not None), None)
        if events is None:
            names = " or ".join(dict.fromkeys(f"{name}.TextGrid" for name in (run.run, run.task)))
            raise bad_file(self.words, f"holds no words of {story!r}, and no events.tsv does", f"Put {names} there.")
        try:
            return replace(read_transcript(events), name=story)
        except InputError as error:
            hint = f"Or put the words into {self.words / story}.TextGrid (.tsv, .csv, .json)."
            raise FileError(f"{error} {hint}") from None

    def _marked(self, path: Path) -> tuple[Transcript, tuple[Mismatch, ...]]:
        """Words with the marks of the plain text beside them, and where both differ."""
        words, text = read_transcript(path, tier=self.tier if path.suffix == ".TextGrid" else None), path.with_suffix(".txt")
        if not os.path.lexists(text):
            return words, ()
        try:
            marked = mark_sentences(words, read_annotation(text))
        except InputError as error:
            raise bad_file(text, f"is not the text of {path.name} ({error})", "Correct it, or take it away.") from None
        return marked.transcript, marked.mismatches

    def bold(self, subject: str, story: str) -> BoldRun:
        """One run in the option's space, its rows on the clock of the words; confounds removed where asked for."""
        images = self._images(subject, story)
        refuse(self._heard[subject, story])
        tr = run_tr(images, self._derived, self._raw, self.tr)
        first = start_time(images, self._derived, tr) - self._onset(subject, story)
        names = {"subject": subject, "story": story}
        path = images[0].path
        if len(images) == 2:
            run = read_surface_bold(path, images[1].path, self.space, first_tr_s=first, tr=tr, **names)
        elif images[0].extension == ".dtseries.nii":
            run = read_cifti_bold(path, first_tr_s=first, tr=tr, mesh=self.space, **names)
        else:
            run = read_bold(path, self._mask_of(subject), first_tr_s=first, tr=tr, **names)
        flagged = self._flagged(images, run.n_trs)
        if self.confounds:
            values, _ = read_confounds([image.path for image in images], self.confounds)
            _check_rows(path, run.n_trs, len(values))
            run = regress_out(run, values, without=flagged)
        return trim_run(run, _n_leading(flagged)) if self.non_steady == "drop" else run

    def _flagged(self, images: Sequence[BidsFile], n_trs: int) -> np.ndarray:
        """(n_trs,) True where fMRIPrep flags a volume as non-steady state."""
        flagged = non_steady_volumes(images[0].path)
        if flagged is None:
            return np.zeros(n_trs, dtype=bool)
        _check_rows(images[0].path, n_trs, len(flagged))
        return flagged

    def files(self, story: str, subject: str | None = None) -> list[Path]:
        """The words with the plain text beside them; or a subject's images, sidecars, masks, events and confounds.

        Words are among a run's own files where they stand in events.tsv and therefore say when its story began.
        """
        words = self._files_of_words(story)
        if subject is None:
            return words
        images, run = self._images(subject, story), self._heard[subject, story]
        files = [image.path for image in images]
        files += sidecars(images, self._derived, self._raw)
        if len(images) == 1 and images[0].extension != ".dtseries.nii":
            files += self._files_of_mask(subject)
        if self.onset_s is None:
            files += [] if run.events is None else [run.events.path]
            files += [] if run.words else words  # else their first word says when the story began
        table = confounds_file(images[0].path)
        files += [] if table is None else [table]
        if self.confounds:
            files += [file.path for file in self._confounds.get((subject, run.run), [])]
        return list(dict.fromkeys(files))

    def _files_of_words(self, story: str) -> list[Path]:
        check_choice("story", story, self.stories())
        words = self._run_of(story).words_file()
        if words is not None:
            return [path for path in (words, words.with_suffix(".txt")) if path.is_file()]
        return [one.events.path for one in self._all_runs_of(story) if one.events is not None][:1]

    def _files_of_mask(self, subject: str) -> list[Path]:
        if self.mask in MASKS:
            return self._every_mask if self.mask == "common" else self._mask_files(subject)
        return [self._named_mask_file]

    @cached_property
    def _confounds(self) -> dict[tuple[str, str], list[BidsFile]]:
        """Whatever fMRIPrep left beside each run that nilearn may take confounds from."""
        tables: dict[tuple[str, str], list[BidsFile]] = {}
        for file in self._files:
            if file.suffix in CONFOUNDS:
                tables.setdefault((file.subject, file.run), []).append(file)
        return tables

    @cached_property
    def _every_mask(self) -> list[Path]:
        return [file for subject in self.subjects() for file in self._mask_files(subject)]

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Read every transcript and every run that is here; one problem for each that cannot be used."""
        findings = []
        for story in self.stories():
            try:
                findings.append(Finding("ok", f"{len(self.transcript(story)):,} words", story))
                path = self._run_of(story).words_file()
                if path is not None and (differ := self._marked(path)[1]):
                    shown = "; ".join(str(one) for one in differ[:3])
                    findings.append(Finding("note", f"text and words differ in {len(differ)} places: {shown}", story))
            except InputError as error:
                findings.append(Finding("problem", str(error), story))
        keys = sorted(self._heard)
        for i, (subject, story) in enumerate(keys):
            where = f"sub-{subject} {story}"
            try:
                run = self.bold(subject, story)
                note = f"; {n} constant or NaN" if (n := int(run.bad_voxels.sum())) else ""
                what = f"{run.n_trs} volumes, TR {run.tr:g} s, from {run.tr_times[0]:g} s; {run.n_voxels:,} columns{note}"
                findings.append(Finding("ok", what, where))
                findings += [Finding(level, said, where) for level, said in self._oddities(subject, story, run)]
                heard = self._heard[subject, story]
                if other := ", ".join(sorted(other_recordings(heard))):
                    words = heard.words[0].name
                    note = f"its words come from {words} by its file name, its events.tsv names {other}"
                    findings.append(Finding("note", note, where))
            except InputError as error:
                findings.append(Finding("problem", str(error), where))
            progress(i + 1, len(keys), "runs", where)
        return [*findings, *self._check_masks(), *(Finding("note", fact) for fact in INFO.facts)]

    def _oddities(self, subject: str, story: str, run: BoldRun) -> list[tuple[str, str]]:
        """What a run that can be read should make one look: (level, what)."""
        found = []
        images = self._images(subject, story)
        flagged = non_steady_volumes(images[0].path)
        if flagged is not None and flagged.any():
            n = _n_leading(flagged)
            said = f"{flagged.sum()} volumes are flagged as non-steady state by fMRIPrep, {n} of them at the start of the run"
            if self.non_steady is None:
                said += "; they are kept. Set the option non_steady: drop (those at the start), or non_steady: keep"
            else:
                said += ": dropped" if self.non_steady == "drop" else ": kept (non_steady: keep)"
            found.append(("problem" if self.non_steady is None else "note", said))
        if isinstance(run.space, Surface) and (expected := MESH_VERTICES.get(run.space.mesh)):
            sizes = run.space.n_left, run.space.n_right
            if sizes != (expected, expected):
                said = f"has {sizes[0]:,} and {sizes[1]:,} vertices, {run.space.mesh} {expected:,} in each hemisphere"
                found.append(("problem", f"{images[0].path.name} {said}: its maps cannot be drawn"))
        return found

    def _check_masks(self) -> list[Finding]:
        if self.mask != "common" or not self._has_volumes():
            return []
        try:
            common = self._common_mask.n_voxels
            sizes = [self._subject_mask(subject).n_voxels for subject in self.subjects()]
        except InputError as error:
            return [Finding("problem", str(error), "mask")]
        share = common / float(np.median(sizes))
        level = "ok" if share >= SMALL_COMMON_MASK else "problem"
        return [Finding(level, f"{common:,} voxels are in every brain mask, {share:.0%} of the median subject's", "mask")]

    def _images(self, subject: str, story: str) -> tuple[BidsFile, ...]:
        check_choice("subject", subject, self.subjects())
        check_choice(f"story of sub-{subject}", story, self.stories(subject))
        return self._runs.images[subject, self._heard[subject, story].run]

    def _has_volumes(self) -> bool:
        images = next(iter(self._runs.images.values()))
        return len(images) == 1 and images[0].extension != ".dtseries.nii"

    def _mask_of(self, subject: str) -> VolumeMask:
        if self.mask == "common":
            return self._common_mask
        return self._subject_mask(subject) if self.mask == "subject" else self._named_mask

    @property
    def _named_mask_file(self) -> Path:
        path = Path(self.mask)
        return path if os.path.lexists(path) else self._root / path

    @cached_property
    def _named_mask(self) -> VolumeMask:
        return read_mask(self._named_mask_file, self.space)

    @cached_property
    def _common_mask(self) -> VolumeMask:
        return _intersection(self._every_mask, self._preprocessed, self.space, SUBJECTS_APART)

    def _subject_mask(self, subject: str) -> VolumeMask:
        return _intersection(self._mask_files(subject), self._preprocessed, self.space)

    def _mask_files(self, subject: str) -> list[Path]:
        """The brain masks of a subject's runs, beside their images."""
        used = {image.path for (who, _), images in self._runs.images.items() if who == subject for image in images}
        masks = [path.with_name(re.sub("_desc-[^_]*_bold", "_desc-brain_mask", path.name)) for path in sorted(used)]
        for path in masks:
            if not os.path.lexists(path):
                raise bad_file(path, "no such file", "Copy the mask that fMRIPrep wrote, or name one with the option mask.")
        return masks

    def _all_runs_of(self, story: str) -> list[StoryRun]:
        return [run for (_, name), run in self._heard.items() if name == story]

    def _run_of(self, story: str) -> StoryRun:
        """The first run of a story; one that can be read, where there is one."""
        return min(self._all_runs_of(story), key=lambda run: bool(run.problem))

    def _onset(self, subject: str, story: str) -> float:
        """Scan time at which the clock of the words began."""
        if self.onset_s is not None:
            return self.onset_s
        run = self._heard[subject, story]
        if run.words:
            return run.onset()
        if run.events is None:
            raise bad_file(self._root, f"holds no events.tsv of sub-{subject}, {story}", "Or set the option onset_s.")
        own, first = read_transcript(run.events.path), self.transcript(story)
        if own.words != first.words or np.ptp(own.onsets - first.onsets) > 0.1:
            problem = f"has other words, or other times, than the first subject's {story}"
            raise bad_file(run.events.path, problem, "Name each recording in a column stim_file, or give them own tasks.")
        return float(own.onsets[0] - first.onsets[0])


def _derivatives(root: Path, named: str | Path | None) -> Path:
    if named is not None:
        folder = root / named
        if not folder.is_dir():
            raise bad_file(folder, "no such folder", "Name fMRIPrep's folder with the option derivatives.")
        return folder
    places = [root / "derivatives" / "fmriprep", root / "derivatives", root]
    return next(place for place in places if place == root or any(place.glob("sub-*")))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _n_leading(flagged: np.ndarray) -> int:
    """How many volumes at the start are flagged, without a gap."""
    return len(flagged) if flagged.all() else int(np.argmin(flagged))


def _check_rows(path: Path, n_trs: int, n_rows: int) -> None:
    if n_rows != n_trs:
        raise bad_file(path, f"has {n_trs} volumes, its confounds {n_rows} rows", "Copy both from one fMRIPrep run.")


def _intersection(paths: Sequence[Path], root: Path, template: str, advice: str = "Resample one of them first.") -> VolumeMask:
    """Voxels that every mask has."""
    first = read_mask(paths[0], template)
    kept = first.mask.copy()
    for path in paths[1:]:
        other = read_mask(path)
        check_grid(path, other.mask.shape, other.affine, first, advice)
        kept &= other.mask
    if not kept.any():
        raise bad_file(root, f"has {len(paths)} brain masks without a common voxel", "Look at the masks.")
    return replace(first, mask=kept)
