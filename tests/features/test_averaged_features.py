import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.features import Features, WordLength
from neurolm.features.function_features import Averaged, average
from neurolm.stimuli import Transcript


def test_means_over_the_past_have_exponential_weights_that_sum_to_one():
    values = np.random.default_rng(0).standard_normal((40, 3))
    averaged = average(Features(values, np.arange(40.0)), 5.0).values
    for i in (0, 7, 39):
        weights = np.exp(-(i - np.arange(i + 1)) / 5)
        np.testing.assert_allclose(averaged[i], weights @ values[: i + 1] / weights.sum(), atol=1e-12)


def test_a_later_word_changes_no_earlier_row():
    values = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    before = average(Features(values, np.arange(40.0)), 5.0).values
    values[30:] += 1
    np.testing.assert_array_equal(average(Features(values, np.arange(40.0)), 5.0).values[:30], before[:30])
    assert before.dtype == np.float32


def test_a_short_time_constant_gives_the_words_themselves():
    story = Transcript(["a", "bcd", "ef"], [0, 1, 2], [0.5, 1.5, 2.5])
    space = Averaged(WordLength(), 0.02)
    np.testing.assert_allclose(space.extract(story).values, WordLength().extract(story).values, atol=1e-9)
    assert space.settings()["of"] == WordLength().settings()


def test_a_time_constant_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"tau must be > 0; got 0. Time constants are in words"):
        Averaged(WordLength(), 0)
