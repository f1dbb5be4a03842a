"""Scramble, swap and switch on responders whose windows are known."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import spearmanr

from neurolm.checks import InputError
from neurolm.stimuli import Transcript
from neurolm.timescales.responder import UnitResponder
from neurolm.timescales.scramble import ScrambleWindow
from neurolm.timescales.swap import SwapWindow, fit_influence, structure_yoking
from neurolm.timescales.switch import SwitchWindow, half_time

from .planted import Bank, tell

TAUS = np.array([2.0, 4.0, 8.0, 16.0])
LEAKY = UnitResponder(Bank(tuple(TAUS)))
RESETTING = UnitResponder(Bank(tuple(TAUS), resets=True))


def one_paragraph(story):
    same = np.zeros(len(story), dtype=int)
    return Transcript(story.words, story.onsets, story.offsets, same, same)


def per_scale(index):
    return index.reshape(len(TAUS), -1).mean(1)


def test_swaps_reach_as_far_as_the_leak():
    result = SwapWindow(120, n_swaps=12, n_bootstrap=20).run(LEAKY, [tell(800)])
    lags = np.arange(121)
    np.testing.assert_allclose(result.curve[:, ::4], np.exp(-lags[:, None] / TAUS), atol=1e-9)
    share = np.log(4) * TAUS  # words that hold three quarters of an exponential
    np.testing.assert_allclose(per_scale(result.index), share, rtol=0.05)


def test_a_convolution_gives_back_its_kernel():
    kernel = np.array([1.0, -0.5, 0.0, 0.25, 0.125])

    class Convolution:
        space = None

        def respond(self, transcript):
            x = np.random.default_rng(0).normal(size=500)[[int(w[1:]) for w in transcript.words]]
            return np.convolve(x, kernel)[: len(x), None]

    result = SwapWindow(8, n_swaps=10, n_bootstrap=5).run(Convolution(), [tell(300)])
    np.testing.assert_allclose(result.curve[:5, 0], np.abs(kernel), atol=1e-12)
    np.testing.assert_allclose(result.curve[5:, 0], 0, atol=1e-12)


def test_a_model_that_resets_at_boundaries_is_yoked_to_structure():
    story = tell(800, sentence=12)
    by_sentence = Transcript(story.words, story.onsets, story.offsets, story.sentences, story.sentences)
    free = SwapWindow(20, n_swaps=80, n_bootstrap=5).run(LEAKY, [by_sentence]).details["structure_yoking"]
    yoked = SwapWindow(20, n_swaps=80, n_bootstrap=5).run(RESETTING, [by_sentence]).details["structure_yoking"]
    np.testing.assert_allclose(yoked, 0, atol=1e-12)
    np.testing.assert_allclose(free, 1, atol=1e-9)


def test_yoking_is_unknown_where_no_lag_is_on_both_sides():
    crossed = np.array([[False, True], [False, True]])
    assert np.isnan(structure_yoking(np.ones((2, 2, 3)), crossed)).all()


def test_a_lag_with_a_single_swap_on_one_side_hardly_moves_the_yoking():
    rng = np.random.default_rng(0)
    changes = np.exp(-np.arange(30) / 8)[None, :, None] * rng.exponential(size=(200, 1, 1)) * rng.uniform(0.8, 1.2, (200, 30, 1))
    crossed = np.arange(30) >= rng.integers(5, 15, 200)[:, None]
    crossed[0] = False  # one sentence is long, and a single odd swap is all that stays within
    changes[0, 1:] *= 20  # it changed little at once
    changes[0] /= 20
    assert structure_yoking(changes, crossed)[0] == pytest.approx(1, abs=0.3)  # .2 where every lag counts alike


def test_power_law_and_exponential_are_told_apart():
    lags = np.arange(21)
    planted = np.array([[1.0, 0.5, 2.0], [0.3, 1.0, 0.05], [0.2, 0.9, 0.5]])  # a, b, c of three voxels
    a, b, c = planted
    curve = c * (lags[:, None] + 1.0) ** -a + (1 - c) * np.exp(-b * lags[:, None])
    np.testing.assert_allclose(fit_influence(curve), planted, rtol=0.1)


def test_scrambling_recovers_the_order_of_timescales():
    result = ScrambleWindow((1, 2, 4, 8, 16, 32, 64, 128), n_scrambles=2).simulate(LEAKY, [tell(1500)])
    windows = per_scale(result.index)
    assert spearmanr(windows, TAUS).statistic == 1
    assert (np.diff(np.log2(windows)) > 0.5).all()
    low, high = result.interval
    assert (low <= result.index).all()
    assert (result.index <= high).all()
    assert (result.curve[-1] > 0.8).all()


def test_variance_of_slow_responses_falls_when_topics_are_scrambled():
    result = ScrambleWindow((1, 64), n_scrambles=2).simulate(LEAKY, [tell(1500)])
    ratio = result.details["variance_ratio"].reshape(2, len(TAUS), -1).mean(2)
    assert ratio[0, -1] < 0.7 * ratio[0, 0]
    assert (np.abs(ratio[1] - 1) < 0.2).all()


def test_sentences_and_paragraphs_are_levels_by_their_mean_length():
    result = ScrambleWindow((1, "paragraph", "sentence"), n_scrambles=1).simulate(LEAKY, [tell(600)])
    assert result.scales.tolist() == [1, 12, 60]
    assert result.details["levels"] == [1, "sentence", "paragraph"]


def test_a_level_without_marks_says_how_to_get_them():
    story = tell(600)
    unmarked = Transcript(story.words, story.onsets, story.offsets)
    with pytest.raises(InputError, match="mark_sentences"):
        ScrambleWindow((1, "sentence")).simulate(LEAKY, [unmarked])


def test_pieces_longer_than_half_the_story_are_refused():
    with pytest.raises(InputError, match="at least two pieces"):
        ScrambleWindow((1, 64)).simulate(LEAKY, [tell(100)])


@pytest.fixture(scope="module")
def switched():
    stories = [one_paragraph(tell(1500, seed, drift=20)) for seed in range(3)]
    settings = {"n_segments": 150, "past": 100, "n_words": 60, "n_bootstrap": 3}
    return SwitchWindow(**settings).run(LEAKY, stories), SwitchWindow(**settings).run(RESETTING, stories)


def test_a_leaky_integrator_constructs_with_its_half_life(switched):
    leaky, _ = switched
    np.testing.assert_allclose(per_scale(leaky.index), TAUS * np.log(2), rtol=0.25)


def test_a_linear_integrator_forgets_as_slowly_as_it_constructs(switched):
    leaky, _ = switched
    ratio = leaky.details["ratio"].reshape(len(TAUS), -1).mean(1)
    assert (ratio > 0.5).all()
    assert (ratio < 2).all()


def test_a_resetting_integrator_forgets_at_once_and_constructs_slowly(switched):
    _, resetting = switched
    forget = per_scale(resetting.details["forgetting"].index)
    assert (forget < 1.1).all()
    assert resetting.details["ratio"].reshape(len(TAUS), -1).mean(1)[-1] < 0.2


def test_half_time_of_an_exponential_is_that_of_its_fall():
    t = np.arange(61)[:, None]
    np.testing.assert_allclose(half_time(np.exp(-t / TAUS)), TAUS * np.log(2), rtol=0.25)


def test_half_times_agree_with_scipy():
    rng = np.random.default_rng(0)
    t = np.arange(61.0)
    y = np.exp(-t[:, None] / TAUS) + 0.05 * rng.normal(size=(61, 4))

    def logistic(t, a, b, c, d):
        return (a - d) / (1 + np.exp(b * (t - c))) + d

    for one, found in zip(y.T, half_time(y)):
        q, _ = curve_fit(logistic, t, one, p0=(1.2, 0.5, 3, 0.0), bounds=([0, 0.01, -61, -0.5], [20, 20, 61, 1.5]))
        values = logistic(t, *q)
        assert logistic(found, *q) == pytest.approx((values[0] + values[-1]) / 2, abs=0.01)


def test_a_flat_curve_has_no_half_time():
    assert np.isnan(half_time(np.ones((30, 1)))).all()


def test_short_stories_are_refused_before_the_work():
    with pytest.raises(InputError, match="hold one of at least 224 words"):
        SwitchWindow().run(LEAKY, [tell(120)])
    with pytest.raises(InputError, match="64 words after each swap"):
        SwapWindow().run(LEAKY, [tell(70)])
