"""Preflight checks of the language models: they are there, have the layers, and can read every word of the stories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.checks import InputError
from neurolm.datasets.dataset import Finding
from neurolm.progress import bytes_text

if TYPE_CHECKING:
    from neurolm.workflows.preflight_data import Opened

LARGE_BYTES = 4e9  # weights beyond this are not loaded for a check


def device(opened: Opened) -> Iterator[Finding]:
    """The device exists on this machine."""
    from neurolm.lm.pretrained import pick_device

    asked = getattr(opened.plan.config, "device", None) or opened.plan.machine.device
    if not opened.is_elsewhere:
        yield Finding("ok", f"device {asked}: {pick_device(asked)}")


def readings(opened: Opened) -> Iterator[Finding]:
    """Each model that features come from has the layers, and its tokenizer and context take every story."""
    from neurolm.workflows.timescales_estimators import check_estimators

    if not opened.reads_words or _are_read(opened):
        return
    optional = {model.name for model in opened.plan.config.models if model.optional} if opened.kind == "comparison" else set()
    for name, plan in opened.analyses.items():
        features = plan.config.features
        layers = [features.layer] if hasattr(features, "layer") else features.layers
        try:
            yield from _reading(opened, features, layers, opened.transcripts)
            if opened.kind == "timescales" and (lm := opened.models.get((features.model, None))) is not None:
                check_estimators(opened.plan, lm)
        except InputError as error:
            if name not in optional:
                raise
            yield Finding("note", f"{name} would be left out: {error}")


def _are_read(opened: Opened) -> bool:
    """Whether the features of every story are with the results already, of this model and these words."""
    from neurolm.workflows.stages import Judge

    judge, stages = Judge(), [stage for plan in opened.analyses.values() for stage in getattr(plan, "feature_stages", list)()]
    return bool(stages) and not judge.outdated(stages)


def states(opened: Opened) -> Iterator[Finding]:
    """The models of a decoding, or of an identification by hidden states."""
    config = opened.plan.config
    if opened.kind == "identification":
        if "states" in config.identify.features:
            yield from _reading(opened, config.states, [config.states.layer], opened.transcripts, config.states.vocabulary)
        return
    from neurolm.workflows.decoding_checks import check_models
    from neurolm.workflows.decoding_material import Models, open_states

    material, features = opened.material, config.features
    proposals = config.proposals if config.proposals.model is not None else features
    yield from _reading(opened, features, [features.layer], material.stories, features.vocabulary)
    if proposals is not features:
        yield from _reading(opened, proposals, [0], (), proposals.vocabulary)
    lm, proposer = (opened.models.get((asked.model, asked.vocabulary)) for asked in (features, proposals))
    if lm is not None and proposer is not None:
        check_models(config, Models(open_states(lm, features), proposer), material)


def _reading(opened: Opened, asked: Any, layers: Any, stories: Any, vocabulary: str | None = None) -> Iterator[Finding]:
    """Load a model that is on this machine and not huge, and lay out how it would read the stories."""
    from neurolm.features import LMStates, plan_extraction
    from neurolm.features.memory import layer_widths
    from neurolm.lm.pretrained import find_model
    from neurolm.stimuli import ContextWindow
    from neurolm.workflows.decoding_material import load_lm

    if opened.is_dry and not _is_here(asked.model):
        yield Finding("note", f"{asked.model} is not on this machine: a run fetches it first")
        return
    n_bytes = sum(path.stat().st_size for path in find_model(asked.model).glob("*.safetensors"))
    if n_bytes > LARGE_BYTES:
        yield Finding("note", f"{asked.model} holds {bytes_text(n_bytes)} of weights: its layers are checked when it is loaded")
        return
    if (asked.model, vocabulary) not in opened.models:
        opened.report(0, 1, "", f"loading {asked.model}")
        opened.models[asked.model, vocabulary] = load_lm(asked.model, vocabulary, "cpu")
    lm = opened.models[asked.model, vocabulary]
    if not hasattr(asked, "context"):  # a model that only proposes words
        return
    context = ContextWindow(None if asked.context.unit == "story" else asked.context.n, asked.context.unit)
    space = LMStates(lm, layers, context, asked.pooling, lowercase=asked.lowercase, spaces=asked.spaces)
    for story in stories:
        space.prepare(story, [context])
        opened.feature_bytes += 2 * 4 * len(story) * sum(layer_widths(lm)[layer] for layer in space.layers)
        if opened.is_dry and not opened.is_elsewhere:
            yield Finding("ok", f"{asked.model}: {plan_extraction(space, story, measure_s=0.05)}", story.name)


def _is_here(model: str) -> bool:
    """Whether a model can be loaded without fetching or unpacking it; names that cannot be right count as here."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    from neurolm.lm.model_files import HUB_NAMES
    from neurolm.storage import cache_folder

    if model == "smollm2-135m":
        return (cache_folder("models") / model).is_dir()
    if Path(model).expanduser().exists() or model.startswith(("neurolm/", ".", "/", "~")) or model.count("/") > 1:
        return True
    try:
        return isinstance(try_to_load_from_cache(HUB_NAMES.get(model, model), "config.json"), str)
    except HFValidationError:
        return True
