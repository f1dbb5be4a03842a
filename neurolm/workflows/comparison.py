"""Comparison of language models on the same brains: the plan of a config, and its stage that scores the models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.brain.space import place_names
from neurolm.checks import InputError, bad
from neurolm.progress import progress, say
from neurolm.storage import content_hash, read_json, write_json, write_text
from neurolm.workflows.alignment import alignment_stage
from neurolm.workflows.comparison_config import ComparedModel, ComparisonConfig
from neurolm.workflows.encoding import LayerSets, Plan, make_plan
from neurolm.workflows.encoding import settings as encoding_settings
from neurolm.workflows.extraction import manifest_path, open_model
from neurolm.workflows.output_folder import label, own_folder, write_if_new, write_workflow
from neurolm.workflows.prepared_runs import heard_stories
from neurolm.workflows.stages import Stage
from neurolm.workflows.study import runs_settings

if TYPE_CHECKING:
    from neurolm.encoding import EvaluationSettings, ModelComparison
    from neurolm.stimuli import Transcript


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
        return [alignment_stage(self.checked()), *features, self.compare_stage(features)]

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
            function=partial(compare, self),
        )

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
        Look for optional models (which may download them), so that those that are not available are
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
        raise bad("models", "hold at least one that is available", ", ".join(left_out), next(iter(left_out.values())))
    settled = config.model_copy(update={"models": there, "left_out": left_out, "output": str(folder)})
    analyses: dict[str, Plan] = {}
    for model in there:
        place = str(folder / "models" / label(model.name))
        analyses[model.name] = make_plan(settled.analysis_of(model, place))
    dataset = next(iter(analyses.values())).config.dataset
    return ComparisonPlan(settled.model_copy(update={"dataset": dataset}), folder, analyses)


def _problem(model: ComparedModel) -> str | None:
    """Why a model is not available; None if it is."""
    from neurolm.lm.pretrained import find_model

    try:
        find_model(model.model)
    except InputError as error:
        return str(error)
    return None


def compare(plan: ComparisonPlan) -> None:
    """Score all models on the same runs, and write the tables."""
    from neurolm.encoding import compare_models
    from neurolm.features import WordRate

    first = plan.first
    heard = heard_stories(first)
    bits = {name: bits_per_byte(one) for name, one in plan.analyses.items()}
    rate = {"word rate": [WordRate().extract(first.dataset.transcript(story)) for story in heard.stories]}
    models: dict[str, Any] = {"word rate": rate} | {name: LayerSets(one, heard.stories) for name, one in plan.analyses.items()}
    with progress("compare") as report:
        result = compare_models(
            models, heard.runs, settings=settings(plan), bits_per_byte=bits, seed=plan.config.seed, progress=report
        )
    write_comparison(plan, result)


def write_comparison(plan: ComparisonPlan, result: ModelComparison) -> None:
    """Tables and figure into the folder `comparison`; models.md comes last."""
    from neurolm.report.comparison import comparison_figure, comparison_markdown, model_table, pair_table, region_scores
    from neurolm.report.figures import csv_text

    folder = plan.output / "comparison"
    regions = place_names(result.space)
    result.save(folder / "scores.h5")
    comparison_figure(result, regions).save(folder, "models_figure")
    for name, table in (
        ("models", model_table(result)),
        ("pairs", pair_table(result)),
        ("regions", region_scores(result, regions)),
    ):
        write_text(folder / f"{name}.csv", csv_text(table))
    text = comparison_markdown(
        result,
        title=plan.config.title,
        text=f"{', '.join(plan.first.stories)} as heard",
        left_out=plan.config.left_out,
    )
    write_text(folder / "models.md", text)
    say(text)


def settings(plan: ComparisonPlan) -> EvaluationSettings:
    """The config's design and encode sections as the library takes them."""
    return replace(encoding_settings(plan.first), n_permutations=0, n_subject_permutations=plan.config.encode.permutations)


def bits_per_byte(plan: Plan) -> float:
    """What a model needs for the words of the stories, read as its features were; kept in a file once it is known."""
    from neurolm.training import perplexity

    features = plan.config.features
    stories = [_as_read(plan, plan.dataset.transcript(story)) for story in plan.stories]
    context = features.context.n if features.context.unit in ("tokens", "sliding") else None
    weights = read_json(manifest_path(plan, plan.stories[0]))["settings"]["weights"]
    key = content_hash(weights, [list(story.words) for story in stories], context)
    path = plan.output / "text.json"
    if path.is_file() and (known := read_json(path)).get("key") == key:
        return float(known["bits_per_byte"])
    with progress("text") as report:
        found = perplexity(open_model(features.model, plan.config.device), stories, context=context, progress=report)
    values = {"nats": found.nats, "n_bytes": found.n_bytes, "n_words": found.n_words, "n_unknown": found.n_unknown}
    write_json(path, values | {"key": key, "bits_per_byte": found.bits_per_byte, "per_word": found.per_word})
    return found.bits_per_byte


def _as_read(plan: Plan, story: Transcript) -> Transcript:
    """A story in the letters in which the features were extracted."""
    from neurolm.letters import lower_case
    from neurolm.stimuli import is_all_caps

    lowercase = plan.config.features.lowercase
    if lowercase or (lowercase is None and is_all_caps(story)):
        return story.with_words([lower_case(word) for word in story.words])
    return story
