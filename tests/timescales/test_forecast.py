import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.timescales.forecast import ForecastGain, coming_words
from neurolm.timescales.held_out_fit import FitSettings

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
