"""Identification for `neurolm decode`: which stretch of a story was heard, in listeners held out.

identification/scores.csv, scores.json     one row per way of comparing, and per listener
identification/similarity.h5               every listener's windows by windows
figures/identification.*                   each listener's rank beside the null of the group
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm import __version__
from neurolm.checks import InputError, bad
from neurolm.cli.analysis_folder import lay_plan
from neurolm.cli.decode_files import csv_text
from neurolm.cli.stages import is_current, making, say_states
from neurolm.cli.terminal import progress, say
from neurolm.statistics import p_equals
from neurolm.storage import write_h5, write_json, write_text

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.cli.decode_config import IdentificationConfig
    from neurolm.cli.decoding_plan import IdentificationPlan
    from neurolm.decoding.held_out_listeners import HeldOutIdentification
    from neurolm.features import Features
    from neurolm.stimuli import Transcript


def identify_listeners(config: IdentificationConfig, *, dry_run: bool = False) -> None:
    """Carry out a config of an identification."""
    from neurolm.cli.decoding_plan import make_identification_plan

    plan = make_identification_plan(config)
    if plan.config.dataset.name != config.dataset.name:
        say(f"NOTE: {config.dataset.name!r} could not be had here. This run analyses SIMULATED data instead.")
    config = plan.config
    story, runs = open_listeners(plan)
    own, folder = config.identify, Path(config.output) / "identification"
    n_windows = check_subjects_and_windows(plan, runs)
    sizes = (
        f"{len(runs)} listeners x {runs[0].n_trs} TRs x {runs[0].n_voxels} columns; {n_windows} windows of {own.window_trs} TRs"
    )
    say(f"{sizes}; features: {', '.join(own.features)}")
    (stage,) = plan.stages()
    if dry_run:
        say_states(plan.output, [stage])
        say(f"{own.folds} blocks of time held out in turn for every listener, {own.permutations} pairings -> {folder}")
        say("about a second per listener" + (", after the states of every word" if "states" in own.features else ""))
        return
    if is_current(stage):
        say("identify: there already, and fits the config")
        return
    lay_plan(plan)
    with making(stage):
        _carry_out(config, story, runs, folder)


def _carry_out(config: IdentificationConfig, story: Transcript, runs: list[BoldRun], folder: Path) -> None:
    """Predict, compare, write."""
    from neurolm.decoding.held_out_listeners import identify_held_out
    from neurolm.encoding import Design
    from neurolm.report.decoding_figures import identification_ranks

    own = config.identify
    features = word_features(config, story)
    design = Design.from_training([features], [runs[0].tr_times], own.delays)
    X = design.transform(features, runs[0].tr_times)
    with progress("identify") as report:
        found = identify_held_out(
            X,
            runs,
            window_trs=own.window_trs,
            by=own.by,
            shrinkage=own.shrinkage,
            n_folds=own.folds,
            n_permutations=own.permutations,
            seed=config.seed,
            progress=report,
        )
    _write(config, folder, found)
    identification_ranks({by: _as_numbers(one) for by, one in found.items()}).save(folder.parent / "figures", "identification")
    for by, one in found.items():
        p = p_equals(one.p, 1 / (1 + len(one.null)))
        say(
            f"by {by}: mean percentile rank {one.mean:.3f} over {len(one.listeners)} listeners held out "
            f"(chance .5, null {one.null.mean():.3f}, 95 % of it below {np.quantile(one.null, 0.95):.3f}), {p}"
        )
    say(f"-> {folder}")


def check_subjects_and_windows(plan: IdentificationPlan, runs: Sequence[BoldRun]) -> int:
    """The number of windows in a run; refuse a plan with too few of them, or of subjects, or with several stories."""
    if len(plan.stories) != 1:
        raise bad("dataset.stories", "name one story", ", ".join(plan.stories), "Windows of one story are told from each other.")
    if len(plan.subjects) < 3:
        raise InputError(f"identification needs at least three subjects; got {len(plan.subjects)}. One is left out in turn.")
    window_trs, n_trs = plan.config.identify.window_trs, runs[0].n_trs
    if n_trs < 2 * window_trs:
        raise bad("identify.window_trs", f"leave at least two windows in {n_trs} TRs", window_trs)
    return n_trs // window_trs


def open_listeners(plan: IdentificationPlan) -> tuple[Transcript, list[BoldRun]]:
    """The story, and every listener's run of it after the per-run steps."""
    from neurolm.cli.stimuli import prepared_runs
    from neurolm.cli.transients import dropped_rows

    story = plan.stories[0]
    return plan.dataset.transcript(story), list(prepared_runs(plan, story, dropped_rows(plan)).values())


def word_features(config: IdentificationConfig, story: Transcript) -> Features:
    from neurolm.cli.decode_material import load_lm, open_states
    from neurolm.features import WordLength, WordRate, join

    parts: dict[str, Features] = {}
    for kind in config.identify.features:
        if kind == "states":
            with progress("features") as report:
                report(0, 1, "", f"reading with {config.states.model}")
                lm = load_lm(config.states.model, config.states.vocabulary, config.device)
                parts[kind] = open_states(lm, config.states).extract(story)
        else:
            parts[kind] = (WordRate() if kind == "word_rate" else WordLength()).extract(story)
    return join(parts)


def _as_numbers(found: HeldOutIdentification) -> tuple[list[float], np.ndarray]:
    return [one.mean_percentile_rank for one in found.listeners], found.null


def _write(config: IdentificationConfig, folder: Path, found: dict[str, HeldOutIdentification]) -> None:
    rows: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for by, one in found.items():
        rows.append({"by": by, "who": "all listeners", "mean_percentile_rank": one.mean, "p": one.p})
        for subject, each in zip(one.subjects, one.listeners):
            rows.append({"by": by, "who": subject, "mean_percentile_rank": each.mean_percentile_rank, "p": each.p_value})
            arrays[f"{by}/{subject}"] = each.similarity
        arrays[f"null/{by}"] = one.null
    write_h5(folder / "similarity.h5", arrays)
    write_text(folder / "scores.csv", csv_text(rows))
    settings = config.model_dump(mode="json", exclude={"output"})
    write_json(folder / "scores.json", {"neurolm": __version__, "settings": settings, "scores": rows})
