"""Repeated stories are recognised by their words."""

import numpy as np
import pytest

from neurolm.stimuli import near_duplicates, shared_words, stimulus_groups

VOCABULARY = [f"word{i}" for i in range(200)]


def story(seed, n=300):
    return [VOCABULARY[i] for i in np.random.default_rng(seed).integers(0, 200, n)]


def changed(words, share, seed=0):
    """Some words replaced by others."""
    rng = np.random.default_rng(seed)
    return ["other" if rng.random() < share else word for word in words]


def test_stories_of_other_words_share_nothing_and_themselves_everything():
    assert shared_words(story(0), story(1)) == 0
    assert shared_words(story(0), story(0)) == 1


@pytest.mark.parametrize(
    "again",
    [
        lambda s: [w.upper() for w in s],
        lambda s: [f"{w}," for w in s] + ["...", "?"],
        lambda s: changed(s, 0.05),
        lambda s: s[40:260],
        lambda s: ["welcome", *s, "thanks"],
    ],
    ids=["case", "punctuation", "a few words differ", "excerpt", "longer"],
)
def test_a_repeat_has_the_number_of_its_story(again):
    first, second = story(0), story(1)
    np.testing.assert_array_equal(stimulus_groups([first, second, again(first), again(second)]), [0, 1, 0, 1])


def test_repeats_of_repeats_are_one_stimulus():
    whole = story(0, 400)
    np.testing.assert_array_equal(stimulus_groups([whole[:200], story(2), whole[190:], whole]), [0, 1, 0, 0])


def test_a_small_overlap_is_reported_and_not_grouped():
    first = story(0)
    second = [*story(1)[:240], *first[:60]]
    np.testing.assert_array_equal(stimulus_groups([first, second]), [0, 1])
    ((i, j, share),) = near_duplicates([first, second])
    assert (i, j, share) == (0, 1, 0.2)


def test_stories_without_words_or_of_few_words_are_compared_as_they_are():
    np.testing.assert_array_equal(stimulus_groups([["yes"], ["no"], ["yes"], [], ["..."]]), [0, 1, 0, 2, 3])
