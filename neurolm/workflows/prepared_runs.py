"""Runs as they are analysed: trimmed, without onset transients, detrended, z-scored, repeats of a story averaged.

Repeats of a story, by its words and times, become one run for each stimulus on the rows that all have. Rows that
`preprocess.trim_transients` drops are found in the runs of the analysis, by its training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from neurolm.storage import read_json, write_json
from neurolm.workflows.stages import is_current
from neurolm.workflows.study import Study, check_stage

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.brain.transients import EdgeRows
    from neurolm.datasets.alignment_check import AlignmentCheck

SAME_TIMES_S = 0.1
DEVIATIONS = "stimuli/row_deviations.json"  # of every story, written by the check


@dataclass(frozen=True, eq=False)
class HeardStories:
    """What is fitted and predicted.

    names : the stories of each stimulus; more than one where it was heard again
    runs : for each subject one run for each stimulus, the mean over its repeats
    dropped : rows that were dropped as transients, of every run
    repeats : for each subject and stimulus the runs that were averaged
    """

    names: tuple[tuple[str, ...], ...]
    runs: dict[str, list[BoldRun]]
    repeats: dict[str, list[list[BoldRun]]]
    dropped: EdgeRows

    @property
    def stories(self) -> tuple[str, ...]:
        """One name for each stimulus."""
        return tuple(names[0] for names in self.names)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which stories were averaged, and which rows were dropped."""
        averaged = tuple(f"{', '.join(names)} have the same words: averaged." for names in self.names if len(names) > 1)
        rows = (
            f"dropped as transients: {self.dropped.start} rows at the beginning and {self.dropped.end} at the end of every run."
        )
        return (*averaged, rows) if self.dropped else averaged


def stimuli(plan: Study) -> tuple[tuple[str, ...], ...]:
    """The stories of a plan, those with the same words at the same times together."""
    groups: list[list[str]] = []
    for story in plan.stories:
        mine = plan.dataset.transcript(story)
        for group in groups:
            other = plan.dataset.transcript(group[0])
            if mine.words == other.words and np.abs(mine.onsets - other.onsets).max() <= SAME_TIMES_S:
                group.append(story)
                break
        else:
            groups.append([story])
    return tuple(tuple(group) for group in groups)


def heard_stories(plan: Study) -> HeardStories:
    """Every subject's runs after the config's per-run steps, repeats averaged."""
    from neurolm.brain.preprocess import common_rows, mean_run, zscore_run

    names, dropped = stimuli(plan), dropped_rows(plan)
    found = HeardStories(names, {s: [] for s in plan.subjects}, {s: [] for s in plan.subjects}, dropped)
    for group in names:
        measured = [(subject, run) for story in group for subject, run in runs_of(plan, story, dropped).items()]
        rows = common_rows([run for _, run in measured])
        if plan.config.preprocess.zscore:
            rows = [zscore_run(run) for run in rows]
        for subject in plan.subjects:
            own = [run for (who, _), run in zip(measured, rows, strict=True) if who == subject]
            found.repeats[subject].append(own)
            found.runs[subject].append(own[0] if len(own) == 1 else mean_run(own, subject))
    return found


def prepared_runs(plan: Study, story: str, dropped: EdgeRows) -> dict[str, BoldRun]:
    """Every subject's run of one story after the config's per-run steps, on the rows that all have."""
    from neurolm.brain.preprocess import common_rows, zscore_run

    runs = common_rows(list(runs_of(plan, story, dropped).values()))
    return {subject: zscore_run(run) if plan.config.preprocess.zscore else run for subject, run in zip(plan.subjects, runs)}


def runs_of(plan: Study, story: str, dropped: EdgeRows) -> dict[str, BoldRun]:
    """Every subject's run of one story, trimmed (`dropped_rows` too) and detrended, on its own rows."""
    return {subject: detrended(plan, run) for subject, run in untrimmed_runs(plan, story, dropped).items()}


def detrended(plan: Study, run: BoldRun) -> BoldRun:
    from neurolm.brain.preprocess import detrend_legendre

    degree = plan.config.preprocess.detrend_degree
    return run if degree is None else detrend_legendre(run, degree)


def dropped_rows(plan: Study) -> EdgeRows:
    """How many rows leave the beginning and the end of every run."""
    from neurolm.brain.transients import EdgeRows

    asked = plan.config.preprocess.trim_transients
    if asked in ("off", 0):
        return EdgeRows()
    if asked != "auto":
        n = round(asked / plan.dataset.bold(plan.subjects[0], plan.stories[0]).tr)
        return EdgeRows(n, n)
    if hasattr(plan, "reads") and (plan.output / DEVIATIONS).is_file() and is_current(check_stage(plan)):
        kept = read_json(plan.output / DEVIATIONS)
        return edge_rows(plan, {story: np.array(d, dtype=float) for story, d in kept["stories"].items()}, kept["tr"])
    deviations, tr = {}, 0.0
    for story in plan.stories:
        deviations[story], tr = deviation_of(plan, untrimmed_runs(plan, story))
    return edge_rows(plan, deviations, tr)


def edge_rows(plan: Study, deviations: Mapping[str, np.ndarray], tr: float) -> EdgeRows:
    """The rule of `neurolm.brain.transients` with the training rows of this analysis."""
    from neurolm.brain.transients import edge_transients

    each = [deviations[story] for story in plan.stories]
    return edge_transients(each, tr, _training_rows(plan, [len(d) for d in each]))


def deviation_of(plan: Study, runs: Mapping[str, BoldRun]) -> tuple[np.ndarray, float]:
    """Deviation of each row of one story from the drift that the config removes, mean over subjects; and the TR."""
    from neurolm.brain.transients import mean_deviation

    measured = list(runs.values())
    return mean_deviation(measured, plan.config.preprocess.detrend_degree), measured[0].tr


def with_transients(
    plan: Study, checks: Sequence[AlignmentCheck], deviations: Mapping[str, np.ndarray], tr: float
) -> list[AlignmentCheck]:
    """The checks of all stories, each with what its edges look like and what the config does about it."""
    from neurolm.brain.transients import edge_transients
    from neurolm.datasets.alignment_check import transient_finding

    asked = plan.config.preprocess.trim_transients
    dropped = edge_rows(plan, deviations, tr) if asked == "auto" else None
    found = [transient_finding(edge_transients([deviations[s]], tr), tr, asked, dropped) for s in plan.stories]
    return [replace(check, findings=(*check.findings, one)) for check, one in zip(checks, found, strict=True)]


def keep_deviations(plan: Study, deviations: Mapping[str, np.ndarray], tr: float) -> None:
    """Write what the check has seen for the steps after it."""
    kept = {story: [None if x != x else float(x) for x in d] for story, d in deviations.items()}
    write_json(plan.output / DEVIATIONS, {"tr": tr, "stories": kept})


def untrimmed_runs(plan: Study, story: str, dropped: EdgeRows | None = None) -> dict[str, BoldRun]:
    """Every subject's run of one story with the volumes that `trim_start` and `trim_end` leave, less `dropped`."""
    from neurolm.brain.preprocess import trim_run

    start, end = (dropped.start, dropped.end) if dropped else (0, 0)
    steps = plan.config.preprocess
    return {s: trim_run(plan.dataset.bold(s, story), steps.trim_start + start, steps.trim_end + end) for s in plan.subjects}


def _training_rows(plan: Study, lengths: list[int]) -> list[np.ndarray]:
    """The rows that each fold fits: all but those of `test_stories`, or folds over stories or blocks of the only one."""
    from neurolm.encoding.crossval import run_folds

    heard = stimuli(plan)
    group = [next(i for i, names in enumerate(heard) if story in names) for story in plan.stories]
    section = getattr(plan.config, "encode", None) or getattr(plan.config, "fit", None)
    test = {group[plan.stories.index(s)] for s in getattr(section, "test_stories", ()) if s in plan.stories}
    onsets = np.cumsum([0, *lengths])
    if test:
        return [np.concatenate([np.arange(a, b) for g, a, b in zip(group, onsets, onsets[1:]) if g not in test])]
    folds, gap = getattr(section, "folds", 5), getattr(section, "gap", 5)
    return [train for train, _ in run_folds(onsets[:-1], int(onsets[-1]), folds, gap, run_groups=np.array(group))]
