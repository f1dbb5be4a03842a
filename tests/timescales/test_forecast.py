import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.features import Features
from neurolm.timescales.forecast import ForecastGain, coming_words
from neurolm.timescales.held_out_fit import FitSettings
from neurolm.timescales.timescale_bands import exponential_average

from .planted import Bank, listen, tell

QUICK = FitSettings(alphas=tuple(10.0 ** np.arange(0, 6)), n_folds=3, n_inner_folds=3)


def run(shift_words):
    """Voxels 0 and 1 follow the present; voxel 2 follows words that come `shift_words` later."""
    stories = [tell(900, seed, drift=4) for seed in range(3)]
    bank = Bank((1.0,))
    runs = listen(stories, np.array([1.0, 1.0, 1.0]), 0.8)
    later = listen([_earlier(story, shift_words) for story in stories], np.array([1.0, 1.0, 1.0]), 0.8)
    mixed = [run.with_data(np.column_stack([run.data[:, :2], _fit(other.data, run.n_trs)])) for run, other in zip(runs, later)]
    gain = ForecastGain((6, 30, 54), width=3, n_components=12, n_null=80, settings=QUICK)
    return gain.run([bank.extract(story) for story in stories], mixed)


def _earlier(story, n):
    """The same words, heard n words before: a voxel that knows them in advance."""
    words = (*story.words[n:], *story.words[:n])
    return story.with_words(words)


def _fit(data, n_trs):
    return data[:n_trs, 2:]


@pytest.fixture(scope="module")
def found():
    return run(30)


def test_a_voxel_that_knows_the_future_is_found_at_its_distance(found):
    assert found.valid[2]
    assert found.index[2] == 30
    assert found.curve[1, 2] > 0.1


def test_causal_voxels_are_not_called_predictive(found):
    assert not found.valid[:2].any()
    assert np.isnan(found.index[:2]).all()


def test_a_matched_block_from_elsewhere_gains_nothing(found):
    assert (found.details["matched_block"] < 0.08).all()
    assert (found.details["matched_block"][:, 2] < found.curve[1, 2] / 2).all()


def test_coming_words_are_those_after_the_distance():
    values = np.arange(40.0)[:, None]
    centre = values.mean()
    np.testing.assert_allclose(coming_words(values, 3, 2)[5] + centre, [8, 9])
    np.testing.assert_allclose(coming_words(values, 3, 2)[-1], [0, 0])
    with pytest.raises(InputError, match="within half a story"):
        coming_words(values, 15, 7)


def units(values_of, distances=(3, 11, 60)):
    """Windows of the units that `values_of` makes of words' vectors (900, 6); six directions of them are X."""
    stories = [tell(900, seed, drift=4) for seed in range(3)]
    vectors = np.random.default_rng(0).normal(size=(3, 900, 6))
    features = [Features(values_of(one), story.mid_times) for one, story in zip(vectors, stories)]
    return ForecastGain(distances, width=1, n_components=6, n_null=199, settings=QUICK).units(features)


def test_a_unit_that_reads_ahead_is_found_at_its_distance_and_the_others_are_not():
    def present_and_ahead(x):
        ahead = np.concatenate([x[11:, :1], np.zeros((11, 1))])
        return np.column_stack([4 * x, 0.5 * ahead])  # the last unit lies outside the six leading directions

    found = units(present_and_ahead)
    assert np.flatnonzero(found.valid).tolist() == [6]
    assert found.index[6] == 11
    assert found.curve[1, 6] > 0.8
    assert (found.curve[[0, 2], 6] < 0.1).all()


def test_units_that_hold_only_the_past_are_silent():
    def leaky(x):
        return np.column_stack([exponential_average(x, tau)[:, :3] for tau in (1.0, 4.0, 16.0)])

    found = units(leaky)
    assert not found.valid.any()
    assert np.isnan(found.index).all()


def test_a_causal_unit_gains_where_text_repeats_itself_which_is_why_units_stand_beside_voxels():
    def repeated(x):
        x = np.tile(x[:90], (10, 1))
        past = np.concatenate([np.zeros((30, 1)), x[:-30, :1]])  # what was heard 30 words ago comes again in 60
        return np.column_stack([4 * x, 0.5 * past])

    found = units(repeated)
    assert found.valid[6]
    assert found.index[6] == 60
