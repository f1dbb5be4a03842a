"""What `neurolm decode --dry-run` says: sizes, and time estimated from a few words decoded on this machine."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from neurolm.cli.terminal import bytes_text, progress, say, seconds_text

if TYPE_CHECKING:
    from neurolm.cli.decode_config import DecodingConfig
    from neurolm.cli.decode_material import Material, Models

N_WARM, N_TIMED, TRIAL_WIDTH = 8, 4, 4


def say_plan(config: DecodingConfig) -> None:
    """Say what would be computed; nothing is written."""
    from neurolm.cli.decode_checks import check_models, training_size
    from neurolm.cli.decode_material import open_material, open_models
    from neurolm.features import plan_extraction

    with progress("open") as report:
        models = open_models(config, report)
        material = open_material(config, None if config.simulated is not None else models.states)
    for note in material.notes:
        say(note)
    check_models(config, models, material)
    plans = [plan_extraction(models.states, story, measure_s=0.1) for story in material.stories]
    reading_s = sum(plan.seconds for plan in plans)
    n_words, n_trs, n_voxels = (sum(len(s) for s in material.stories), *training_size(config, material))
    n_features = models.states.extract(material.stories[0][:2]).n_features
    settings = config.settings()
    columns = n_features * len(settings.delays)
    say(
        f"learn from {len(material.stories)} stories: {n_words:,} words, {n_trs:,} TRs x {n_voxels:,} voxels, {columns:,} columns"
    )
    say(f"reading them with {models.states.lm.name}, layer {config.features.layer}: about {seconds_text(reading_s)}, then kept")
    kept = min(settings.n_voxels, n_voxels)
    say(f"decode from {kept:,} voxels; their noise takes {bytes_text(8 * kept**2)}, the likelihood {bytes_text(8 * columns**2)}")
    to_decode = _words_to_decode(config, material)
    with progress("trial") as report:
        report(0, 1, "", "decoding a few words to see how long one takes")
        per_word = _seconds_per_word(config, material, models)
    widths = settings.beam_width / min(TRIAL_WIDTH, settings.beam_width)
    one = per_word * widths * to_decode
    nulls = config.evaluation.nulls
    say(
        f"search: about {to_decode:,} words at a beam of {settings.beam_width}, up to {seconds_text(one)} "
        f"({per_word:.2f} s a word at {min(TRIAL_WIDTH, settings.beam_width)} here; wide beams share more)"
    )
    say(f"evaluate: {nulls.circular_shift} null decodes of the same length, up to {seconds_text(nulls.circular_shift * one)}")
    say(f"-> {config.output}")


def _words_to_decode(config: DecodingConfig, material: Material) -> int:
    """The story's own number of words, or what the mean word rate of the training stories gives for the run."""
    if config.word_times == "true" or config.simulated is not None:
        return len(material.story)
    rate = sum(map(len, material.stories)) / sum(float(story.offsets.max()) for story in material.stories)
    return round(rate * material.run.n_trs * material.run.tr)


def _seconds_per_word(config: DecodingConfig, material: Material, models: Models) -> float:
    """Time of one word at a narrow beam, on BOLD of a single silent voxel."""
    from neurolm.brain import BoldRun, Unplaced
    from neurolm.decoding import BeamSearch, ResponseLikelihood
    from neurolm.encoding import Design

    settings = config.settings()
    n_features = models.states.extract(material.stories[0][:2]).n_features
    n_trs = 40
    times = np.arange(n_trs) * 2.0
    names = tuple(f"f{i}" for i in range(n_features))
    design = Design(settings.delays, 2.0, np.zeros(n_features), np.ones(n_features), names=names)
    run = BoldRun(np.ones((n_trs, 1), dtype=np.float32), times, Unplaced("trial", 1))
    model = SimpleNamespace(coef_=np.zeros((len(settings.delays) * n_features, 1)))
    likelihood = ResponseLikelihood(model, None, design, models.states, run)
    proposals = settings.proposals(models.proposer, settings.vocabulary(material.stories))
    search = BeamSearch(proposals, likelihood, min(TRIAL_WIDTH, settings.beam_width))
    marks = []
    word_times = 10 + 0.4 * np.arange(N_WARM + N_TIMED)
    search.search(word_times, progress=lambda done, total, unit="", note="": marks.append(time.monotonic()))
    return (marks[-1] - marks[N_WARM - 1]) / N_TIMED
