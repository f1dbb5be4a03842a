"""What an analysis of timescales (or a contrast) works on: data set, listeners, settings, files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm import __version__
from neurolm.checks import InputError, bad
from neurolm.cli.data import open_dataset
from neurolm.cli.names import label
from neurolm.cli.plan import check_stage, chosen, description, runs_settings, settle, write_if_new, write_workflow
from neurolm.cli.stage_inputs import Inputs, Reads, dataset_settings, model_inputs
from neurolm.cli.stages import Stage
from neurolm.cli.timescales_config import ContrastConfig, FitConfig, TimescalesConfig
from neurolm.datasets import Dataset

if TYPE_CHECKING:
    from neurolm.brain import BoldRun, Space
    from neurolm.stimuli import Transcript
    from neurolm.timescales import FitSettings

GROUP = "group"
IN_SILICO = ("scramble", "swap", "switch")
CONTRAST = ("names", "items", "sentences", "permutations", "story_bootstrap", "block_trs")
COMMON = ("dataset", "features", "preprocess", "fit", "seed")  # settings that every result depends on


@dataclass(frozen=True)
class TimescalesPlan:
    """A config with every choice made, and where results go.

    config : with the data set after any fallback, its subjects and stories
    workflow : name of a Snakemake file in pipelines/
    """

    config: Any
    workflow: str
    output: Path
    subjects: tuple[str, ...]
    stories: tuple[str, ...]
    dataset: Dataset

    def transcripts(self) -> list[Transcript]:
        return [self.dataset.transcript(story) for story in self.stories]

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.dataset, self.subjects, self.stories)

    def stages(self) -> list[Stage]:
        """Everything that is made, in order."""
        check = check_stage(self)
        if self.workflow == "contrast":
            return [check, self._contrast_stage()]
        made = [self.estimator_stage(name) for name in self.config.estimators]
        return [check, *made, self.page_stage(made)]

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        return [(stage.rule, stage.makes[0], stage.what) for stage in self.stages()]

    def estimator_stage(self, name: str) -> Stage:
        """One estimator for everyone."""
        return Stage(
            name=name,
            rule="map",
            folder=self.output,
            makes=(f"timescales/{name}.json",),
            what=f"{name}: {len(self.subjects)} subjects, {len(self.stories)} stories",
            settings={**runs_settings(self), **self._settings_without_data(name)},
            inputs=lambda: self._inputs(name),
            owns=(
                f"*/*_desc-{name}_timescales.h5",
                f"*/func/*_desc-{name}_stat-window_statmap*",
                *(("timescales/isc.csv",) if name == "isc" else ()),
            ),
        )

    def page_stage(self, made: list[Stage]) -> Stage:
        """Figures and the page of the estimators that are finished."""
        return Stage(
            name="report",
            rule="report",
            folder=self.output,
            makes=("report.html",),
            what="one HTML file",
            settings=self.config.model_dump(mode="json", exclude={"output", "threads", "device"}),
            after=(check_stage(self), *made),
            draws=("figures/*",),
        )

    def _contrast_stage(self) -> Stage:
        what = f"{self.config.items.pairs} pairs of items, {self.config.permutations} permutations, one HTML file"
        return Stage(
            name="contrast",
            rule="contrast",
            folder=self.output,
            makes=("contrast/contrast.json", "report.html"),
            what=what,
            settings={**runs_settings(self), **self._settings_without_data("contrast"), "title": self.config.title},
            inputs=lambda: {**self._inputs("contrast"), **norm_inputs(self.config.items.norms)},
            after=(check_stage(self),),
            owns=("contrast/*", "*/*_desc-*_contrast.h5", "*/func/*_desc-*_stat-contrast_statmap*"),
            draws=("figures/*",),
        )

    def _settings_without_data(self, part: str) -> dict[str, Any]:
        settings = {key: value for key, value in self.settings_of(part).items() if key not in ("dataset", "neurolm")}
        if "in_silico" in settings:
            settings["in_silico"] = dataset_settings(settings["in_silico"])
        return {key: value for key, value in settings.items() if part != "isc" or key in ("preprocess", "fit", "seed")}

    def _inputs(self, part: str) -> Inputs:
        if part == "isc":
            return self.reads.bold
        inputs = {**self.reads.everything(), **model_inputs(self.config.features.model)}
        if part in IN_SILICO:
            heard = {f"in silico {story.name}": story.content_hash() for story in perturbed_stories(self)}
            return {**inputs, **heard}
        return inputs

    @property
    def parts(self) -> list[str]:
        """What is finished one by one, each with a mark: estimators, or the contrast."""
        return ["contrast"] if self.workflow == "contrast" else list(self.config.estimators)

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        write_workflow(self.output, self.config, estimators=self.parts)
        write_if_new(self.output / "dataset_description.json", description(self))

    def settings_of(self, part: str) -> dict[str, Any]:
        """What the result of one estimator depends on: when this is as before, the result is reused."""
        config = self.config.model_dump(mode="json")
        keys = [
            *COMMON,
            *(key for key in (part, "untrained", "untrained_words", "in_silico", "recovery", *CONTRAST) if key in config),
        ]
        if part not in IN_SILICO:
            keys = [key for key in keys if key != "in_silico"]
        return {key: config[key] for key in keys} | {"neurolm": __version__}


def norm_inputs(norms: str) -> Inputs:
    """The table that items come from, the config's own or the one that is found or fetched."""
    from neurolm.datasets import DatasetNotFound
    from neurolm.datasets.resources import find_resource

    try:
        return {"norms": Path(norms) if norms else find_resource("concreteness", download=False)}
    except DatasetNotFound:
        return {}


def make_timescales_plan(config: TimescalesConfig | ContrastConfig, *, output: str | Path | None = None) -> TimescalesPlan:
    """Open the data set (or its fallback) and settle what is analysed."""
    settled, dataset = settle(config, output)
    subjects, stories = tuple(settled.dataset.subjects), tuple(settled.dataset.stories)
    return TimescalesPlan(settled, config.analysis, Path(settled.output), subjects, stories, dataset)


@dataclass(frozen=True)
class Who:
    """Whose windows are estimated: one subject, or the mean listener with the means of halves of the listeners.

    runs : one for each story
    halves : the columns of means of random halves, for intervals over listeners; None for one subject
    """

    name: str
    runs: list[BoldRun]
    halves: list[BoldRun] | None = None

    @property
    def space(self) -> Space:
        return self.runs[0].space

    @property
    def stem(self) -> str:
        """Folder and beginning of file names, as BIDS has them."""
        return GROUP if self.name == GROUP else f"sub-{label(self.name)}"


def listeners(plan: TimescalesPlan) -> list[Who]:
    """The mean listener, where at least three subjects share stories, times and voxels; else each subject alone."""
    from neurolm.encoding.listeners import Listeners
    from neurolm.timescales import mean_and_halves

    runs = listener_runs(plan)
    if len(runs) >= 3:
        try:
            Listeners(runs)
        except InputError:
            pass  # native spaces: nobody can be averaged
        else:
            mean, halves = mean_and_halves(list(runs.values()), seed=plan.config.seed)
            return [Who(GROUP, mean, halves)]
    return [Who(name, own) for name, own in runs.items()]


def listener_runs(plan: TimescalesPlan) -> dict[str, list[BoldRun]]:
    """Every subject's preprocessed runs, one for each story."""
    from neurolm.cli.stimuli import prepared_runs
    from neurolm.cli.transients import dropped_rows

    dropped = dropped_rows(plan)
    by_story = [prepared_runs(plan, story, dropped) for story in plan.stories]
    return {subject: [story[subject] for story in by_story] for subject in plan.subjects}


def perturbed_stories(plan: TimescalesPlan) -> list[Transcript]:
    """Stories that fitted models hear scrambled, swapped and switched."""
    asked = plan.config.in_silico
    dataset, _ = open_dataset(asked)
    return [dataset.transcript(story) for story in chosen("in_silico.stories", asked.stories, dataset.stories())]


def stacked_listeners(plan: TimescalesPlan) -> Any:
    """(n_subjects, n_trs of all stories, n_voxels), z-scored runs below each other, for intersubject correlation."""
    import numpy as np

    from neurolm.encoding.listeners import Listeners

    runs = listener_runs(plan)
    Listeners(runs)
    return np.stack([np.concatenate([run.data for run in own]) for own in runs.values()])


def check_asked(plan: TimescalesPlan) -> None:
    """Refuse what cannot work before anything is computed."""
    from neurolm.timescales import ScrambleWindow, SwapWindow, SwitchWindow
    from neurolm.timescales.forecast import check_reach

    config = plan.config
    shortest = min((len(story), story.name) for story in plan.transcripts())
    for name in ("context", "surprisal"):
        longest = getattr(config, name).words[-1]
        if name in config.estimators and longest > shortest[0]:
            raise bad(f"{name}.words", f"not be longer than the shortest story, {shortest[0]} words of {shortest[1]!r}", longest)
    if "isc" in config.estimators and len(plan.subjects) < 2:
        raise bad("dataset.subjects", "be at least two for intersubject correlation", len(plan.subjects),
                  "Name more listeners, or leave isc out of `estimators`.")  # fmt: skip
    if "forecast" in config.estimators:
        check_reach(shortest[0], config.forecast.distances[-1], config.forecast.width)
    if "scramble" in config.estimators:
        ScrambleWindow(config.scramble.levels).piece_sizes(perturbed_stories(plan))
    if "swap" in config.estimators:
        SwapWindow(config.swap.lags, n_swaps=config.swap.swaps, past=config.swap.past).places(perturbed_stories(plan))
    if "switch" in config.estimators:
        asked = {"past": config.switch.past, "n_words": config.switch.words}
        SwitchWindow(config.switch.segments, **asked).long_enough(perturbed_stories(plan))


def fit_settings(plan: TimescalesPlan, **changed: Any) -> FitSettings:
    """The config's `fit` section as the library takes it."""
    from neurolm.timescales import FitSettings

    fit: FitConfig = plan.config.fit
    settings: dict[str, Any] = {
        "alphas": fit.alphas.grid(),
        "delays": tuple(fit.delays),
        "max_gap_s": fit.max_gap_s,
        "n_folds": fit.folds,
        "n_inner_folds": fit.inner_folds,
        "gap": fit.gap,
        "n_permutations": fit.permutations,
        "n_bootstrap": fit.bootstrap,
        "level": fit.fdr,
        "seed": plan.config.seed,
        "device": plan.config.device,
    }
    return FitSettings(**(settings | changed))
