"""Words per TR from BOLD: golden numbers, and a planted rate."""

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.decoding.word_rate import WordRateModel, length_aware_times, shift_run, times_from_rate, words_per_tr
from neurolm.stimuli import Transcript
from neurolm.temporal import delay_run

from .conftest import TR


def test_rates_round_half_to_even_and_never_below_zero():
    times = times_from_rate([0.5, 1.5, 2.5, 3.5, -2.0, 0.49], np.arange(6) * 2.0)
    assert times == pytest.approx([2.5, 3.5, 4.5, 5.5, 6.25, 6.75, 7.25, 7.75])
    assert np.histogram(times, np.arange(7) * 2.0)[0].tolist() == [0, 2, 2, 4, 0, 0]


def test_one_word_sits_in_the_middle_of_its_tr():
    assert times_from_rate([0, 1, 0], [10.0, 12.0, 14.0]) == pytest.approx([13.0])


def test_shift_takes_responses_after_the_row():
    Y = np.arange(1.0, 7.0)[:, None]
    assert shift_run(Y, [-2, -1]).T.tolist() == [[3, 4, 5, 6, 0, 0], [2, 3, 4, 5, 6, 0]]
    assert np.array_equal(shift_run(Y, [1, 3]), delay_run(Y, [1, 3]))
    with pytest.raises(InputError, match="Delays are in TRs"):
        shift_run(Y, [-6])


def simulated(rng, n_trs, n_voxels=30, noise=3.0, weights=None):
    """A listener whose voxels follow the words of 1 to 4 TRs before."""
    rate = 4 + 2 * np.sin(np.arange(n_trs) / 7) + rng.normal(size=n_trs)
    times = times_from_rate(rate, np.arange(n_trs) * TR)
    story = Transcript(("word",) * len(times), times, times)
    x = words_per_tr(story, np.arange(n_trs) * TR)
    weights = rng.normal(size=(4, n_voxels)) + 1 if weights is None else weights
    data = delay_run((x - x.mean())[:, None], [1, 2, 3, 4]) @ weights + noise * rng.normal(size=(n_trs, n_voxels))
    return BoldRun(data, np.arange(n_trs) * TR, Regions(tuple(f"v{i}" for i in range(n_voxels)))), story, weights


def test_a_planted_word_rate_is_recovered_on_a_held_out_run(rng):
    first, first_story, weights = simulated(rng, 200)
    second, second_story, _ = simulated(rng, 200, weights=weights)
    test, test_story, _ = simulated(rng, 150, weights=weights)
    model = WordRateModel().fit([first, second], [first_story, second_story])
    true = words_per_tr(test_story, test.tr_times)
    assert np.corrcoef(model.predict(test), true)[0, 1] > 0.9
    times = model.predict_times(test)
    assert abs(len(times) - len(test_story)) < 0.03 * len(test_story)
    shuffled = test.with_data(np.roll(test.data, 60, axis=0))
    assert abs(np.corrcoef(model.predict(shuffled), true)[0, 1]) < 0.5


def test_rate_comes_from_the_chosen_voxels_alone(rng):
    run, story, _ = simulated(rng, 120)
    data = run.data.copy()
    data[:, 7] = np.nan
    model = WordRateModel(voxels=[1, 2, 3]).fit([run.with_data(data)], [story])
    assert np.isfinite(model.predict(run.with_data(data))).all()
    assert len(model.coef_) == 12
    with pytest.raises(InputError, match="Choose voxels without NaN"):
        WordRateModel().fit([run.with_data(data)], [story])


def test_arrays_hold_the_whole_model(rng):
    run, story, _ = simulated(rng, 80)
    model = WordRateModel(voxels=[0, 5]).fit([run], [story])
    again = WordRateModel.from_arrays(*model.to_arrays())
    assert np.array_equal(again.predict(run), model.predict(run))


def test_no_word_anywhere_is_an_error(rng):
    run, story, _ = simulated(rng, 80)
    model = WordRateModel().fit([run], [story])
    model.mean_rate_ = -50.0
    with pytest.raises(InputError, match=r"word rate must round to at least one word somewhere in the run; got at most -\d"):
        model.predict_times(run)
    with pytest.raises(InputError, match="be fitted first"):
        WordRateModel().predict(run)


def test_long_words_get_more_of_their_tr():
    starts = np.arange(3) * 2.0
    times = times_from_rate([2, 0, 1], starts)
    got = length_aware_times(["a", "extraordinary", "b"], times, starts)
    assert got == pytest.approx([2 * 1.5 / 18, 2 * (3 + 7.5) / 18, 5.0])
    assert (np.diff(got) > 0).all()
    same = length_aware_times(["abc", "xyz", "b"], times, starts)
    assert same == pytest.approx(times)
