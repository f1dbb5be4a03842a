import numpy as np

from neurolm.stimuli import scramble
from neurolm.timescales import RememberedFeatures, ScrambleWindow, UnitResponder

from .planted import Bank, tell


def test_a_story_is_read_once_and_another_order_is_another_story():
    space, story = RememberedFeatures(Bank((2.0,))), tell(60)
    other = scramble(story, 4, np.random.default_rng(0)).transcript
    first = space.extract(story)
    assert space.extract(story) is first
    assert not np.array_equal(space.extract(other).values, first.values)
    assert (space.n_asked, space.n_computed) == (3, 2)
    space.forget()
    np.testing.assert_array_equal(space.extract(story).values, first.values)
    assert (space.n_asked, space.n_computed) == (1, 1)


def test_two_responders_hear_the_same_scrambled_stories():
    space, experiment = RememberedFeatures(Bank((2.0,))), ScrambleWindow((1, 4), n_scrambles=2)
    for _ in range(2):
        experiment.simulate(UnitResponder(space), [tell(60)])
    assert (space.n_asked, space.n_computed) == (10, 5)
