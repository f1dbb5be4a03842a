"""`neurolm features`: hidden states of a language model for every word of a story, kept in the cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolm.checks import check_choice
from neurolm.cli.analysis_folder import lay_plan
from neurolm.cli.main import app
from neurolm.cli.names import label
from neurolm.cli.stages import making, say_states
from neurolm.cli.terminal import bytes_text, progress, say, seconds_text

if TYPE_CHECKING:
    from neurolm.cli.config import FeaturesConfig
    from neurolm.cli.plan import Plan
    from neurolm.features import CachedFeatures, Features, LMStates
    from neurolm.lm import LanguageModel

features = typer.Typer(help="Extract, list, verify and prune features.", no_args_is_help=True)
app.add_typer(features, name="features")


@features.command(epilog="Example: neurolm features extract configs/demo.yaml --dry-run")
def extract(
    config: Annotated[str, typer.Argument(help="A config of an analysis.")],
    story: Annotated[str | None, typer.Option(help="Only this story.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; left out, as the config says.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens in one batch; left out, from the free memory.")] = None,
    seed: Annotated[int, typer.Option(help="Nothing here is random; taken as every command takes it.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say words, tokens, FLOPs, memory and an estimate of time.")] = False,
) -> None:
    """Compute the hidden states that a config asks for, into the cache; what is there already is reused."""
    from neurolm.cli.config import read_config
    from neurolm.cli.plan import make_plan
    from neurolm.cli.run import find_config
    from neurolm.features import plan_extraction
    from neurolm.lm.pretrained import find_model
    from neurolm.storage import write_json

    plan = make_plan(read_config(find_config(config)))
    stories = {label(name): name for name in plan.stories} | {name: name for name in plan.stories}
    wanted = plan.stories if story is None else [stories[check_choice("--story", story, stories)]]
    find_model(plan.config.features.model)
    stages = dict(zip(plan.stories, plan.feature_stages(), strict=True))
    if dry_run:
        say_states(plan.output, [stages[name] for name in wanted])
    else:
        lay_plan(plan)
    with progress("model") as report:
        report(0, 1, "", f"loading {plan.config.features.model}")
        states = lm_states(
            open_model(plan.config.features.model, device or plan.config.device), plan.config.features, batch_tokens
        )
    for name in wanted:
        if dry_run:
            say(f"{name}: {plan_extraction(states, plan.dataset.transcript(name))}")
            continue
        began = time.monotonic()
        with making(stages[name]), progress("features") as report:
            by_layer = layer_features(states, plan, name, report)
            write_json(manifest_path(plan, name), manifest(states, plan, name, by_layer))
        say(f"{name}: {len(by_layer)} layers of {states.lm.name} in {seconds_text(time.monotonic() - began)}")


@features.command("list", epilog="Example: neurolm features list")
def list_() -> None:
    """List the features in the cache, with their sizes."""
    from neurolm.features import FeatureCache, list_cache

    say(f"in {FeatureCache().folder}")
    _say_files(list_cache())


@features.command(epilog="Example: neurolm features verify")
def verify() -> None:
    """Compare the checksums of everything in the cache; damaged files are named, and made anew when next used."""
    from neurolm.features import verify_cache

    with progress("verify") as report:
        files = verify_cache(progress=report)
    _say_files(files)
    if any(file.problem for file in files):
        raise typer.Exit(2)


@features.command(epilog="Example: neurolm features prune --unused-days 90")
def prune(
    unused_days: Annotated[float | None, typer.Option(min=0, help="Also remove whole files unused for so many days.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Remove all that no process is writing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
) -> None:
    """Remove damaged and interrupted files from the cache; on request also old ones, or all."""
    from neurolm.features import prune_cache

    removed = prune_cache(unused_days=unused_days, everything=everything, dry_run=dry_run)
    _say_files(removed)
    say("nothing was removed" if dry_run else f"removed {len(removed)} files")


def _say_files(files: list[CachedFeatures]) -> None:
    for file in files:
        say(f"{bytes_text(file.n_bytes):>9}  {file.state:<11}{', '.join(file.label)}  {file.problem}".rstrip())
    say(f"{bytes_text(sum(file.n_bytes for file in files)):>9}  in {len(files)} files")


def open_model(name: str, device: str = "auto", dtype: str = "float32") -> LanguageModel:
    """Load a language model onto the device that a config names."""
    from neurolm.lm import load

    return load(name, device=device, dtype=dtype)


def lm_states(lm: LanguageModel, config: FeaturesConfig, batch_tokens: int | None = None) -> LMStates:
    """The feature extractor that a config describes."""
    from neurolm.features import FeatureCache, LMStates
    from neurolm.stimuli import ContextWindow

    context = ContextWindow(None if config.context.unit == "story" else config.context.n, config.context.unit)
    rules: dict[str, Any] = {"lowercase": config.lowercase, "spaces": config.spaces}
    return LMStates(lm, config.layers, context, config.pooling, **rules, batch_tokens=batch_tokens, cache=FeatureCache())


def layer_features(states: LMStates, plan: Plan, story: str, report: Any) -> dict[int, Features]:
    """Features of every layer, from the cache where they are there; a copy stays with the results."""
    from neurolm.storage import write_h5

    by_layer = states.extract_layers(plan.dataset.transcript(story), report)
    write_h5(
        plan.output / "features" / f"story-{label(story)}_features.h5", {f"layer_{k:02d}": f.values for k, f in by_layer.items()}
    )
    return by_layer


def manifest_path(plan: Plan, story: str) -> Path:
    """Where it is written what was extracted."""
    return plan.output / "features" / f"story-{label(story)}_features.json"


def read_manifest(plan: Plan, story: str) -> dict[str, Any]:
    """What was extracted of a story."""
    from neurolm.checks import bad_file
    from neurolm.storage import read_json

    path = manifest_path(plan, story)
    if not path.exists():
        raise bad_file(
            path, "no such file", "Extract the features first: `neurolm features extract CONFIG`, or `neurolm run CONFIG`."
        )
    return dict(read_json(path))


def read_layer(plan: Plan, story: str, layer: int) -> Features:
    """One layer of one story, as extracted from the words that the story has now.

    Raises
    ------
    FileError
        If the features were extracted from other words or times.
    """
    from neurolm.checks import bad_file
    from neurolm.features import Features
    from neurolm.storage import read_h5

    transcript, path = plan.dataset.transcript(story), manifest_path(plan, story)
    if read_manifest(plan, story)["transcript"] != transcript.content_hash():
        problem = f"holds features of other words, or of other times, than {story!r} has now"
        raise bad_file(path, problem, "Extract them again: `neurolm features extract CONFIG`, or `neurolm run CONFIG`.")
    name = f"layer_{layer:02d}"
    arrays, _ = read_h5(path.with_suffix(".h5"), [name])
    return Features(arrays[name], transcript.mid_times, words=transcript.words)


def manifest(states: LMStates, plan: Plan, story: str, by_layer: dict[int, Features]) -> dict[str, Any]:
    """What was extracted, for the report and for whoever looks into the folder."""
    first = next(iter(by_layer.values()))
    seen = first.context
    return {
        "story": story,
        "transcript": plan.dataset.transcript(story).content_hash(),
        "settings": states.settings(),
        "n_words": len(first),
        "n_model_layers": states.lm.n_layers,
        "width": first.n_features,
        "context_seen": None
        if seen is None
        else {"least": int(seen.min()), "median": int(sorted(seen)[len(seen) // 2]), "most": int(seen.max())},
        "n_shortened": None if first.shortened is None else int(first.shortened.sum()),
        "hashes": {str(layer): part.content_hash() for layer, part in by_layer.items()},
    }
