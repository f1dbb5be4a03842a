"""A checked decoding, or an identification, as the steps of a workflow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.cli.analysis_folder import own_folder
from neurolm.cli.plan import runs_settings, settle, write_if_new, write_workflow
from neurolm.cli.stage_inputs import Inputs, Reads, model_inputs
from neurolm.cli.stages import Stage

if TYPE_CHECKING:
    from neurolm.cli.decode_config import DecodingConfig, IdentificationConfig
    from neurolm.datasets import Dataset

OF_THE_SEARCH = (  # settings of the decoder that what is learned does not depend on
    "mass",
    "ratio",
    "context_s",
    "min_context_words",
    "hop_s",
    "no_repeats",
    "first_words",
    "function_words",
    "beam_width",
    "extensions",
    "lm_weight",
)
FIT = ("subject", "simulated", "training", "test", "features", "seed", "device", "threads")
SCORES = ("scores.csv", "windows.csv", "table.csv", "table.txt", "scores.json")


@dataclass(frozen=True)
class DecodingPlan:
    """What `neurolm run` carries out for a decoding: `Plan`, without a data set of its own."""

    config: DecodingConfig
    output: Path
    workflow: str = "decoding"

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    def stages(self) -> list[Stage]:
        """Everything that is made, in order; each is learned from, or judged by, other files and settings."""
        from neurolm.cli.decode_material import judged_files, story_files, target_files, training_files

        config, settings = self.config, self._settings()
        decoder = config.settings()
        features, own = config.features, config.proposals
        learned = {k: v for k, v in settings["decoder"].items() if k not in OF_THE_SEARCH}
        fit = self._stage(
            "fit",
            ("decoder.h5", "fit.json"),
            f"{decoder.n_voxels} voxels, {features.model}",
            settings={**{key: settings[key] for key in FIT}, "decoder": learned},
            inputs=lambda: {**training_files(config), **model_inputs(features.model), **vocabularies(features.vocabulary)},
        )
        search = self._stage(
            "search",
            ("words.csv", "words.TextGrid", "search.json"),
            f"beam of {decoder.beam_width}",
            settings={key: settings[key] for key in (*FIT, "decoder", "proposals", "word_times")},
            inputs=lambda: {
                **target_files(config),
                **(story_files(config) if config.word_times == "true" else {}),
                **model_inputs(own.model),
                **vocabularies(own.vocabulary),
            },
            after=(fit,),
        )
        nulls = config.evaluation.nulls
        evaluate = self._stage(
            "evaluate",
            SCORES,
            f"{nulls.circular_shift} null decodes, {nulls.random_likelihood} random ones",
            settings={key: settings[key] for key in ("title", "evaluation", "seed", "device", "threads")},
            inputs=lambda: {**story_files(config), **judged_files(config)},
            after=(fit, search),
        )
        page = ("report.html", *evaluate.makes)
        return [fit, search, replace(evaluate, makes=page, draws=("figures/*",))]

    def _stage(self, name: str, makes: Iterable[str], what: str, **more: Any) -> Stage:
        made = tuple(f"decoding/{file}" for file in makes)
        return Stage(name=name, rule=name, folder=self.output, makes=made, what=what, **more)

    def _settings(self) -> dict[str, Any]:
        """The config, without where the data lie."""
        settings = self.config.model_dump(mode="json")
        if settings["training"] is not None:
            settings["training"]["options"].pop("folder", None)
        for name in ("folder", "segments", "rate_voxels") if settings["test"] is not None else ():
            settings["test"][name] = settings["test"][name] is not None
        return settings

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        return [(stage.rule, stage.makes[0], stage.what) for stage in self.stages()]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        _write(self)


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
            )
        ]

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        return [(stage.rule, stage.makes[0], stage.what) for stage in self.stages()]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        _write(self)


def _write(plan: DecodingPlan | IdentificationPlan) -> None:
    write_if_new(plan.output / "config.json", plan.config.model_dump(mode="json"))
    write_workflow(plan.output, plan.config)


def vocabularies(*paths: str | None) -> Inputs:
    """Lists of words that stand in for a model's vocabulary."""
    return {path: Path(path) for path in paths if path}


def make_decoding_plan(config: DecodingConfig, *, output: Path | None = None) -> DecodingPlan:
    """Settle where a decoding's results go."""
    folder = own_folder(Path(output or config.output).resolve(), config.analysis)
    return DecodingPlan(config.model_copy(update={"output": str(folder)}), folder)


def make_identification_plan(config: IdentificationConfig, *, output: Path | None = None) -> IdentificationPlan:
    """Open the data set (or its fallback) and settle whose runs of which story are told apart."""
    settled, dataset = settle(config, output)
    return IdentificationPlan(settled, Path(settled.output), dataset)


def plan_for(config: DecodingConfig | IdentificationConfig, *, output: Path | None = None) -> DecodingPlan | IdentificationPlan:
    """The plan of a config for `neurolm decode`, of either kind."""
    if config.analysis == "identification":
        return make_identification_plan(config, output=output)
    return make_decoding_plan(config, output=output)
