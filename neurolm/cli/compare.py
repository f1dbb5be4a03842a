"""`neurolm compare CONFIG`: several language models scored on the same brains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolm.checks import check_file
from neurolm.cli.analysis_folder import lay_plan
from neurolm.cli.encode import LayerSets, region_names
from neurolm.cli.features import manifest_path, open_model
from neurolm.cli.main import app
from neurolm.cli.preflight import preflight
from neurolm.cli.stages import check_before, making, say_states
from neurolm.cli.terminal import progress, say
from neurolm.storage import content_hash, read_json, write_json

if TYPE_CHECKING:
    from neurolm.cli.comparison_plan import ComparisonPlan
    from neurolm.cli.plan import Plan
    from neurolm.encoding import EvaluationSettings, ModelComparison
    from neurolm.stimuli import Transcript


@app.command(
    epilog="Example: neurolm compare derivatives/comparison/config.json    (`neurolm run` does it with all that goes before)"
)
def compare(
    config: Annotated[str, typer.Argument(help="A config of a comparison, its features extracted.")],
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda, instead of the config's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say models, listeners and sizes.")] = False,
) -> None:
    """Compare language models: best layer inside the folds, share of the noise ceiling, paired tests, bits per byte."""
    from neurolm.cli.comparison_config import ComparisonConfig
    from neurolm.cli.comparison_plan import make_comparison
    from neurolm.cli.config import read_config_as
    from neurolm.cli.kinds import with_options
    from neurolm.cli.run import find_config

    asked = with_options(read_config_as(ComparisonConfig, find_config(config)), device=device, seed=seed)
    plan = make_comparison(asked, look=not dry_run)
    if dry_run:
        say_states(plan.output, plan.stages())
        preflight(plan, is_dry=True)
        return
    for one in plan.analyses.values():
        for story in one.stories:
            check_file(manifest_path(one, story), "Extract the features first: `neurolm run CONFIG` does it all.")
    preflight(plan)
    stage = plan.stages()[-1]
    check_before(stage, "Extract the features again: `neurolm run CONFIG` does it all.")
    lay_plan(plan)
    with making(stage):
        _carry_out(plan)


def _carry_out(plan: ComparisonPlan) -> None:
    """Everything is scored, then written."""
    from neurolm.cli.story_runs import heard_stories
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
    from neurolm.storage import write_text

    folder = plan.output / "comparison"
    regions = region_names(result)
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
    from dataclasses import replace

    from neurolm.cli.encode import settings as encode_settings

    return replace(encode_settings(plan.first), n_permutations=0, n_subject_permutations=plan.config.encode.permutations)


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
