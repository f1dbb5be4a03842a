"""Encoding analysis: the plan of a config, and its stage that fits and tests voxelwise encoding models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurolm.brain.space import place_names
from neurolm.checks import bad
from neurolm.datasets import Dataset
from neurolm.locks import exclusive_lock
from neurolm.progress import progress, say
from neurolm.storage import write_text
from neurolm.workflows.alignment import alignment_stage
from neurolm.workflows.config import AnalysisConfig
from neurolm.workflows.encoding_files import (
    beyond_table,
    content_table,
    difference_table,
    score_table,
    write_recovery,
    write_subjects,
)
from neurolm.workflows.extraction import estimate_story, extract_story, open_states, read_layer, read_manifest
from neurolm.workflows.low_level import low_level_features, low_level_files
from neurolm.workflows.output_folder import analysis_folders, label, write_if_new, write_workflow
from neurolm.workflows.prepared_runs import HeardStories, heard_stories, stimuli
from neurolm.workflows.stage_inputs import Inputs, Reads, model_inputs, section_files
from neurolm.workflows.stages import Stage
from neurolm.workflows.study import description, runs_settings, settle

if TYPE_CHECKING:
    from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
    from neurolm.features import Features, LMStates

MOST_NAMED = 30  # columns that are named one by one


@dataclass(frozen=True)
class Plan:
    """What `neurolm run` carries out.

    config : the config with every choice made (data set after any fallback, subjects, stories)
    workflow : name of a Snakemake file in pipelines/
    output : the folder in which everything is made
    """

    config: AnalysisConfig
    workflow: str
    output: Path
    subjects: tuple[str, ...]
    stories: tuple[str, ...]
    dataset: Dataset

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.dataset, self.subjects, self.stories)

    @cached_property
    def states(self) -> LMStates:
        """The feature extractor, its language model loaded once for all stories."""
        return open_states(self)

    def stages(self) -> list[Stage]:
        """Everything that is made, in order."""
        features = self.feature_stages()
        encode = self.encode_stage(features)
        return [alignment_stage(self), *features, encode, self.report_stage(encode)]

    def feature_stages(self) -> list[Stage]:
        """One for each story: its words and the language model decide, and no brain."""
        config = self.config.features
        return [
            Stage(
                name=f"features-{label(story)}",
                rule="features",
                folder=self.output,
                makes=(f"features/story-{label(story)}_features.json", f"features/story-{label(story)}_features.h5"),
                what=f"{config.model}, {len(self.reads.transcript(story))} words of {story!r}",
                settings={"features": config.model_dump(mode="json")},
                inputs=partial(self._read_for_features, story),
                function=partial(self._extract, story),
                estimate=partial(self._estimate, story),
            )
            for story in self.stories
        ]

    def _extract(self, story: str) -> None:
        extract_story(self, story, self.states)

    def _estimate(self, story: str) -> Iterator[str]:
        return estimate_story(self, story, self.states)

    def _read_for_features(self, story: str) -> Inputs:
        return {**self.reads.words(story), **model_inputs(self.config.features.model)}

    def encode_stage(self, features: list[Stage] | None = None) -> Stage:
        """Encoding models of every subject."""
        config = self.config.model_dump(mode="json")
        keys = ("preprocess", "design", "encode", "seed", "device", "threads")
        maps = [f"{who}/func/{who}_desc-{name}_statmap*" for who in ("sub-*",) for name in ("*_stat-[rq]", "found*", "planted*")]
        return Stage(
            name="encode",
            rule="encode",
            folder=self.output,
            makes=("encoding/scores.h5", "encoding/scores.tsv", *(f"{who}/{who}_encoding.h5" for who in self._labels())),
            what=f"{len(self.subjects)} subjects, {self.config.encode.permutations} shifts",
            settings={**runs_settings(self), **{key: config[key] for key in keys}},
            inputs=lambda: {**self.reads.everything(), **low_level_files(self)},
            after=tuple(self.feature_stages() if features is None else features),
            owns=("encoding/*", "sub-*/sub-*_encoding.h5", *maps, "group/func/group_desc-*_stat-*_statmap*"),
            function=partial(encode, self),
            estimate=partial(estimate_encoding, self),
        )

    def report_stage(self, encode: Stage | None = None) -> Stage:
        """The page of all and of each subject."""
        config = self.config.model_dump(mode="json", exclude={"output", "threads", "device"})
        return Stage(
            name="report",
            rule="report",
            folder=self.output,
            makes=("report.html", *(f"{who}.html" for who in self._labels())),
            what="one HTML file, and one for each subject",
            settings=config,
            inputs=lambda: section_files(analysis_folders(self.output)),
            after=(alignment_stage(self), encode or self.encode_stage()),
            owns=("sub-*.html", "sub-*/figures/*"),
            draws=("figures/*",),
            function=partial(_report, self),
        )

    def _labels(self) -> list[str]:
        return [f"sub-{label(subject)}" for subject in self.subjects]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        names = {"stories": [label(s) for s in self.stories], "subjects": [label(s) for s in self.subjects]}
        write_workflow(self.output, self.config, **names)
        write_if_new(self.output / "dataset_description.json", description(self))


def make_plan(config: AnalysisConfig, *, output: str | Path | None = None) -> Plan:
    """Open the data set (or its fallback) and settle what is analysed."""
    settled, dataset = settle(config, output)
    subjects, stories = tuple(settled.dataset.subjects), tuple(settled.dataset.stories)
    return Plan(settled, config.analysis, Path(settled.output), subjects, stories, dataset)


def encode(plan: Plan) -> None:
    """Fit and test encoding models of every subject, and write scores, maps and models."""
    heard, chosen = heard_stories(plan), settings(plan)
    for note in heard.notes:
        say(note)
    with exclusive_lock(plan.output / ".neurolm" / "encode.lock"):  # another process finds no half of what this one keeps
        _encode(plan, chosen, heard)


def _encode(plan: Plan, chosen: EvaluationSettings, heard: HeardStories) -> None:
    """Everything is scored, then written."""
    from neurolm.encoding.evaluate import evaluate
    from neurolm.features import WordRate

    baselines = {"word rate": [WordRate().extract(plan.dataset.transcript(story)) for story in heard.stories]}
    null = plan.output / "encoding" / "null"  # blocks that are scored, for a run that resumes after a kill
    with progress("encode") as report:
        result = evaluate(
            LayerSets(plan, heard.stories),
            heard.runs,
            baselines=baselines,
            settings=chosen,
            seed=plan.config.seed,
            keep=null,
            progress=report,
            repeats=heard.repeats,
            low_level=low_level_features(plan, heard),
        )
    with progress("subjects") as report:
        write_subjects(plan, result, heard, chosen, report)
    write_text(plan.output / "encoding" / "scores.tsv", score_table(result))
    write_text(plan.output / "encoding" / "differences.tsv", difference_table(result))
    write_text(plan.output / "encoding" / "content_free.tsv", content_table(result))
    write_text(plan.output / "encoding" / "beyond_low_level.tsv", beyond_table(result))
    result.save(plan.output / "encoding" / "scores.h5")
    say(f"{result.scored[0].who}: {_summary(result)} (layer chosen inside the folds)")
    write_recovery(plan, heard.runs, chosen)
    shutil.rmtree(null, ignore_errors=True)


class LayerSets(Mapping[str, Sequence["Features"]]):
    """Layers by name, each read when it is looked up: one is in memory at a time."""

    def __init__(self, plan: Plan, stories: Sequence[str] | None = None) -> None:
        self.plan, self.stories = plan, plan.stories if stories is None else stories
        first = read_manifest(plan, plan.stories[0])
        self.layers = {f"layer {layer}": layer for layer in sorted(int(layer) for layer in first["hashes"])}

    def __getitem__(self, name: str) -> list[Features]:
        return [read_layer(self.plan, story, self.layers[name]) for story in self.stories]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def settings(plan: Plan) -> EvaluationSettings:
    """The config's design and encode sections as the library takes them."""
    from neurolm.encoding.evaluation import EvaluationSettings

    encode, design = plan.config.encode, plan.config.design
    return EvaluationSettings(
        delays=tuple(design.delays),
        lobes=design.lobes,
        max_gap_s=design.max_gap_s,
        alphas=encode.alphas.grid(),
        extend_alphas=encode.alphas.extend,
        n_folds=encode.folds,
        n_inner_folds=encode.inner_folds,
        gap=encode.gap,
        test_runs=tuple(_positions(plan, encode.test_stories)),
        n_permutations=encode.permutations,
        n_subject_permutations=encode.subject_permutations,
        n_content_free=None if encode.content_free_draws == "auto" else encode.content_free_draws,
        device=plan.config.device,
    )


def _positions(plan: Plan, stories: Sequence[str]) -> list[int]:
    """Places of stories among the stimuli of a plan; repeats share one."""
    for story in stories:
        if story not in plan.stories:
            raise bad("encode.test_stories", f"be some of {', '.join(plan.stories)}", story)
    groups = stimuli(plan) if stories else ()
    return sorted({i for story in stories for i, group in enumerate(groups) if story in group})


def _summary(result: Evaluation) -> str:
    """The score of each region, or how those of many voxels are distributed."""
    chosen = result.scored[0].chosen
    if len(chosen.r) <= MOST_NAMED:
        return ", ".join(f"{n} {r:.2f}" for n, r in zip(place_names(result.space), chosen.r))
    low, middle, high = np.nanquantile(chosen.r, [0.05, 0.5, 0.95])
    return f"r of {len(chosen.r):,} voxels: median {middle:.2f}, 5 % below {low:.2f}, 5 % above {high:.2f}"


def estimate_encoding(plan: Plan) -> Iterator[str]:
    """Rows, columns and number of fits, for a dry run."""
    from neurolm.encoding.content_draws import n_content_draws

    heard = heard_stories(plan)
    yield from heard.notes
    runs = next(iter(heard.runs.values()))
    rows, voxels = sum(run.n_trs for run in runs), runs[0].n_voxels
    encode, features, delays = plan.config.encode, plan.config.features, plan.config.design.delays
    yield f"{rows} TRs x {voxels} columns x {len(heard.runs)} subjects; layers {features.layers}; {len(delays)} delays"
    penalties = f"{encode.alphas.count} or more" if encode.alphas.extend else str(encode.alphas.count)
    yield f"{encode.folds} outer x {encode.inner_folds} inner folds x {penalties} penalties"
    yield f"up to {encode.permutations} shifts of the mean listener, {encode.subject_permutations} of each listener"
    n_draws = n_content_draws(settings(plan), rows, voxels)
    yield f"{n_draws} content-free draws" if n_draws else "no content-free draws (encode.content_free_draws)"
    low = low_level_features(plan, heard)
    yield "no test beyond low-level features" if low is None else f"joint fits beyond {', '.join(low.names)}"
    yield f"-> {plan.output / 'encoding/scores.h5'}"


def _report(plan: Plan) -> None:
    from neurolm.workflows.report_pages import write_reports

    write_reports(plan, analysis_folders(plan.output))
