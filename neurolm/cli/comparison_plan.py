"""A checked comparison as the steps of a workflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from neurolm.checks import InputError, bad
from neurolm.cli.analysis_folder import own_folder
from neurolm.cli.comparison_config import ComparedModel, ComparisonConfig
from neurolm.cli.names import label
from neurolm.cli.plan import Plan, check_stage, make_plan, runs_settings, write_if_new, write_workflow
from neurolm.cli.stages import Stage


@dataclass(frozen=True)
class ComparisonPlan:
    """What `neurolm run` carries out for a comparison: `Plan`, for several models.

    config : with every choice made, and models that could not be had put into `left_out`
    output : the folder in which everything is made
    analyses : the encoding analysis of each model, by its name
    """

    config: ComparisonConfig
    output: Path
    analyses: dict[str, Plan]
    workflow: str = "comparison"

    @property
    def first(self) -> Plan:
        return next(iter(self.analyses.values()))

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "comparison" / "models.md"

    def checked(self) -> Plan:
        """What the alignment is checked by, once for all models."""
        config = self.first.config.model_copy(update={"output": str(self.output)})
        return replace(self.first, config=config, output=self.output)

    def stages(self) -> list[Stage]:
        """Everything that is made, in order."""
        features = [
            replace(stage, what=stage.what.removesuffix(f" of {story!r}"))
            for plan in self.analyses.values()
            for story, stage in zip(plan.stories, plan.feature_stages(), strict=True)
        ]
        return [check_stage(self.checked()), *features, self.compare_stage(features)]

    def compare_stage(self, features: list[Stage]) -> Stage:
        """All models scored on the same runs."""
        first = self.first
        return Stage(
            name="compare",
            rule="compare",
            folder=self.output,
            makes=("comparison/models.md", "comparison/models.csv", "comparison/scores.h5"),
            what=f"{len(self.analyses)} models, {len(first.subjects)} listeners",
            settings={**runs_settings(first), **self.config.model_dump(mode="json", exclude={"output", "dataset"})},
            inputs=first.reads.everything,
            after=tuple(features),
            owns=("comparison/*",),
        )

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        return [
            (stage.rule, str((stage.folder / stage.makes[0]).relative_to(self.output)), stage.what) for stage in self.stages()
        ]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        for plan in self.analyses.values():
            write_if_new(plan.output / "config.json", plan.config.model_dump(mode="json"))
        names = {"stories": [label(story) for story in self.first.stories], "models": [label(name) for name in self.analyses]}
        write_workflow(self.output, self.config, **names)


def make_comparison(config: ComparisonConfig, *, output: str | Path | None = None, look: bool = True) -> ComparisonPlan:
    """Open the data set and settle which models take part.

    Parameters
    ----------
    look : bool
        Look for optional models (which may download them), so that those that cannot be had are
        left out; False takes them all.
    """
    folder = own_folder(Path(output or config.output).resolve(), config.analysis)
    there, left_out = [], dict(config.left_out)
    for model in config.models:
        problem = _problem(model) if look and model.optional else None
        if problem is None:
            there.append(model)
        else:
            left_out[model.name] = problem
    if not there:
        raise bad("models", "hold at least one that can be had", ", ".join(left_out), next(iter(left_out.values())))
    settled = config.model_copy(update={"models": there, "left_out": left_out, "output": str(folder)})
    analyses: dict[str, Plan] = {}
    for model in there:
        place = str(folder / "models" / label(model.name))
        analyses[model.name] = make_plan(settled.analysis_of(model, place))
    dataset = next(iter(analyses.values())).config.dataset
    return ComparisonPlan(settled.model_copy(update={"dataset": dataset}), folder, analyses)


def _problem(model: ComparedModel) -> str | None:
    """Why a model cannot be had; None if it can."""
    from neurolm.lm.pretrained import find_model

    try:
        find_model(model.model)
    except InputError as error:
        return str(error)
    return None
