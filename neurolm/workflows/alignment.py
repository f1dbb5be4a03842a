"""Check of words against BOLD: the stage before every analysis, with a figure of each run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from neurolm.checks import InputError
from neurolm.progress import progress, say
from neurolm.workflows.output_folder import can_write, label
from neurolm.workflows.prepared_runs import detrended, deviation_of, keep_deviations, untrimmed_runs, with_transients
from neurolm.workflows.run_processes import RUN_ID
from neurolm.workflows.stages import Stage
from neurolm.workflows.study import ALIGNMENT, Study, check_stage, gap_limit

if TYPE_CHECKING:
    import numpy as np

    from neurolm.brain import BoldRun
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.progress import Progress
    from neurolm.stimuli import Transcript


def alignment_stage(plan: Study) -> Stage:
    """The check as a stage that can be made."""
    return replace(check_stage(plan), function=partial(check_alignment, plan))


def check_alignment(plan: Study) -> list[AlignmentCheck]:
    """Check and draw every story of a plan and write what was found.

    Outside a run it also works where nothing can be written, and says so.

    Raises
    ------
    InputError
        If a check failed that the config does not override.
    """
    from neurolm.datasets.alignment_check import check_study
    from neurolm.storage import write_json

    is_kept = can_write(plan.output) or RUN_ID in os.environ
    section, max_gap_s = gap_limit(plan)
    with progress("check") as report:
        stories = _Stories(plan, report)
        checks = check_study(stories, max_gap_s=max_gap_s, key=f"{section}.max_gap_s", seed=plan.config.seed)
    checks = with_transients(plan, checks, stories.deviations, stories.tr)
    for one in checks:
        _say_check(one)
    if is_kept:
        _draw(plan, checks)
    _stop_on_failures(plan.config, checks)
    if is_kept:
        keep_deviations(plan, stories.deviations, stories.tr)
        write_json(plan.output / ALIGNMENT, [asdict(c) for c in checks])
    failed = list(dict.fromkeys(finding.name for check in checks for finding in check.failed))
    said = f"Going on in spite of {', '.join(failed)}" if failed else "No check of words against BOLD failed"
    say(f"{said}: {plan.output / ALIGNMENT}" if is_kept else f"{said}. Nothing is kept: {plan.output} cannot be written.")
    return checks


class _Stories:
    """Each story with the BOLD of everyone, read when it is asked for; transients are looked at and not dropped."""

    def __init__(self, plan: Study, report: Progress) -> None:
        self.plan, self.report = plan, report
        self.deviations: dict[str, np.ndarray] = {}
        self.tr = 0.0

    def __iter__(self) -> Iterator[tuple[Transcript, list[BoldRun]]]:
        for i, story in enumerate(self.plan.stories):
            runs = untrimmed_runs(self.plan, story)
            self.deviations[story], self.tr = deviation_of(self.plan, runs)
            yield self.plan.dataset.transcript(story), [detrended(self.plan, run) for run in runs.values()]
            self.report(i + 1, len(self.plan.stories), "stories", story)


def _say_check(check: AlignmentCheck) -> None:
    before, after, story = check.n_words_before, check.n_words_after, check.story
    say(
        f"  {story}: {check.n_words:,} words ({before} before, {after} after the rows), {len(check.tr_times)} TRs of {check.tr:g} s"
    )
    for finding in check.findings:
        say(f"  {story}: {finding.name:<12}{finding.status:<9}{finding.message}")


def _draw(plan: Study, checks: list[AlignmentCheck]) -> None:
    """A picture for each run, looked at before anything is fitted: words over BOLD, and the lag."""
    from neurolm.report import StoryAlignment
    from neurolm.report.alignment_figures import lag_curve, lag_of_each_run, word_rate_above_bold

    for result in checks:
        story = StoryAlignment.from_check(result, plan.dataset.transcript(result.story))
        assert story.lags is not None
        word_rate_above_bold(story).save(plan.output / "figures", f"alignment_{label(result.story)}")
        lag_curve(story.lags, story=story.story).save(plan.output / "figures", f"lag_{label(result.story)}")
        if story.runs:
            lag_of_each_run(story.runs, story=story.story).save(plan.output / "figures", f"lag_of_each_run_{label(result.story)}")


def _stop_on_failures(config: Any, checks: list[AlignmentCheck]) -> None:
    """A failure stops unless the config overrides it by name; what later steps would refuse says what to set instead."""
    failures = [(c.story, f) for c in checks for f in c.failed if f.remedy or f.name not in getattr(config, "override", [])]
    if failures:
        story, first = failures[0]
        more = f" ({len(failures) - 1} more failed.)" if len(failures) > 1 else ""
        remedy = first.remedy or f"If you know better, put `override: [{first.name}]` into the config."
        raise InputError(f"{story}: the check {first.name!r} failed: {first.message}{more} {remedy}")
