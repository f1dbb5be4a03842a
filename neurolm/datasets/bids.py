"""Any BIDS data set with fMRIPrep's output: volumes in a mask, surfaces on fsaverage, CIFTI dense series."""

from __future__ import annotations

import math
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
from neurolm.brain.images import check_grid
from neurolm.checks import FileError, InputError, bad, bad_file, check_choice
from neurolm.datasets.bids_files import BidsFile, find_files, preprocessed_runs
from neurolm.datasets.bids_stories import StoryRun, other_recordings, refuse, story_runs
from neurolm.datasets.bids_times import run_tr, start_time
from neurolm.datasets.dataset import DatasetInfo, DatasetNotFound, Finding
from neurolm.progress import Progress, silent
from neurolm.stimuli import Mismatch, Transcript, mark_sentences, read_transcript
from neurolm.stimuli.text_file import read_annotation
from neurolm.storage import read_json

MASKS = ("common", "subject")
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
        "Confounds are removed only where the option confounds names a strategy; no volume is ever dropped.",
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
        As in the file names: MNI152NLin2009cAsym, fsaverage5, fsaverage6, fsLR.
    res : str, optional
        Where a run is there in several resolutions: "2".
    words : path, optional
        Folder with <story>.TextGrid (.tsv, .csv, .json), named as stim_file or trial_type in events.tsv, or as the run or
        its task; default stimuli/.
        A plain text beside it, <story>.txt, gives sentences and paragraphs.
    onset_s : float, optional
        Scan time (s) at which the clock of the words began; by default as events.tsv says.
    confounds : sequence of str, optional
        Strategies of `read_confounds` to regress out: ["motion", "high_pass", "wm_csf"].
    mask : path, "common" or "subject"
        Of volumes. "common": voxels in the brain masks of all runs of all subjects.
    tr : float, optional
        Seconds, where header and sidecar disagree or say nothing.

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
        words: str | Path | None = None,
        onset_s: float | None = None,
        confounds: Sequence[str] = (),
        mask: str | Path = "common",
        tr: float | None = None,
    ) -> None:
        if folder is None:
            raise DatasetNotFound("bids: no folder is named. Set the option folder: to the BIDS folder, or to fMRIPrep's own.")
        for name, text in {"folder": folder, "derivatives": derivatives, "space": space, "words": words, "mask": mask}.items():
            if text is not None and not isinstance(text, (str, Path)):
                raise bad(name, "be text", text, "Put it into quotes.")
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
        self.space, self.mask, self.tr, self.onset_s = space, mask, tr, onset_s
        self.confounds = (confounds,) if isinstance(confounds, str) else tuple(confounds)
        self.words = Path(words) if words is not None else self._root / "stimuli"
        if words is not None and not self.words.is_dir():
            raise bad_file(words, "no such folder", "Name the folder that holds <story>.TextGrid, .tsv, .csv or .json.")
        self._files = find_files(self._preprocessed)
        self._runs = preprocessed_runs(self._files, self._preprocessed, space, None if res is None else str(res))

    @cached_property
    def info(self) -> DatasetInfo:
        """What is known of any BIDS data set, and what dataset_description.json says of this one."""
        path = self._root / "dataset_description.json"
        said = read_json(path) if path.is_file() else {}
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
        events = {key: self._events(*key) for key in self._runs.images}
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
        words, text = read_transcript(path), path.with_suffix(".txt")
        if not text.is_file():
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
        tr = run_tr(images, self._raw(subject, self._heard[subject, story].run), self._root, self._preprocessed, self.tr)
        first = start_time(images, tr) - self._onset(subject, story)
        names = {"subject": subject, "story": story}
        path = images[0].path
        if len(images) == 2:
            run = read_surface_bold(path, images[1].path, self.space, first_tr_s=first, tr=tr, **names)
        elif images[0].extension == ".dtseries.nii":
            run = read_cifti_bold(path, first_tr_s=first, tr=tr, mesh=self.space, **names)
        else:
            run = read_bold(path, self._mask_of(subject), first_tr_s=first, tr=tr, **names)
        if not self.confounds:
            return run
        values, _ = read_confounds([image.path for image in images], self.confounds)
        if len(values) != run.n_trs:
            raise bad_file(path, f"has {run.n_trs} volumes, its confounds {len(values)} rows", "Copy both from one fMRIPrep run.")
        return regress_out(run, values)

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
                heard = self._heard[subject, story]
                if other := ", ".join(sorted(other_recordings(heard))):
                    words = heard.words[0].name
                    note = f"its words come from {words} by its file name, its events.tsv names {other}"
                    findings.append(Finding("note", note, where))
            except InputError as error:
                findings.append(Finding("problem", str(error), where))
            progress(i + 1, len(keys), "runs", where)
        return [*findings, *self._check_masks(), *(Finding("note", fact) for fact in INFO.facts)]

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

    @cached_property
    def _named_mask(self) -> VolumeMask:
        path = Path(self.mask)
        return read_mask(path if path.is_file() else self._root / path)

    @cached_property
    def _common_mask(self) -> VolumeMask:
        return _intersection([file for s in self.subjects() for file in self._mask_files(s)], self._preprocessed)

    def _subject_mask(self, subject: str) -> VolumeMask:
        return _intersection(self._mask_files(subject), self._preprocessed)

    def _mask_files(self, subject: str) -> list[Path]:
        """The brain masks of a subject's runs, beside their images."""
        used = {image.path for (who, _), images in self._runs.images.items() if who == subject for image in images}
        masks = [path.with_name(path.name.replace("_desc-preproc_bold", "_desc-brain_mask")) for path in sorted(used)]
        for path in masks:
            if not path.is_file():
                raise bad_file(path, "no such file", "Copy the mask that fMRIPrep wrote, or name one with the option mask.")
        return masks

    @cached_property
    def _raw_files(self) -> dict[tuple[str, str], list[BidsFile]]:
        """Files of the raw tree by (subject, run): events and sidecars."""
        files: dict[tuple[str, str], list[BidsFile]] = {}
        for file in find_files(self._root):
            files.setdefault((file.subject, file.run), []).append(file)
        return files

    def _raw(self, subject: str, run: str) -> list[BidsFile]:
        return self._raw_files.get((subject, run), [])

    def _events(self, subject: str, run: str) -> Path | None:
        return next((file.path for file in self._raw(subject, run) if file.suffix == "events"), None)

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


def _intersection(paths: Sequence[Path], root: Path) -> VolumeMask:
    """Voxels that every mask has."""
    first = read_mask(paths[0])
    kept = first.mask.copy()
    for path in paths[1:]:
        other = read_mask(path)
        check_grid(path, other.mask.shape, other.affine, first)
        kept &= other.mask
    if not kept.any():
        raise bad_file(root, f"has {len(paths)} brain masks without a common voxel", "Look at the masks.")
    return VolumeMask(kept, first.affine)
