"""Checks of a decoding before anything is fitted: vocabulary, first words, context, folds, windows and shifts."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.checks import bad

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.cli.decode_config import DecodingConfig
    from neurolm.cli.decode_material import Material, Models
    from neurolm.stimuli import Transcript

SIMULATED_TR = 2.0
N_REHEARSED = 2  # voxels of a rehearsal


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
