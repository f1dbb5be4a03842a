import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.stimuli import ContextWindow, Transcript


def story(**change):
    fields = {"words": ["once", "upon", "a"], "onsets": [0.0, 0.5, 1.0], "offsets": [0.4, 0.9, 1.2]} | change
    return Transcript(**fields)


def test_mid_times_text_and_slices():
    s = story(sentences=[0, 0, 1])
    np.testing.assert_allclose(s.mid_times, [0.2, 0.7, 1.1])
    assert s.text == "once upon a"
    assert s[1:].words == ("upon", "a")
    assert s[1:].sentences.tolist() == [0, 1]
    assert s.shifted(2).onsets[0] == 2
    assert s == story(sentences=[0, 0, 1]) != story()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"onsets": [0.0, 2.0, 1.0], "offsets": [1.0, 2.0, 3.0]},
            r"time order; got word 2 \('a'\) at 1.000 s after 'upon' at 2.000",
        ),
        ({"onsets": [0.0, np.nan, 1.0]}, "finite everywhere; got 1 NaN"),
        ({"offsets": [0.4, 0.3, 1.2]}, "not lie before the onsets"),
        ({"onsets": [0.0, 1.0]}, "same length; got 3 and 2"),
        ({"words": ["a", " ", "b"]}, r"words\[1\] of story must be text"),
        ({"sentences": [1, 0, 0]}, "never decrease"),
    ],
)
def test_impossible_transcripts_are_refused_with_the_place(change, message):
    with pytest.raises(InputError, match=message):
        story(**change)


@pytest.mark.parametrize(
    ("n", "unit"), [(0, "words"), (None, "words"), (3, "story"), (1, "sliding"), (2, "letters"), (2.0, "words")]
)
def test_impossible_windows_are_refused(n, unit):
    with pytest.raises(InputError):
        ContextWindow(n, unit)
