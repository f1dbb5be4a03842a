"""Rows that `preprocess.trim_transients` drops: what the runs of an analysis say, judged by its training rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.storage import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neurolm.brain import BoldRun
    from neurolm.brain.transients import EdgeRows
    from neurolm.datasets.alignment_check import AlignmentCheck

DEVIATIONS = "stimuli/row_deviations.json"  # of every story, written by the check


def dropped_rows(plan: Any) -> EdgeRows:
    """How many rows leave the beginning and the end of every run."""
    from neurolm.brain.transients import EdgeRows
    from neurolm.cli.plan import check_stage
    from neurolm.cli.stages import is_current

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


def edge_rows(plan: Any, deviations: Mapping[str, np.ndarray], tr: float) -> EdgeRows:
    """The rule of `neurolm.brain.transients` with the training rows of this analysis."""
    from neurolm.brain.transients import edge_transients

    each = [deviations[story] for story in plan.stories]
    return edge_transients(each, tr, _training_rows(plan, [len(d) for d in each]))


def deviation_of(plan: Any, runs: Mapping[str, BoldRun]) -> tuple[np.ndarray, float]:
    """Deviation of each row of one story from the drift that the config removes, mean over subjects; and the TR."""
    from neurolm.brain.transients import mean_deviation

    measured = list(runs.values())
    return mean_deviation(measured, plan.config.preprocess.detrend_degree), measured[0].tr


def with_transients(
    plan: Any, checks: Sequence[AlignmentCheck], deviations: Mapping[str, np.ndarray], tr: float
) -> list[AlignmentCheck]:
    """The checks of all stories, each with what its edges look like and what the config does about it."""
    from neurolm.brain.transients import edge_transients
    from neurolm.datasets.alignment_check import transient_finding

    asked = plan.config.preprocess.trim_transients
    dropped = edge_rows(plan, deviations, tr) if asked == "auto" else None
    found = [transient_finding(edge_transients([deviations[s]], tr), tr, asked, dropped) for s in plan.stories]
    return [replace(check, findings=(*check.findings, one)) for check, one in zip(checks, found, strict=True)]


def keep_deviations(plan: Any, deviations: Mapping[str, np.ndarray], tr: float) -> None:
    """Write what the check has seen for the steps after it."""
    kept = {story: [None if x != x else float(x) for x in d] for story, d in deviations.items()}
    write_json(plan.output / DEVIATIONS, {"tr": tr, "stories": kept})


def untrimmed_runs(plan: Any, story: str, dropped: EdgeRows | None = None) -> dict[str, BoldRun]:
    """Every subject's run of one story with the volumes that `trim_start` and `trim_end` leave, less `dropped`."""
    from neurolm.brain.preprocess import trim_run

    start, end = (dropped.start, dropped.end) if dropped else (0, 0)
    steps = plan.config.preprocess
    return {s: trim_run(plan.dataset.bold(s, story), steps.trim_start + start, steps.trim_end + end) for s in plan.subjects}


def _training_rows(plan: Any, lengths: list[int]) -> list[np.ndarray]:
    """The rows that each fold fits: all but those of `test_stories`, or folds over stories or blocks of the only one."""
    from neurolm.cli.story_runs import stimuli
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
