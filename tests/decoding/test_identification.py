"""Telling stories and windows from each other, and the size of its test."""

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.decoding.identification import identify, identify_similarity
from neurolm.decoding.noise_model import NoiseModel


def smooth(rng, n_trs, n_voxels, width=4):
    white = rng.normal(size=(n_trs + width, n_voxels))
    return np.stack([white[i : i + n_trs] for i in range(width)]).mean(0) * np.sqrt(width)


@pytest.mark.parametrize("by", ["likelihood", "correlation"])
def test_windows_with_signal_are_identified_and_noise_is_not(rng, by):
    predicted = smooth(rng, 300, 20)
    found = identify(predicted + 2 * smooth(rng, 300, 20), predicted, window_trs=10, by=by)
    assert found.mean_percentile_rank > 0.9
    assert found.p_value < 0.001
    assert found.accuracy > 0.4
    nothing = identify(smooth(rng, 300, 20), predicted, window_trs=10, by=by)
    assert abs(nothing.mean_percentile_rank - 0.5) < 0.2
    assert nothing.p_value > 0.02


def test_likelihood_similarity_is_the_gaussian_formula(rng):
    measured, predicted = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    noise = NoiseModel(0.5).fit_residuals(rng.normal(size=(60, 6)), run_onsets=[0, 30])
    precision = np.linalg.inv(noise.covariance_)
    got = identify(measured, predicted, window_trs=8, step_trs=4, noise=noise).similarity
    for i in range(len(got)):
        for j in range(len(got)):
            r = measured[4 * i : 4 * i + 8] - predicted[4 * j : 4 * j + 8]
            assert got[i, j] == pytest.approx(-0.5 * np.einsum("tv,vw,tw->", r, precision, r), abs=1e-9)


def test_noise_covariance_beats_ignoring_it(rng):
    predicted = smooth(rng, 400, 30)
    factors = 3 * rng.normal(size=(2, 30))
    covariance = factors.T @ factors + np.eye(30)
    measured = predicted + 1.5 * rng.multivariate_normal(np.zeros(30), covariance, size=400)
    with_noise = identify(measured, predicted, window_trs=5, noise=NoiseModel.from_covariance(covariance))
    without = identify(measured, predicted, window_trs=5)
    assert with_noise.mean_percentile_rank > without.mean_percentile_rank + 0.05


@pytest.mark.parametrize("by", ["likelihood", "correlation"])
def test_stories_are_told_from_each_other(rng, by):
    predicted = [rng.normal(size=(60, 10)) for _ in range(5)]
    measured = [p + 3 * rng.normal(size=(60, 10)) for p in predicted]
    found = identify(measured, predicted, by=by)
    assert found.accuracy == 1
    assert len(found.null) == 119
    assert found.p_value == pytest.approx(1 / 120)
    own_lengths = [[rng.normal(size=m.shape) if i != j else predicted[i] for j in range(5)] for i, m in enumerate(measured)]
    assert identify(measured, own_lengths, by=by).accuracy == 1


def test_percentile_rank_counts_ties_half():
    similarity = np.array([[3.0, 1, 2, 3], [0, 9, 1, 1], [5, 5, 5, 5], [4, 3, 2, 1]])
    assert identify_similarity(similarity).percentile_ranks == pytest.approx([2.5 / 3, 1, 0.5, 0])


@pytest.mark.parametrize("null", ["block_permutation", "circular_shift"])
def test_p_values_have_their_size_on_autocorrelated_noise(rng, null):
    n_tests = 200
    p = [
        identify(
            smooth(rng, 240, 5, 8), smooth(rng, 240, 5, 8), window_trs=6, null=null, n_permutations=99, block_trs=12, rng=i
        ).p_value
        for i in range(n_tests)
    ]
    rejected = np.mean(np.array(p) <= 0.05)
    assert rejected <= 0.05 + 1.96 * np.sqrt(0.05 * 0.95 / n_tests)


def test_impossible_input_is_refused(rng):
    with pytest.raises(InputError, match="window_trs must be given"):
        identify(np.ones((30, 2)), np.ones((30, 2)))
    with pytest.raises(InputError, match="give at least two windows in 30 TRs"):
        identify(np.ones((30, 2)), np.ones((30, 2)), window_trs=20)
    with pytest.raises(InputError, match="Predict every story at every run's TR times"):
        identify([np.ones((3, 2)), np.ones((4, 2))], [np.ones((3, 2)), np.ones((4, 2))])
    with pytest.raises(InputError, match="Leave out windows in which nothing can be compared"):
        identify_similarity(np.full((3, 3), np.nan))
