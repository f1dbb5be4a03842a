"""The whole decoder on simulated listeners to real Moth stories: nothing where nothing is, and more where there is more."""

import os
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.decoding import (
    BeamSearch,
    DecoderSettings,
    FunctionalAlignment,
    WordDecoder,
    error_kind,
    identify,
    null_decodes,
    score_windows,
    teacher_forced_ranks,
)
from neurolm.decoding.diagnosis import comparable_words, word_accuracy
from neurolm.decoding.noise_model import NoiseModel
from neurolm.decoding.word_rate import words_per_tr
from neurolm.features import FeatureCache, LMStates
from neurolm.lm import load
from neurolm.simulation.decoded_subject import simulate_listener
from neurolm.stimuli import ContextWindow, read_textgrid

pytestmark = pytest.mark.slow

TRAINING, TEST = ("souls", "avatar", "legacy", "odetostepfather", "undertheinfluence", "howtodraw"), "wheretheressmoke"
SNRS, SEEDS, TEST_S = (0.0, 0.1, 1.0, 10.0), 3, 45.0
SETTINGS = DecoderSettings(n_voxels=200, n_bootstraps=6, alphas=tuple(np.logspace(0, 7, 15).tolist()), beam_width=15)


@cache
def material():
    """Stories, a trained language model of this package, and its states as features."""
    folder = Path(os.environ.get("NEUROLM_DATA", "")) / "moth_textgrids" / "TextGrids"
    if not os.environ.get("NEUROLM_DATA") or not folder.is_dir():
        pytest.skip("the Moth TextGrids are not in NEUROLM_DATA")
    stories = [read_textgrid(folder / f"{name}.TextGrid", "word") for name in (*TRAINING, TEST)]
    stories = [story.with_words([word.lower() for word in story.words]) for story in stories]
    stories[-1] = stories[-1][: int(np.searchsorted(stories[-1].mid_times, TEST_S))]
    try:
        lm = load("neurolm/lstm-small")
    except InputError as error:
        pytest.skip(f"needs the small LSTM: {error}")
    return lm, LMStates(lm, 2, ContextWindow(6), lowercase=True, cache=FeatureCache()), stories


@cache
def listener(snr, seed):
    """A simulated listener and the decoder learned from its training runs."""
    lm, space, stories = material()
    made = simulate_listener(space, stories, n_training=len(TRAINING), snr=snr, seed=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*of the targets chose the")  # voxels without signal do
        decoder = WordDecoder(SETTINGS).fit(space, made.runs[:-1], stories[:-1])
    return made, decoder, decoder.search(lm, space, made.runs[-1])


@cache
def decoded(snr, seed, with_true_words):
    _, _, search = listener(snr, seed)
    story = material()[2][-1]
    return search.decode(story.mid_times, extra_words=comparable_words(story) if with_true_words else None)


def over_seeds(measure):
    """(n_snrs,) means over seeds."""
    return [float(np.mean([measure(snr, seed) for seed in range(SEEDS)])) for snr in SNRS]


@pytest.mark.timeout(3600)
def test_every_score_rises_with_the_signal():
    story = material()[2][-1]
    scores = {snr: [score_windows(decoded(snr, seed, True), story, 10) for seed in range(SEEDS)] for snr in SNRS}
    for name, sign in (("wer", -1), ("bleu1", 1), ("meteor", 1)):
        means = [sign * float(np.mean([one.story_score(name) for one in scores[snr]])) for snr in SNRS]
        assert all(b > a - 0.02 for a, b in pairwise(means)), (name, means)
        assert means[-1] > means[0] + 0.1, (name, means)
    accuracy = over_seeds(lambda snr, seed: word_accuracy(decoded(snr, seed, True), story))
    assert all(b > a - 0.02 for a, b in pairwise(accuracy)), accuracy


@pytest.mark.timeout(3600)
def test_identification_is_at_chance_without_signal_and_rises():
    def rank(snr, seed):
        made, decoder, _ = listener(snr, seed)
        _, space, stories = material()
        X = decoder.design_.transform(space.extract(stories[-1]), made.runs[-1].tr_times).astype(float)
        return identify(made.runs[-1].data[:, decoder.voxels_], X @ decoder.coef_, window_trs=4).mean_percentile_rank

    means = over_seeds(rank)
    assert means[0] == pytest.approx(0.5, abs=0.2)
    assert means[-1] > 0.95
    assert all(b > a - 0.05 for a, b in pairwise(means)), means


@pytest.mark.timeout(3600)
def test_without_signal_the_story_score_is_one_of_its_null():
    """Eight p values against decodes of circularly shifted BOLD: small ones are as rare as they should be."""
    story = material()[2][-1]
    p = []
    for seed in range(SEEDS):
        _, _, search = listener(0.0, seed)
        narrow = search.with_likelihood(search.likelihood, 5)
        nulls = null_decodes(narrow, story.mid_times, 9, min_shift_s=10, rng=seed)
        scores = score_windows(narrow.decode(story.mid_times), story, 10, null=nulls)
        p += [scores.story_p(name) for name in ("bleu1", "meteor")]
    assert np.mean(np.array(p) <= 0.1) < 0.5
    assert np.mean(p) > 0.2


@pytest.mark.timeout(3600)
def test_at_high_signal_the_truth_is_never_less_likely_than_the_output():
    story = material()[2][-1]
    for seed in range(SEEDS):
        _, _, search = listener(10.0, seed)
        for helped in (False, True):
            assert error_kind(search.likelihood, decoded(10.0, seed, helped), story).kind != "model error"


@pytest.mark.timeout(3600)
def test_noise_covariance_beats_ignoring_it():
    _, space, stories = material()
    gains = []
    for seed in range(SEEDS):
        made, decoder, search = listener(0.1, seed)
        with_noise = teacher_forced_ranks(search, stories[-1]).percentile_rank
        known = decoder.noise_
        decoder.noise_ = NoiseModel.from_covariance(np.eye(known.n_voxels))
        white = search.with_likelihood(decoder.likelihood(space, made.runs[-1]))
        decoder.noise_ = known
        gains.append(with_noise - teacher_forced_ranks(white, stories[-1]).percentile_rank)
    assert np.mean(gains) > 0


@pytest.mark.timeout(3600)
def test_the_word_rate_is_recovered():
    story = material()[2][-1]
    r = []
    for seed in range(SEEDS):
        made, decoder, _ = listener(1.0, seed)
        run = made.runs[-1]
        r.append(np.corrcoef(decoder.word_rate_.predict(run), words_per_tr(story, run.tr_times))[0, 1])
    assert np.mean(r) > 0.35, r


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", ["ridge", "procrustes"])
def test_a_listener_is_decoded_with_anothers_model(method):
    """Goal and reference share responses; the goal never contributes to the decoder."""
    lm, space, stories = material()
    reference, decoder, _ = listener(1.0, 0)
    mixing = np.random.default_rng(5).normal(size=(reference.runs[0].n_voxels, 150)) / 10
    goal = [mixed(run, mixing, seed) for seed, run in enumerate(reference.runs)]
    alignment = FunctionalAlignment(method).fit(goal[:3], list(reference.runs[:3]))
    search = decoder.search(lm, space, alignment.transform(goal[-1]))
    aligned = teacher_forced_ranks(search, stories[-1]).percentile_rank
    null = teacher_forced_ranks(search.with_likelihood(search.likelihood.shifted(12)), stories[-1]).percentile_rank
    assert aligned > null + 0.08, (aligned, null)


def mixed(run, mixing, seed):
    """The same responses seen through other voxels, with noise of their own."""
    from neurolm.brain import BoldRun, Unplaced

    rng = np.random.default_rng(100 + seed)
    data = run.data @ mixing
    data = data / data.std(0) + 0.5 * rng.normal(size=data.shape)
    return BoldRun(data, run.tr_times, Unplaced("goal", data.shape[1]), "goal", run.story)


def test_more_beam_never_makes_the_output_less_likely_by_much():
    story = material()[2][-1]
    _, _, search = listener(1.0, 0)
    likelihoods = [
        BeamSearch(search.proposals, search.likelihood, width).search(story.mid_times).hypotheses[0].log_likelihood
        for width in (1, 5, 15)
    ]
    assert likelihoods[0] < likelihoods[-1]
