"""What a decoding config names, opened: one listener's training runs and stories, and the run to decode."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.checks import bad, bad_file, check_choice, check_file
from neurolm.stimuli.word_entries import lower_case_words
from neurolm.storage import read_json
from neurolm.workflows.stage_inputs import Inputs, bold_files, words_of

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.features import LMStates
    from neurolm.lm import LanguageModel
    from neurolm.progress import Progress
    from neurolm.stimuli import Transcript
    from neurolm.workflows.decoding_config import DecodingConfig, StatesConfig

MOTH = Path("moth_textgrids") / "TextGrids"


@dataclass(frozen=True)
class Material:
    """One listener.

    runs, stories : learned from
    run, story : decoded, and what was really heard in it
    segment : seconds that are judged; None for all
    rate_voxels : columns from which the word rate is predicted; None for the decoded voxels
    notes : what a person should know before looking at numbers
    is_simulated : nobody was measured
    """

    runs: list[BoldRun]
    stories: list[Transcript]
    run: BoldRun
    story: Transcript
    segment: tuple[float, float] | None = None
    rate_voxels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    is_simulated: bool = False


@dataclass(frozen=True)
class Models:
    """The language models: one gives features, one proposes words."""

    states: LMStates
    proposer: LanguageModel


def open_models(config: DecodingConfig, report: Progress) -> Models:
    """Load the language models that a config names."""
    report(0, 1, "", f"loading {config.features.model}")
    lm = load_lm(config.features.model, config.features.vocabulary, config.device)
    own = config.proposals
    if own.model is None:
        return Models(open_states(lm, config.features), lm)
    report(0, 1, "", f"loading {own.model}")
    return Models(open_states(lm, config.features), load_lm(own.model, own.vocabulary, config.device))


def load_lm(model: str, vocabulary: str | None, device: str) -> LanguageModel:
    """A language model, with a list of words as its vocabulary where one is given."""
    from neurolm.lm import WordTokenizer, load

    if vocabulary is None:
        return load(model, device=device)
    words = read_json(check_file(vocabulary, "It is a JSON list of words, in the order of the model's rows."))
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise bad_file(vocabulary, "is not a list of words", "Take the model's own vocabulary.")
    unknown = "<unk>" if "<unk>" in words else None
    return load(model, device=device, tokenizer=WordTokenizer(words, unknown=unknown, eos=None))


def open_states(lm: LanguageModel, config: StatesConfig) -> LMStates:
    """The features that a config describes."""
    from neurolm.features import FeatureCache, LMStates
    from neurolm.stimuli import ContextWindow

    context = ContextWindow(None if config.context.unit == "story" else config.context.n, config.context.unit)
    rules: dict[str, Any] = {"lowercase": config.lowercase, "bos": config.bos, "spaces": config.spaces}
    return LMStates(lm, config.layer, context, config.pooling, **rules, cache=FeatureCache())


def open_material(config: DecodingConfig, states: LMStates | None) -> Material:
    """Runs and stories; `states` is what a simulated listener's voxels follow (None: only the stories are needed)."""
    if config.simulated is not None:
        return _simulated(config, states)
    return _study(config) if config.test is not None and config.test.folder is not None else _held_out_story(config)


def training_files(config: DecodingConfig) -> Inputs:
    """What a decoder is learned from: words and runs of the training stories, and the voxels that tell the word rate."""
    from neurolm.decoding.tang2023 import story_of

    if config.simulated is not None:
        return _simulated_files(config)
    assert config.test is not None
    dataset = _dataset(config)
    if config.test.folder is not None:
        copy, test = _target(config)
        decoded, heard = story_of(test.task), copy.transcript(test.experiment, test.task)
    else:
        decoded = str(config.test.story)
        heard = dataset.transcript(decoded)
    stories, _ = _training_stories(config, dataset, decoded, heard)
    rate = {} if config.test.rate_voxels is None else {"rate voxels": Path(config.test.rate_voxels)}
    return {**words_of(dataset, stories), **bold_files(dataset, [config.subject], stories), **rate}


def target_files(config: DecodingConfig) -> Inputs:
    """The run that is decoded."""
    if config.simulated is not None:
        return {}
    assert config.test is not None
    if config.test.folder is not None:
        copy, test = _target(config)
        return {"decoded run": copy.find(config.subject, test.experiment, test.task)}
    return bold_files(_dataset(config), [config.subject], [str(config.test.story)])


def story_files(config: DecodingConfig) -> Inputs:
    """The words that were really heard in it."""
    if config.simulated is not None:
        return {}
    assert config.test is not None
    if config.test.folder is not None:
        copy, test = _target(config)
        return {"decoded story": copy.transcript_file(test.experiment, test.task)}
    return words_of(_dataset(config), [str(config.test.story)])


def judged_files(config: DecodingConfig) -> Inputs:
    """Which part of the run is judged."""
    return {} if config.test is None or config.test.segments is None else {"segments": Path(config.test.segments)}


# ---------------------------------------------------------------- measured


def _held_out_story(config: DecodingConfig) -> Material:
    """A story of the training data set, left out of training."""
    assert config.test is not None
    assert config.test.story is not None
    dataset = _dataset(config)
    check_choice("subject", config.subject, dataset.subjects())
    story = check_choice("test.story", config.test.story, dataset.stories(config.subject))
    heard = dataset.transcript(story)
    runs, stories, notes = _training(config, dataset, story, heard)
    run = _prepared(dataset.bold(config.subject, story))
    return Material(runs, stories, run, lower_case_words(heard), *_judged(config, story, "speech"), notes)


def _study(config: DecodingConfig) -> Material:
    """A task of ds004510, with training from ds003020."""
    from neurolm.decoding.tang2023 import EXPERIMENTS, Tang2023, story_of

    test = config.test
    assert test is not None
    assert test.folder is not None
    assert test.task is not None
    copy = Tang2023(test.folder)
    check_choice("test.experiment", test.experiment, EXPERIMENTS)
    copy.find(config.subject, test.experiment, test.task)
    story = copy.transcript(test.experiment, test.task)
    runs, stories, notes = _training(config, _dataset(config), story_of(test.task), story)
    run = copy.bold(config.subject, test.experiment, test.task, runs[0].space)
    return Material(runs, stories, run, story, *_judged(config, test.task, EXPERIMENTS[test.experiment].rate_region), notes)


def _dataset(config: DecodingConfig) -> Any:
    from neurolm.datasets import load_dataset

    assert config.training is not None
    return load_dataset(config.training.dataset, **config.training.options)


def _training(
    config: DecodingConfig, dataset: Any, decoded: str, heard: Transcript
) -> tuple[list[BoldRun], list[Transcript], tuple[str, ...]]:
    """Training runs and stories; asking for one with the words that are decoded is refused, "all" leaves it out."""
    from neurolm.decoding.tang2023 import training_data

    names, others = _training_stories(config, dataset, decoded, heard)
    data = training_data(dataset, config.subject, set(dataset.stories(config.subject)) - set(names))
    told = f"Left out of training: {', '.join(others)}, which holds the words of {decoded!r}."
    return [_prepared(run) for run in data.runs], data.stories, (told,) if others else ()


def _training_stories(config: DecodingConfig, dataset: Any, decoded: str, heard: Transcript) -> tuple[list[str], list[str]]:
    """Stories to learn from, and those left out because they hold the words that are decoded."""
    from neurolm.stimuli.repeats import SAME_STORY, shared_words

    training = config.training
    assert training is not None
    there = dataset.stories(config.subject)
    wanted = [name for name in there if name not in training.leave_out] if training.stories == "all" else training.stories
    for name in wanted:
        if name != decoded:
            check_choice("training.stories", name, there)
    same = [n for n in wanted if n == decoded or shared_words(dataset.transcript(n).words, heard.words) > SAME_STORY]
    if training.stories != "all" and same:
        got = ", ".join(name if name == decoded else f"{name}, which has the words of {decoded}" for name in same)
        raise bad("training.stories", "not hold the decoded story", got, "Leave it out: it is what is decoded.")
    return [name for name in there if name in wanted and name not in same], [name for name in same if name != decoded]


def _target(config: DecodingConfig) -> tuple[Any, Any]:
    from neurolm.decoding.tang2023 import Tang2023

    assert config.test is not None
    assert config.test.folder is not None
    return Tang2023(config.test.folder), config.test


def _prepared(run: BoldRun) -> BoldRun:
    from neurolm.brain.preprocess import zscore_run

    return zscore_run(run)


def _judged(config: DecodingConfig, task: str, region: str) -> tuple[tuple[float, float] | None, np.ndarray | None]:
    from neurolm.decoding.tang2023 import read_region, read_segment

    assert config.test is not None
    segment = read_segment(config.test.segments, task) if config.test.segments else None
    return segment, read_region(config.test.rate_voxels, region) if config.test.rate_voxels else None


# ---------------------------------------------------------------- simulated


def _simulated(config: DecodingConfig, states: LMStates | None) -> Material:
    from neurolm.simulation.decoded_subject import simulate_listener

    simulated = config.simulated
    assert simulated is not None
    stories, notes = _simulated_stories(config)
    if states is None:
        return Material([], stories[:-1], None, stories[-1], notes=notes, is_simulated=True)  # type: ignore[arg-type]
    listener = simulate_listener(
        states,
        stories,
        n_training=len(stories) - 1,
        n_voxels=simulated.n_voxels,
        share_with_signal=simulated.share_with_signal,
        snr=simulated.snr,
        rank=simulated.rank,
        ar1=simulated.ar1,
        delays=config.settings().delays,
        seed=config.seed,
    )
    return Material(list(listener.runs[:-1]), stories[:-1], listener.runs[-1], stories[-1], notes=notes, is_simulated=True)


def _simulated_stories(config: DecodingConfig) -> tuple[list[Transcript], tuple[str, ...]]:
    """Moth stories where NEUROLM_DATA has them, else parts of the project's own story."""
    from neurolm.stimuli import read_textgrid

    simulated = config.simulated
    assert simulated is not None
    if simulated.test in simulated.training:
        raise bad("simulated.training", "not hold the decoded story", simulated.test, "Leave it out: it is what is decoded.")
    note = "SIMULATED listener: planted weights and noise. Numbers say what a decoder can do, and nothing about any brain."
    place = os.environ.get("NEUROLM_DATA")
    folder = Path(place) / MOTH if place else None
    names = [*simulated.training, simulated.test]
    if folder is not None and folder.is_dir():
        there = sorted(path.stem for path in folder.glob("*.TextGrid"))
        for name in names:
            check_choice("simulated stories", name, there)
        stories = [lower_case_words(read_textgrid(folder / f"{name}.TextGrid", "word")) for name in names]
    else:
        stories = _parts_of_own_story(len(names))
        note += " The Moth stories are not in NEUROLM_DATA: the listener hears parts of a story that comes with neurolm."
    lengths = [simulated.training_s] * (len(stories) - 1) + [simulated.test_s]
    return [_first_seconds(story, seconds) for story, seconds in zip(stories, lengths)], (note,)


def _simulated_files(config: DecodingConfig) -> Inputs:
    """TextGrids of the Moth stories where they are; else what comes with neurolm."""
    simulated, place = config.simulated, os.environ.get("NEUROLM_DATA")
    assert simulated is not None
    paths = [Path(place or "") / MOTH / f"{name}.TextGrid" for name in (*simulated.training, simulated.test)]
    return {path.name: path for path in paths if place and path.is_file()}


def _parts_of_own_story(n: int) -> list[Transcript]:
    """The embedded story cut into `n` parts of as many words, each on a clock of its own."""
    from neurolm.datasets import load_dataset

    dataset = load_dataset("simulated")
    whole = lower_case_words(dataset.transcript(dataset.stories()[0]))
    edges = np.linspace(0, len(whole), n + 1).astype(int)
    parts = []
    for i, (start, stop) in enumerate(pairwise(edges)):
        part = whole[start:stop].shifted(4.0 - float(whole.onsets[start]))
        parts.append(type(part)(part.words, part.onsets, part.offsets, name=f"part {i + 1}"))
    return parts


def _first_seconds(story: Transcript, seconds: float | None) -> Transcript:
    return story if seconds is None else story[: int(np.searchsorted(story.mid_times, seconds))]
