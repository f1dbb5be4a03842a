"""The plan that preflight checks look at, and checks of the data: names, transcripts, rows, voxels, time of words and BOLD."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.checks import bad, check_choice
from neurolm.datasets.dataset import Finding
from neurolm.progress import Progress, bytes_text, silent
from neurolm.temporal import story_gaps
from neurolm.workflows.output_folder import can_write, label
from neurolm.workflows.prepared_runs import stimuli
from neurolm.workflows.study import check_stories_heard, gap_limit

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.stimuli import Transcript


class Opened:
    """A plan with what its checks look at, each thing opened when it is first used.

    plan : the plan of any kind of analysis
    is_dry : no model is fetched, and estimates are wanted
    is_elsewhere : the steps run on other machines (a cluster): nothing is said of this one's devices and memory
    only_reads : the command writes no results: the output folder may be read-only
    """

    def __init__(self, plan: Any, *, is_dry: bool = False, is_elsewhere: bool = False, only_reads: bool = False) -> None:
        self.plan, self.is_dry, self.is_elsewhere, self.only_reads = plan, is_dry, is_elsewhere, only_reads
        self.report: Progress = silent
        self.models: dict[tuple[str, str | None], Any] = {}  # by name and vocabulary, those that were loaded for a check
        self.material: Any = None  # stories and runs of a decoding, opened by its check
        self.feature_bytes = 0  # what the features will take on disk; counted when the models have been looked at

    @property
    def kind(self) -> str:
        return str(self.plan.workflow)

    @cached_property
    def analyses(self) -> dict[str, Any]:
        """The plans that extract features, by the name of their model: one, or those of a comparison."""
        return dict(self.plan.analyses) if self.kind == "comparison" else {"": self.plan}

    @property
    def study(self) -> Any:
        """The plan that says which subjects, stories and per-run steps."""
        return next(iter(self.analyses.values()))

    @property
    def reads_words(self) -> bool:
        """Whether words are laid against the BOLD: intersubject correlation alone needs none."""
        return self.kind != "timescales" or list(self.plan.config.estimators) != ["isc"]

    @cached_property
    def transcripts(self) -> list[Transcript]:
        return [self.study.dataset.transcript(story) for story in self.study.stories]

    @cached_property
    def runs(self) -> dict[str, list[BoldRun]]:
        """Every subject's runs after trimming, as stand-ins: times and space are true, the BOLD takes no memory."""
        study, runs = self.study, dict[str, list["BoldRun"]]()
        n = len(study.subjects) * len(study.stories)
        for subject in study.subjects:
            runs[subject] = []
            for story in study.stories:
                runs[subject].append(stand_in(study, subject, story))
                self.report(sum(map(len, runs.values())), n, "runs", f"{subject} {story}")
        return runs

    @cached_property
    def fitted(self) -> tuple[list[Transcript], dict[str, list[BoldRun]]]:
        """Transcripts and every subject's stand-ins as they are fitted: on the rows that all have, and where repeats of a
        story are averaged (encoding, comparison) once for each stimulus."""
        study = self.study
        if self.kind not in ("encoding", "comparison"):
            return self.transcripts, self.common
        places = [[study.stories.index(story) for story in group] for group in stimuli(study)]
        return [self.transcripts[group[0]] for group in places], self._on_common_rows(places)

    @cached_property
    def common(self) -> dict[str, list[BoldRun]]:
        """Every subject's stand-ins, each story's on the rows that all subjects have."""
        return self._on_common_rows([[i] for i in range(len(self.study.stories))])

    def _on_common_rows(self, groups: Iterable[list[int]]) -> dict[str, list[BoldRun]]:
        """One run of every subject for each group of stories that share their words."""
        from neurolm.brain.preprocess import common_rows

        found: dict[str, list[BoldRun]] = {subject: [] for subject in self.runs}
        for group in groups:
            runs = common_rows([self.runs[subject][i] for subject in self.runs for i in group])
            for subject, run in zip(self.runs, runs[:: len(group)]):
                found[subject].append(run)
        return found


def output_folder(opened: Opened) -> Iterator[Finding]:
    """The folder for results can be made and written."""
    folder = Path(opened.plan.output)
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not place.is_dir():
        raise bad("output", "be a folder, or one that can be made", f"{folder}, where {place} is a file", "Name another folder.")
    if not can_write(folder):
        if not opened.only_reads:
            raise bad("output", "be a folder that can be written", f"{folder}, where {place} cannot", "Name another folder.")
        yield Finding("note", f"{folder} cannot be written: a run needs another folder (--output)")
        return
    yield Finding("ok", f"results go to {folder}; {bytes_text(shutil.disk_usage(place).free)} free")


def overrides(opened: Opened) -> Iterator[Finding]:
    """Names of checks of words against BOLD, which are looked up later."""
    from neurolm.datasets.alignment_check import NAMES

    for name in getattr(opened.study.config, "override", []):
        check_choice("override", name, NAMES)
    yield from ()


def names(opened: Opened) -> Iterator[Finding]:
    """Subjects who all heard the stories."""
    study = opened.study
    check_stories_heard(study.dataset, study.subjects, study.stories)
    yield Finding("ok", f"{len(study.subjects)} subjects, stories: {', '.join(study.stories)}")


def labels(opened: Opened) -> Iterator[Finding]:
    """Subjects and stories keep apart in file names, which hold letters and digits only."""
    for key in ("subjects", "stories"):
        seen: dict[str, str] = {}
        for name in getattr(opened.study, key):
            other = seen.setdefault(label(name).lower(), name)
            if other != name:
                raise bad(f"dataset.{key}", "differ in letters and digits, for file names", f"{other} and {name}", "Rename one.")
    yield from ()


def transcripts(opened: Opened) -> Iterator[Finding]:
    """Every transcript can be read."""
    for story in opened.transcripts:
        yield Finding("ok", f"{len(story):,} words from {story.onsets[0]:.1f} to {story.offsets[-1]:.1f} s", story.name)


def rows(opened: Opened) -> Iterator[Finding]:
    """Every run can be read, with its confounds and mask, and keeps rows after trimming and detrending."""
    from neurolm.brain.preprocess import legendre_basis

    degree, alike = opened.study.config.preprocess.detrend_degree, dict[str, list[str]]()
    for subject, runs in opened.runs.items():
        for run in runs:
            if degree is not None:
                legendre_basis(run.n_trs, degree)
        sizes = ", ".join(f"{run.n_trs} TRs of {run.tr:g} s" for run in runs[:4]) + (", ..." if len(runs) > 4 else "")
        alike.setdefault(f"{sizes}; {runs[0].n_voxels:,} voxels", []).append(subject)
    for sizes, subjects in alike.items():
        yield Finding("ok", sizes, ", ".join(subjects) if len(subjects) < 5 else f"{len(subjects)} subjects")
    fitted = next(iter(opened.fitted[1].values()))
    if any(run.n_trs != one.n_trs for runs in opened.runs.values() for run in runs for one in fitted if one.story == run.story):
        sizes = ", ".join(f"{run.n_trs}" for run in fitted[:6]) + (", ..." if len(fitted) > 6 else "")
        yield Finding("note", f"runs differ in their rows; the rows that all subjects have are used: {sizes} TRs")


def cover(opened: Opened) -> Iterator[Finding]:
    """Words and the BOLD rows that all subjects have cover the same time, with one TR, and delays are shorter than each run."""
    from neurolm.encoding import Design
    from neurolm.features import WordRate

    if not opened.reads_words:
        return
    features, config = [WordRate().extract(story) for story in opened.transcripts], opened.study.config
    delays, more = delays_of(config)
    section, limit = gap_limit(opened.study)
    for subject, runs in opened.common.items():
        for story, run in zip(opened.transcripts, runs, strict=True):
            late, misfit = story_gaps(story.mid_times, run.tr_times)
            if limit < (gap := max(late, -misfit)) < run.n_trs * run.tr / 2 and section:
                where = "before its first word" if late == gap else "after its last word"
                raise bad(f"{section}.max_gap_s", f"be at least {math.ceil(gap)}, for the rest in the scan of {subject} {story.name}"
                          f" {where}", f"{limit:g}", "Set it if the silence is meant; else check story, TR and trimming.")  # fmt: skip
        Design.from_training(features, runs, delays, **more)
    yield from ()


FOUNDATIONS = (names, transcripts, rows, cover)  # where one fails, every later check would fail for the same reason


def disk(opened: Opened) -> Iterator[Finding]:
    """The features fit on the disk: in the cache, and a copy with the results."""
    n_bytes = opened.feature_bytes
    folder = Path(opened.plan.output)
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if n_bytes > free:
        raise bad("output", f"have room for the features, {bytes_text(n_bytes)}", f"{bytes_text(free)} free at {place}",
                  "Ask for fewer layers, or name a folder on a larger disk.")  # fmt: skip
    if n_bytes:
        yield Finding("ok", f"features take {bytes_text(n_bytes)} of disk")


def delays_of(config: Any) -> tuple[Any, dict[str, Any]]:
    """FIR delays, and further settings of the design, of any kind of config."""
    if hasattr(config, "design"):
        return config.design.delays, {"lobes": config.design.lobes, "max_gap_s": config.design.max_gap_s}
    if hasattr(config, "fit"):
        return config.fit.delays, {"max_gap_s": config.fit.max_gap_s}
    return config.identify.delays, {}


def stand_in(study: Any, subject: str, story: str) -> BoldRun:
    """A run as the config trims it, whose BOLD is one zero repeated."""
    import numpy as np

    from neurolm.brain import BoldRun
    from neurolm.brain.preprocess import trim_run

    rows = getattr(study.dataset, "rows", None)  # of data sets whose BOLD takes long to make
    run = study.dataset.bold(subject, story) if rows is None else rows(subject, story)
    nothing = BoldRun(np.broadcast_to(np.float32(0), run.data.shape), run.tr_times, run.space, run.subject, run.story)
    return trim_run(nothing, study.config.preprocess.trim_start, study.config.preprocess.trim_end)
