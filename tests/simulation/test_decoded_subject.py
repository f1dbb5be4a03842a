"""Simulated listeners have exactly what was planted in them."""

import numpy as np
import pytest
from toy_stories import WORDS, toy_story

from neurolm.checks import InputError
from neurolm.features import LMStates
from neurolm.lm import ToyModel
from neurolm.simulation.decoded_subject import correlated_noise, noise_covariance, simulate_listener
from neurolm.stimuli import ContextWindow


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def listener(rng, snr, **settings):
    space = LMStates(ToyModel.for_words(WORDS, width=8), 2, ContextWindow(3), lowercase=True)
    stories = [toy_story(rng, n, 1.5) for n in (300, 300, 100)]
    return space, stories, simulate_listener(space, stories, n_training=2, n_voxels=40, snr=snr, rank=6, **settings)


def test_signal_and_noise_have_the_ratio_asked_for(rng):
    space, stories, made = listener(rng, 0.5)
    X = np.concatenate([made.design.transform(space.extract(s), r.tr_times) for s, r in zip(stories, made.runs)]).astype(float)
    data = np.concatenate([run.data for run in made.runs])
    signal = X @ made.weights
    noise = data - signal
    with_signal = made.has_signal
    assert with_signal.sum() == 28
    assert signal[:, ~with_signal].std() == 0
    assert np.var(signal[:, with_signal], axis=0) / np.var(noise[:, with_signal], axis=0) == pytest.approx(0.5, rel=0.4)
    assert data.std(0) == pytest.approx(np.ones(40), abs=0.15)
    got = np.cov(noise.T)
    assert np.linalg.norm(got - made.covariance) < 0.35 * np.linalg.norm(made.covariance)


def test_no_signal_plants_none_and_the_seed_decides(rng):
    _, _, none = listener(rng, 0.0)
    assert not none.weights.any()
    space, stories, first = listener(np.random.default_rng(1), 0.5, seed=3)
    again = simulate_listener(space, stories, n_training=2, n_voxels=40, snr=0.5, rank=6, seed=3)
    assert np.array_equal(first.runs[2].data, again.runs[2].data)
    assert [run.story for run in first.runs] == [story.name for story in stories]


def test_noise_is_stationary_with_its_covariance_and_autocorrelation(rng):
    covariance = noise_covariance(10, 3, rng)
    assert np.diag(covariance) == pytest.approx(np.ones(10))
    noise = correlated_noise(40_000, covariance, 0.4, rng)
    assert np.abs(np.cov(noise.T) - covariance).max() < 0.06
    lag_1 = [np.corrcoef(column[1:], column[:-1])[0, 1] for column in noise.T]
    assert lag_1 == pytest.approx(0.4 * np.ones(10), abs=0.03)
    assert noise[0].std() < 3


def test_training_stories_must_be_among_the_stories(rng):
    with pytest.raises(InputError, match=r"n_training must lie in 1..1, the stories; got 2"):
        simulate_listener(None, [toy_story(rng, 10)], n_training=2)
