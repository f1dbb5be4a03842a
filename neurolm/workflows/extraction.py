"""Features of an analysis: hidden states of a language model for every word of its stories, kept in the cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.checks import bad_file
from neurolm.progress import progress, say, seconds_text
from neurolm.storage import read_h5, read_json, write_h5, write_json
from neurolm.workflows.output_folder import label
from neurolm.workflows.study import Study

if TYPE_CHECKING:
    from neurolm.features import Features, LMStates
    from neurolm.lm import LanguageModel
    from neurolm.workflows.config import FeaturesConfig


def extract_story(plan: Study, story: str, states: LMStates) -> None:
    """Hidden states of every layer that a config asks for, into the cache and beside the results."""
    began = time.monotonic()
    with progress("features") as report:
        by_layer = layer_features(states, plan, story, report)
        write_json(manifest_path(plan, story), manifest(states, plan, story, by_layer))
    say(f"{story}: {len(by_layer)} layers of {states.lm.name} in {seconds_text(time.monotonic() - began)}")


def estimate_story(plan: Study, story: str, states: LMStates) -> Iterator[str]:
    """Words, tokens, operations, memory and time, for a dry run."""
    from neurolm.features import plan_extraction

    yield f"{story}: {plan_extraction(states, plan.dataset.transcript(story))}"


def open_states(plan: Study, batch_tokens: int | None = None, device: str | None = None) -> LMStates:
    """The feature extractor of a plan, its language model loaded."""
    config = plan.config.features
    with progress("model") as report:
        report(0, 1, "", f"loading {config.model}")
        return lm_states(open_model(config.model, device or plan.config.device), config, batch_tokens)


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


def layer_features(states: LMStates, plan: Study, story: str, report: Any) -> dict[int, Features]:
    """Features of every layer, from the cache where they are there; a copy stays with the results."""
    by_layer = states.extract_layers(plan.dataset.transcript(story), report)
    write_h5(
        plan.output / "features" / f"story-{label(story)}_features.h5", {f"layer_{k:02d}": f.values for k, f in by_layer.items()}
    )
    return by_layer


def manifest_path(plan: Study, story: str) -> Path:
    """Where it is written what was extracted."""
    return plan.output / "features" / f"story-{label(story)}_features.json"


def read_manifest(plan: Study, story: str) -> dict[str, Any]:
    """What was extracted of a story."""
    path = manifest_path(plan, story)
    if not path.exists():
        raise bad_file(
            path, "no such file", "Extract the features first: `neurolm features extract CONFIG`, or `neurolm run CONFIG`."
        )
    return dict(read_json(path))


def read_layer(plan: Study, story: str, layer: int) -> Features:
    """One layer of one story, as extracted from the words that the story has now.

    Raises
    ------
    FileError
        If the features were extracted from other words or times.
    """
    from neurolm.features import Features

    transcript, path = plan.dataset.transcript(story), manifest_path(plan, story)
    if read_manifest(plan, story)["transcript"] != transcript.content_hash():
        problem = f"holds features of other words, or of other times, than {story!r} has now"
        raise bad_file(path, problem, "Extract them again: `neurolm features extract CONFIG`, or `neurolm run CONFIG`.")
    name = f"layer_{layer:02d}"
    arrays, _ = read_h5(path.with_suffix(".h5"), [name])
    return Features(arrays[name], transcript.mid_times, words=transcript.words)


def manifest(states: LMStates, plan: Study, story: str, by_layer: dict[int, Features]) -> dict[str, Any]:
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
