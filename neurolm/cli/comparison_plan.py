"""A checked comparison as the steps of a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurolm import __version__
from neurolm.checks import InputError, bad
from neurolm.cli.comparison_config import ComparedModel, ComparisonConfig
from neurolm.cli.names import label
from neurolm.cli.plan import Plan, make_plan, write_if_new, write_workflow

CHECK = ".neurolm/check.json"  # the config by which the alignment is checked, once for all models


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

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        steps = [("check", "stimuli/alignment.json", f"words against TRs, {len(self.first.stories)} stories")]
        for name, plan in self.analyses.items():
            for story in plan.stories:
                makes = f"models/{label(name)}/features/story-{label(story)}_features.json"
                steps.append(("features", makes, f"{plan.config.features.model}, {len(plan.dataset.transcript(story))} words"))
        what = f"{len(self.analyses)} models, {len(self.first.subjects)} listeners"
        return [*steps, ("compare", "comparison/models.md", what)]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        stages = self.output / ".neurolm" / "stages"
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        check = self.first.config.model_copy(update={"output": str(self.output)}).model_dump(mode="json")
        write_if_new(self.output / CHECK, check)
        write_if_new(stages / "dataset.json", {key: check[key] for key in ("dataset", "override")} | {"neurolm": __version__})
        for name, plan in self.analyses.items():
            one = plan.config.model_dump(mode="json")
            write_if_new(plan.output / "config.json", one)
            settings = {key: one[key] for key in ("dataset", "features", "device")} | {"neurolm": __version__}
            write_if_new(stages / f"features-{label(name)}.json", settings)
        write_if_new(stages / "compare.json", self.config.model_dump(mode="json", exclude={"output"}) | {"neurolm": __version__})
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
    folder = Path(output or config.output).resolve()
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
