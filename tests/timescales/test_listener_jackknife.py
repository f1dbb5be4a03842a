import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.brain.preprocess import mean_run
from neurolm.checks import InputError
from neurolm.timescales.listener_jackknife import jackknife_interval, jackknifed, mean_and_halves
from neurolm.timescales.window_result import WindowResult

RNG = np.random.default_rng(0)
SPACE = Regions(("a", "b"))


def subjects(n, stories=("s", "t")):
    return [[BoldRun(RNG.normal(size=(12, 2)), np.arange(12) * 2.0, SPACE, f"{i}", story) for story in stories] for i in range(n)]


def windows(index, curve):
    index = np.asarray(index, dtype=float)
    n = len(index)
    return WindowResult(
        "x", np.array([1.0, 2.0]), curve, index, np.full((2, n), np.nan), np.full(n, 0.01), np.ones(n, bool), "words"
    )


def test_columns_are_the_means_of_the_same_half_in_every_story():
    everyone = subjects(4)
    mean, halves = mean_and_halves(everyone, 5)
    assert [run.story for run in halves] == ["s", "t"]
    np.testing.assert_allclose(mean[1].data, mean_run([runs[1] for runs in everyone]).data)
    pairs = [(a, b) for a in range(4) for b in range(a)]
    for half in range(5):
        column = slice(2 * half, 2 * half + 2)
        matching = [
            {
                i
                for i, (a, b) in enumerate(pairs)
                if np.allclose((everyone[a][story].data + everyone[b][story].data) / 2, one, atol=1e-6)
            }
            for story, one in enumerate(run.data[:, column] for run in halves)
        ]
        assert matching[0] == matching[1]
        assert len(matching[0]) == 1


def test_the_error_of_a_mean_is_students():
    from scipy.stats import t

    values, rng = RNG.normal(size=(20, 3)), np.random.default_rng(1)
    halves = np.stack([values[rng.permutation(20)[:10]].mean(0) for _ in range(4000)])
    low, high = jackknife_interval(values.mean(0), halves, 20)
    expected = t.interval(0.95, 19, loc=values.mean(0), scale=values.std(0, ddof=1) / np.sqrt(20))
    np.testing.assert_allclose((low, high), expected, rtol=0.05, atol=0.01)


def test_intervals_of_a_threshold_cover_the_truth_about_as_often_as_they_say():
    inside, scales = 0, np.arange(1.0, 30.0)
    for _ in range(300):
        values = 1 - np.exp(-scales / np.exp(RNG.normal(1.5, 0.3, size=(20, 1))))  # listeners' curves
        crossing = [np.interp(0.75, curve, np.log(scales)) for curve in _halves_of(values)]
        own, truth = np.interp(0.75, values.mean(0), np.log(scales)), _truth(scales)
        low, high = jackknife_interval(np.array([own]), np.array(crossing)[:, None], 20)
        inside += low[0] <= truth <= high[0]
    assert 0.88 < inside / 300 < 0.99


def _halves_of(values, n=40):
    rng = np.random.default_rng(0)
    return [values[rng.permutation(20)[:10]].mean(0) for _ in range(n)]


def _truth(scales):
    many = 1 - np.exp(-scales / np.exp(np.random.default_rng(9).normal(1.5, 0.3, size=(20_000, 1))))
    return np.interp(0.75, many.mean(0), np.log(scales))


def test_a_window_that_few_halves_have_has_no_interval():
    curve, half_curve = np.ones((2, 2)), np.ones((2, 10))
    index = [1.5, 1.5, 1.3, np.nan, 1.6, np.nan, 1.5, 1.5, 1.4, 1.5]
    low, high = jackknifed(windows([1.5, 1.5], curve), windows(index, half_curve), 6).interval
    assert low[0] < 1.5 < high[0]
    assert np.isnan(low[1])


def test_intervals_end_with_the_scales():
    halves = windows(np.exp(RNG.normal(0.3, 3, size=20)), np.ones((2, 20)))
    result = jackknifed(windows([1.5], np.ones((2, 1))), halves, 6)
    np.testing.assert_allclose(result.interval[:, 0], [1, 2])
    assert result.details["n_listeners"] == 6


def test_two_listeners_are_too_few():
    with pytest.raises(InputError, match="at least 3 for intervals over listeners"):
        mean_and_halves(subjects(2))
