"""`neurolm stimuli`: what a transcript holds, and whether words and BOLD belong together."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolm.checks import InputError, bad
from neurolm.cli.analysis_folder import lay_plan
from neurolm.cli.main import app
from neurolm.cli.names import label
from neurolm.cli.plan import ALIGNMENT, check_stage, gap_limit
from neurolm.cli.stages import is_current, making, say_states
from neurolm.cli.terminal import progress, say
from neurolm.cli.transients import deviation_of, keep_deviations, untrimmed_runs, with_transients

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from neurolm.brain import BoldRun
    from neurolm.brain.transients import EdgeRows
    from neurolm.cli.decoding_plan import IdentificationPlan
    from neurolm.cli.plan import Plan
    from neurolm.cli.timescales_plan import TimescalesPlan
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.progress import Progress
    from neurolm.stimuli import Mismatch, Transcript

stimuli = typer.Typer(help="Read transcripts; check that words and BOLD belong together.", no_args_is_help=True)
app.add_typer(stimuli, name="stimuli")


@stimuli.command(epilog="Example: neurolm stimuli show story.TextGrid --tier word")
def show(
    path: Annotated[Path, typer.Argument(help="TextGrid, BIDS events, CSV or gentle JSON.")],
    tier: Annotated[str | None, typer.Option(help="Tier of a TextGrid.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="Plain text of the story: its punctuation gives sentences and paragraphs.")
    ] = None,
) -> None:
    """Read a transcript and say what was understood."""
    from neurolm.stimuli import mark_sentences, read_textgrid, read_transcript
    from neurolm.stimuli.text_file import read_annotation

    story = read_textgrid(path, tier) if tier else read_transcript(path)
    differ: tuple[Mismatch, ...] = ()
    if text is not None:
        marked = mark_sentences(story, read_annotation(text))
        story, differ = marked.transcript, marked.mismatches
        say(f"{text}: {marked.n_matched:,} of {len(story):,} words stand in the text; {len(differ)} places differ")
    seconds = float(story.offsets[-1] - story.onsets[0])
    rate = f", {len(story) / seconds:.2f} words/s" if seconds > 0 else ""
    say(f"{path}: {len(story)} words from {story.onsets[0]:.2f} to {story.offsets[-1]:.2f} s{rate}")
    if story.left_out:
        say(f"left out: {', '.join(f'{label!r} {n} times' for label, n in story.left_out.items())}")
    for name, marks in (("sentences", story.sentences), ("paragraphs", story.paragraphs)):
        say(f"{name}: {'not marked' if marks is None else marks[-1] - marks[0] + 1}")
    say(f"begins: {' '.join(story.words[:20])}")
    for one in differ:
        say(f"  {one}")


@stimuli.command(epilog="Example: neurolm stimuli check configs/demo.yaml")
def check(
    config: Annotated[str, typer.Argument(help="A config of an analysis.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be checked.")] = False,
) -> None:
    """Check words against BOLD before anything is fitted; a failed check stops, unless the config overrides it by name."""
    from neurolm.cli.kinds import plan_of
    from neurolm.cli.preflight import preflight
    from neurolm.cli.preflight_data import can_write
    from neurolm.cli.run import find_config

    whole: Any = plan_of(find_config(config), output=None, look=False)[1]
    plan = whole.checked() if whole.workflow == "comparison" else whole
    if not hasattr(plan, "stories"):
        raise bad(
            "config", "be of an analysis with a data set", f"one of {whole.workflow}", "Try `neurolm run CONFIG --dry-run`."
        )
    if dry_run:
        say_states(plan.output, [check_stage(plan)])
        say(f"{len(plan.stories)} stories, {len(plan.subjects)} subjects -> {whole.output / ALIGNMENT}")
    preflight(whole, is_dry=True, only_reads=True)
    if not dry_run:
        if can_write(plan.output):
            lay_plan(whole)
        check_plan(plan)


def check_plan(plan: Plan | TimescalesPlan) -> None:
    """Check, draw and write down every story of a plan; a failure that the config does not override stops.

    By itself, as `neurolm stimuli check`, it also works where nothing can be written, and says so; a step of a run does not.
    """
    from neurolm.cli.preflight_data import can_write
    from neurolm.cli.run_processes import RUN_ID
    from neurolm.datasets.alignment_check import check_study
    from neurolm.storage import write_json

    is_kept = can_write(plan.output) or RUN_ID in os.environ
    section, max_gap_s = gap_limit(plan)
    with making(check_stage(plan)) if is_kept else contextlib.nullcontext():
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


def is_checked(plan: Plan | TimescalesPlan) -> bool:
    """Whether the check is there and belongs to the words, the BOLD and the settings as they are."""
    return is_current(check_stage(plan))


def prepared_runs(plan: Plan | TimescalesPlan | IdentificationPlan, story: str, dropped: EdgeRows) -> dict[str, BoldRun]:
    """Every subject's run of one story after the config's per-run steps, on the rows that all have."""
    from neurolm.brain.preprocess import common_rows, zscore_run

    runs = common_rows(list(runs_of(plan, story, dropped).values()))
    return {subject: zscore_run(run) if plan.config.preprocess.zscore else run for subject, run in zip(plan.subjects, runs)}


def runs_of(plan: Plan | TimescalesPlan | IdentificationPlan, story: str, dropped: EdgeRows) -> dict[str, BoldRun]:
    """Every subject's run of one story, trimmed (`dropped_rows` too) and detrended, on its own rows."""
    return {subject: _detrended(plan, run) for subject, run in untrimmed_runs(plan, story, dropped).items()}


def _detrended(plan: Plan | TimescalesPlan | IdentificationPlan, run: BoldRun) -> BoldRun:
    from neurolm.brain.preprocess import detrend_legendre

    degree = plan.config.preprocess.detrend_degree
    return run if degree is None else detrend_legendre(run, degree)


class _Stories:
    """Each story with the BOLD of everyone, read when it is asked for; transients are looked at and not dropped."""

    def __init__(self, plan: Plan | TimescalesPlan, report: Progress) -> None:
        self.plan, self.report = plan, report
        self.deviations: dict[str, np.ndarray] = {}
        self.tr = 0.0

    def __iter__(self) -> Iterator[tuple[Transcript, list[BoldRun]]]:
        for i, story in enumerate(self.plan.stories):
            runs = untrimmed_runs(self.plan, story)
            self.deviations[story], self.tr = deviation_of(self.plan, runs)
            yield self.plan.dataset.transcript(story), [_detrended(self.plan, run) for run in runs.values()]
            self.report(i + 1, len(self.plan.stories), "stories", story)


def _say_check(check: AlignmentCheck) -> None:
    before, after, story = check.n_words_before, check.n_words_after, check.story
    say(
        f"  {story}: {check.n_words:,} words ({before} before, {after} after the rows), {len(check.tr_times)} TRs of {check.tr:g} s"
    )
    for finding in check.findings:
        say(f"  {story}: {finding.name:<12}{finding.status:<9}{finding.message}")


def _draw(plan: Plan | TimescalesPlan, checks: list[AlignmentCheck]) -> None:
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
