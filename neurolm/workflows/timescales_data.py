"""Subjects, stories and settings of the analyses of timescales and of contrasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurolm import __version__
from neurolm.checks import InputError, bad
from neurolm.workflows.output_folder import label
from neurolm.workflows.prepared_runs import dropped_rows, prepared_runs
from neurolm.workflows.stage_inputs import Inputs, dataset_settings, model_inputs
from neurolm.workflows.study import Study, chosen, open_dataset

if TYPE_CHECKING:
    from neurolm.brain import BoldRun, Space
    from neurolm.stimuli import Transcript
    from neurolm.timescales import FitSettings
    from neurolm.workflows.timescales_config import FitConfig

GROUP = "group"
IN_SILICO = ("scramble", "swap", "switch")
CONTRAST = ("names", "items", "sentences", "permutations", "story_bootstrap", "block_trs")
COMMON = ("dataset", "features", "preprocess", "fit", "seed")  # settings that every result depends on


def settings_of(plan: Study, part: str) -> dict[str, Any]:
    """Settings that the result of one estimator, or of the contrast, depends on."""
    config = plan.config.model_dump(mode="json")
    shared = (part, "untrained", "untrained_words", "in_silico", "recovery", *CONTRAST)
    keys = [*COMMON, *(key for key in shared if key in config and (key != "in_silico" or part in IN_SILICO))]
    return {key: config[key] for key in keys} | {"neurolm": __version__}


def stage_settings(plan: Study, part: str) -> dict[str, Any]:
    """The same for the record of a stage, without where the data lie."""
    settings = {key: value for key, value in settings_of(plan, part).items() if key not in ("dataset", "neurolm")}
    if "in_silico" in settings:
        settings["in_silico"] = dataset_settings(settings["in_silico"])
    return {key: value for key, value in settings.items() if part != "isc" or key in ("preprocess", "fit", "seed")}


def stage_reads(plan: Study, part: str) -> Inputs:
    """What an estimator, or the contrast, reads."""
    if part == "isc":
        return plan.reads.bold
    inputs = {**plan.reads.everything(), **model_inputs(plan.config.features.model)}
    if part in IN_SILICO:
        return {**inputs, **{f"in silico {story.name}": story.content_hash() for story in perturbed_stories(plan)}}
    return inputs


def transcripts(plan: Study) -> list[Transcript]:
    """The stories of a plan."""
    return [plan.dataset.transcript(story) for story in plan.stories]


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


def listeners(plan: Study) -> list[Who]:
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


def listener_runs(plan: Study) -> dict[str, list[BoldRun]]:
    """Every subject's preprocessed runs, one for each story."""
    dropped = dropped_rows(plan)
    by_story = [prepared_runs(plan, story, dropped) for story in plan.stories]
    return {subject: [story[subject] for story in by_story] for subject in plan.subjects}


def perturbed_stories(plan: Study) -> list[Transcript]:
    """Stories that fitted models hear scrambled, swapped and switched."""
    asked = plan.config.in_silico
    dataset, _ = open_dataset(asked)
    return [dataset.transcript(story) for story in chosen("in_silico.stories", asked.stories, dataset.stories())]


def stacked_listeners(plan: Study) -> Any:
    """(n_subjects, n_trs of all stories, n_voxels), z-scored runs below each other, for intersubject correlation."""
    import numpy as np

    from neurolm.encoding.listeners import Listeners

    runs = listener_runs(plan)
    Listeners(runs)
    return np.stack([np.concatenate([run.data for run in own]) for own in runs.values()])


def check_asked(plan: Study) -> None:
    """Refuse what cannot work before anything is computed."""
    from neurolm.timescales import ScrambleWindow, SwapWindow, SwitchWindow
    from neurolm.timescales.forecast import check_reach

    config = plan.config
    shortest = min((len(story), story.name) for story in transcripts(plan))
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


def fit_settings(plan: Study, **changed: Any) -> FitSettings:
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
