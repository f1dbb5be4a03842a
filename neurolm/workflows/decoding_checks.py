"""Checks of a decoding before anything is fitted, and the estimate of its size and time for a dry run.

Vocabulary, first words, context, folds, windows and shifts are checked; time is estimated from a few words that are decoded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.checks import bad
from neurolm.progress import bytes_text, progress, seconds_text
from neurolm.workflows.decoding_material import Material, Models, open_material, open_models

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.stimuli import Transcript
    from neurolm.workflows.decoding_config import DecodingConfig

SIMULATED_TR = 2.0
N_REHEARSED = 2  # voxels of a rehearsal
N_WARM, N_TIMED, TRIAL_WIDTH = 8, 4, 4  # words of the trial, beams


def check_material(config: DecodingConfig, material: Material) -> None:
    """Refuse what the fit, the search or the evaluation would refuse of the data; part of the preflight.

    Raises
    ------
    InputError
        If no text can begin with the decoder's first words, the training rows leave no fold, or the story has
        too few circular shifts or no window.
    """
    from neurolm.decoding.null import check_shifts
    from neurolm.decoding.text_scores import text_scores
    from neurolm.decoding.window_scores import window_centres

    settings, own = config.settings(), config.evaluation
    settings.vocabulary(material.stories)
    text_scores([name for name in own.scores if name not in ("bertscore", "embedding")])
    n_trs, n_voxels = training_size(config, material)
    settings.check_length(n_trs)
    check_shifts(decoded_run(material), own.nulls.circular_shift, own.nulls.min_shift_s)
    window_centres(material.story, own.window_s, own.step_s, material.segment)
    if material.rate_voxels is not None and material.rate_voxels.max() >= n_voxels:
        raise bad("test.rate_voxels", f"hold columns of the {n_voxels} voxels", int(material.rate_voxels.max()))


def rehearse_fit(config: DecodingConfig, material: Material) -> None:
    """Fit the decoder to the word rate and two invented voxels, on the stories and row times of the real fit.

    Raises
    ------
    InputError
        What `WordDecoder.fit` and the likelihood of the decoded run would raise, and noise that could not be inverted.
    """
    from neurolm.brain.rehearsal_run import invented_run
    from neurolm.decoding import WordDecoder
    from neurolm.features import WordRate

    asked = config.settings()
    n_trs, n_voxels = training_size(config, material)
    kept = min(asked.n_voxels, n_voxels)
    if asked.shrinkage == 0 and asked.n_factors is None and kept >= n_trs:
        raise bad(
            "decoder.shrinkage",
            f"be > 0 where {kept} voxels are decoded with {n_trs} TRs of training",
            0,
            "Their noise covariance has no inverse. Published: 2/3.",
        )
    few = replace(asked, alphas=(10.0, 1000.0), n_bootstraps=1, n_voxels=N_REHEARSED)
    runs = material.runs or [_blank_run(story) for story in material.stories]
    invented = [invented_run(run, N_REHEARSED, story=i) for i, run in enumerate(runs)]
    decoder = WordDecoder(few).fit(WordRate(), invented, material.stories)
    target = material.run or _blank_run(material.story)
    decoder.likelihood(WordRate(), invented_run(target, N_REHEARSED, story=len(runs)))


def _blank_run(story: Transcript) -> BoldRun:
    """The times of a simulated subject's run, whose BOLD is not made yet."""
    from neurolm.brain import BoldRun, Unplaced

    times = SIMULATED_TR * np.arange(_n_trs(story))
    return BoldRun(np.zeros((len(times), 1), np.float32), times, Unplaced("simulated", 1), "simulated", story.name)


def check_models(config: DecodingConfig, models: Models, material: Material) -> None:
    """Refuse before the fit a model that cannot propose words, or features that the search cannot make."""
    from neurolm.decoding.candidate_features import CandidateFeatures

    settings = config.settings()
    proposals = settings.proposals(models.proposer, settings.vocabulary(material.stories))
    CandidateFeatures(models.states, proposals.lexicon)


def training_size(config: DecodingConfig, material: Material) -> tuple[int, int]:
    """(n_trs, n_voxels) of the training runs, also of a simulated subject whose BOLD is not made yet."""
    if config.simulated is not None:
        return sum(_n_trs(story) for story in material.stories), config.simulated.n_voxels
    return sum(run.n_trs for run in material.runs), material.runs[0].n_voxels


def decoded_run(material: Material) -> Any:
    """The run to decode, or its length and TR where the subject is simulated and its BOLD is not made yet."""
    return material.run or SimpleNamespace(n_trs=_n_trs(material.story), tr=SIMULATED_TR)


def _n_trs(story: Any) -> int:
    return int(np.ceil((story.offsets.max() + 10) / SIMULATED_TR))


def estimate_decoding(config: DecodingConfig) -> Iterator[str]:
    """Sizes, and time estimated from a few words decoded on this machine, for a dry run."""
    from neurolm.features import plan_extraction

    with progress("open") as report:
        models = open_models(config, report)
        material = open_material(config, None if config.simulated is not None else models.states)
    yield from material.notes
    check_models(config, models, material)
    plans = [plan_extraction(models.states, story, measure_s=0.1) for story in material.stories]
    reading_s = sum(plan.seconds for plan in plans)
    n_words, n_trs, n_voxels = (sum(len(s) for s in material.stories), *training_size(config, material))
    n_features = models.states.extract(material.stories[0][:2]).n_features
    settings = config.settings()
    columns = n_features * len(settings.delays)
    yield (
        f"learn from {len(material.stories)} stories: {n_words:,} words, {n_trs:,} TRs x {n_voxels:,} voxels, {columns:,} columns"
    )
    yield f"reading them with {models.states.lm.name}, layer {config.features.layer}: about {seconds_text(reading_s)}, then kept"
    kept = min(settings.n_voxels, n_voxels)
    yield f"decode from {kept:,} voxels; their noise takes {bytes_text(8 * kept**2)}, the likelihood {bytes_text(8 * columns**2)}"
    to_decode = _words_to_decode(config, material)
    with progress("trial") as report:
        report(0, 1, "", "decoding a few words to see how long one takes")
        per_word = _seconds_per_word(config, material, models)
    widths = settings.beam_width / min(TRIAL_WIDTH, settings.beam_width)
    one = per_word * widths * to_decode
    nulls = config.evaluation.nulls
    yield (
        f"search: about {to_decode:,} words at a beam of {settings.beam_width}, up to {seconds_text(one)} "
        f"({per_word:.2f} s a word at {min(TRIAL_WIDTH, settings.beam_width)} here; wide beams share more)"
    )
    yield f"evaluate: {nulls.circular_shift} null decodes of the same length, up to {seconds_text(nulls.circular_shift * one)}"
    yield f"-> {config.output}"


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
