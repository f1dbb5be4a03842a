"""Low-level features: pauses, and the columns that stand side by side."""

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.features import LogFrequency, LowLevelWords, PauseBefore
from neurolm.stimuli import Transcript

STORY = Transcript(("Alice", "was", "very", "tired"), [1.0, 1.5, 1.6, 3.0], [1.4, 1.7, 2.0, 3.5])


def test_a_pause_is_the_silence_before_a_word_and_never_negative():
    np.testing.assert_allclose(PauseBefore().extract(STORY).values[:, 0], [0, 0.1, 0, 1.0], atol=1e-6)


def test_a_pause_does_not_depend_on_later_words():
    cut = Transcript(STORY.words[:3], STORY.onsets[:3], STORY.offsets[:3])
    np.testing.assert_array_equal(PauseBefore().extract(cut).values, PauseBefore().extract(STORY).values[:3])


def test_columns_stand_in_the_order_asked_for():
    features = LowLevelWords(["duration", "word_rate", "frequency", "length"], LogFrequency({"was": 9, "very": 1})).extract(STORY)
    assert list(features.slices) == ["duration", "word_rate", "frequency", "length"]
    np.testing.assert_allclose(features.values[:, 0], [0.4, 0.2, 0.4, 0.5], atol=1e-6)
    assert features.values[:, 1].tolist() == [1, 1, 1, 1]
    assert features.values[1, 2] > features.values[2, 2] > features.values[0, 2]
    assert features.values[:, 3].tolist() == [5, 3, 4, 5]


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="columns must be some of word_rate, duration, length, pauses; got frequency"):
        LowLevelWords(["word_rate", "frequency"])
    with pytest.raises(InputError, match="got none"):
        LowLevelWords([])
