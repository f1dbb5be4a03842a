"""Identification of the time window of a story in held-out subjects: the plan of a config, and its stage.

identification/scores.csv, scores.json     one row per way of comparing, and per listener
identification/similarity.h5               every listener's windows by windows
figures/identification.*                   each listener's rank beside the null of the group
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm import __version__
from neurolm.checks import InputError, bad
from neurolm.datasets import Dataset
from neurolm.progress import progress, say
from neurolm.statistics import p_equals
from neurolm.storage import write_h5, write_json, write_text
from neurolm.workflows.decoding_files import csv_text
from neurolm.workflows.decoding_material import load_lm, open_states
from neurolm.workflows.output_folder import write_if_new, write_workflow
from neurolm.workflows.prepared_runs import dropped_rows, prepared_runs
from neurolm.workflows.stage_inputs import Reads, model_inputs, vocabularies
from neurolm.workflows.stages import Stage
from neurolm.workflows.study import Study, runs_settings, settle

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.decoding.held_out_listeners import HeldOutIdentification
    from neurolm.features import Features
    from neurolm.stimuli import Transcript
    from neurolm.workflows.decoding_config import IdentificationConfig


@dataclass(frozen=True)
class IdentificationPlan:
    """What `neurolm run` carries out for an identification; subjects and stories as in `Plan`."""

    config: IdentificationConfig
    output: Path
    dataset: Dataset
    workflow: str = "identification"

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(self.config.dataset.subjects)

    @property
    def stories(self) -> tuple[str, ...]:
        return tuple(self.config.dataset.stories)

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "identification" / "scores.csv"

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.dataset, self.subjects, self.stories)

    def stages(self) -> list[Stage]:
        """Everything that is made."""
        config = self.config.model_dump(mode="json", exclude={"output", "dataset"})
        model = self.config.states.model if "states" in self.config.identify.features else None
        return [
            Stage(
                name="identify",
                rule="identify",
                folder=self.output,
                makes=tuple(f"identification/{name}" for name in ("scores.json", "scores.csv", "similarity.h5")),
                what=f"windows of {self.config.identify.window_trs} TRs in listeners held out",
                settings={**runs_settings(self), **config},
                inputs=lambda: {
                    **self.reads.everything(),
                    **model_inputs(model),
                    **vocabularies(None if model is None else self.config.states.vocabulary),
                },
                draws=("figures/identification*",),
                function=partial(identify, self),
                estimate=partial(estimate_identification, self),
            )
        ]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        write_workflow(self.output, self.config)


def make_identification_plan(config: IdentificationConfig, *, output: Path | None = None) -> IdentificationPlan:
    """Open the data set (or its fallback) and settle whose runs of which story are discriminated."""
    settled, dataset = settle(config, output)
    return IdentificationPlan(settled, Path(settled.output), dataset)


def identify(plan: IdentificationPlan) -> None:
    """Predict the BOLD of held-out subjects, compare windows, and write the scores."""
    from neurolm.decoding.held_out_listeners import identify_held_out
    from neurolm.encoding import Design
    from neurolm.report.decoding_figures import identification_ranks

    (story, runs), config, folder = open_listeners(plan), plan.config, _folder(plan)
    own = config.identify
    say(_sizes(plan, runs))
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


def estimate_identification(plan: IdentificationPlan) -> Iterator[str]:
    """Sizes and time, for a dry run."""
    own = plan.config.identify
    yield _sizes(plan, open_listeners(plan)[1])
    yield f"{own.folds} blocks of time held out in turn for every listener, {own.permutations} pairings -> {_folder(plan)}"
    yield "about a second per listener" + (", after the states of every word" if "states" in own.features else "")


def _sizes(plan: IdentificationPlan, runs: Sequence[BoldRun]) -> str:
    own, n_windows = plan.config.identify, check_subjects_and_windows(plan, runs)
    sizes = (
        f"{len(runs)} listeners x {runs[0].n_trs} TRs x {runs[0].n_voxels} columns; {n_windows} windows of {own.window_trs} TRs"
    )
    return f"{sizes}; features: {', '.join(own.features)}"


def _folder(plan: IdentificationPlan) -> Path:
    return plan.output / "identification"


def check_subjects_and_windows(plan: Study, runs: Sequence[BoldRun]) -> int:
    """The number of windows in a run; refuse a plan with too few of them, or of subjects, or with several stories."""
    if len(plan.stories) != 1:
        raise bad("dataset.stories", "name one story", ", ".join(plan.stories), "Windows of one story are discriminated.")
    if len(plan.subjects) < 3:
        raise InputError(f"identification needs at least three subjects; got {len(plan.subjects)}. One is left out in turn.")
    window_trs, n_trs = plan.config.identify.window_trs, runs[0].n_trs
    if n_trs < 2 * window_trs:
        raise bad("identify.window_trs", f"leave at least two windows in {n_trs} TRs", window_trs)
    return n_trs // window_trs


def open_listeners(plan: Study) -> tuple[Transcript, list[BoldRun]]:
    """The story, and every listener's run of it after the per-run steps."""
    story = plan.stories[0]
    return plan.dataset.transcript(story), list(prepared_runs(plan, story, dropped_rows(plan)).values())


def word_features(config: IdentificationConfig, story: Transcript) -> Features:
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
