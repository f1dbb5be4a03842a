import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurolm.checks import InputError
from neurolm.stimuli import Transcript, scramble, swap, switch, truncate


def story(n=60, seed=0, marks=True, name="tale"):
    rng = np.random.default_rng(seed)
    steps, durations = rng.uniform(0.2, 0.8, n), rng.uniform(0.05, 0.2, n)
    onsets = 3 + np.cumsum(steps) - steps[0]
    sentences = np.sort(rng.integers(0, n // 6 + 1, n)) if marks else None
    paragraphs = sentences // 3 if marks else None
    return Transcript([f"{name}{i}" for i in range(n)], onsets, onsets + durations, sentences, paragraphs, name)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(level=st.sampled_from(["word", "sentence", "paragraph", 1, 2, 7, 60, 1000]), n=st.integers(1, 80), seed=st.integers(0, 99))
def test_scrambling_keeps_every_word_its_length_and_the_storys_length(level, n, seed):
    old = story(n, seed)
    result = scramble(old, level, np.random.default_rng(seed))
    new, source = result.transcript, result.source_index
    assert sorted(source) == list(range(n))
    assert new.words == tuple(old.words[i] for i in source)
    np.testing.assert_allclose(new.offsets - new.onsets, (old.offsets - old.onsets)[source])
    assert new.onsets[0] == old.onsets[0]
    last_pause = np.append(old.onsets[1:], old.offsets[-1])[source[-1]] - old.offsets[source[-1]]
    np.testing.assert_allclose(new.offsets[-1] + last_pause, old.offsets[-1])
    assert tuple(new.words[i] for i in result.target_index) == old.words


@pytest.mark.parametrize("level", ["sentence", "paragraph", 8])
def test_inside_a_unit_order_and_pauses_stay(level):
    old = story()
    unit = {"sentence": old.sentences, "paragraph": old.paragraphs, 8: np.arange(60) // 8}[level]
    result = scramble(old, level, np.random.default_rng(2))
    source, new = result.source_index, result.transcript
    borders = np.flatnonzero(np.diff(unit[source]))
    assert len(borders) + 1 == len(np.unique(unit))
    inside = np.setdiff1d(np.arange(59), borders)
    assert (np.diff(source)[inside] == 1).all()
    np.testing.assert_allclose(np.diff(new.onsets)[inside], (old.onsets[1:] - old.onsets[:-1])[source[inside]])
    assert (source != np.arange(60)).any()


def test_marks_follow_the_new_order():
    old = story()
    by_paragraph = scramble(old, "paragraph", np.random.default_rng(1))
    n_paragraphs = len(np.unique(old.paragraphs))
    assert by_paragraph.transcript.paragraphs[-1] + 1 == n_paragraphs
    assert by_paragraph.transcript.sentences[-1] + 1 == len(np.unique(old.sentences))
    by_word = scramble(old, "word", np.random.default_rng(1))
    assert (np.diff(by_word.transcript.sentences) >= 0).all()
    assert by_word.transcript.sentences[-1] > 50
    assert scramble(story(marks=False), 4, np.random.default_rng(0)).transcript.sentences is None


def test_the_same_seed_gives_the_same_order_and_another_another():
    orders = [scramble(story(), "word", np.random.default_rng(seed)).source_index.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_word_orders_are_uniform():
    old = story(3)
    rng = np.random.default_rng(0)
    orders = [tuple(scramble(old, "word", rng).source_index) for _ in range(3000)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 6
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_truncation_keeps_the_last_words_and_their_times():
    old = story()
    cut = truncate(old, 10, 4)
    assert cut.source_index.tolist() == [7, 8, 9, 10]
    assert cut.transcript == old[7:11]
    assert truncate(old, 2, 4).source_index.tolist() == [0, 1, 2]


def test_a_swap_changes_one_word_and_nothing_else():
    old = story()
    new = swap(old, 5, "other")
    assert new.transcript.words == (*old.words[:5], "other", *old.words[6:])
    assert new.source_index.tolist() == [*range(5), -1, *range(6, 60)]
    np.testing.assert_array_equal(new.transcript.onsets, old.onsets)
    assert new.target_index.tolist() == [*range(5), *range(6, 60)]


def test_a_switch_changes_the_past_and_leaves_the_rest_in_its_place():
    before, after = story(40, 1, name="other"), story(60, 0)
    result = switch(before, after, 25)
    new = result.transcript
    assert new.words == before.words[15:] + after.words[25:]
    np.testing.assert_array_equal(new.onsets[25:], after.onsets[25:])
    np.testing.assert_allclose(new.offsets[24], after.offsets[24])
    np.testing.assert_allclose(np.diff(new.onsets[:25]), np.diff(before.onsets[15:]))
    assert result.source_index.tolist() == [-1] * 25 + list(range(25, 60))
    assert new.sentences[25] == new.sentences[24] + 1
    assert switch(before, after, 0).transcript == after
    assert new.name == "other then tale"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, r: scramble(s, "sentence", r), r"sentence marks of tale must be there .* mark_sentences\(transcript, text\)"),
        (lambda s, r: scramble(s, "paragraph", r), "paragraph marks of tale must be there"),
        (
            lambda s, r: scramble(s, "sentences", r),
            "level must be one of 'word', 'sentence', 'paragraph'; got sentences. Did you mean",
        ),
        (lambda s, r: scramble(s, 0, r), "block of at least 1 word; got 0"),
        (lambda s, r: scramble(s, True, r), "level must be one of"),
        (lambda s, r: scramble(s[:0], "word", r), "hold at least one word"),
        (lambda s, r: truncate(s, 60, 3), r"position must be a word of the transcript, here in \[0, 60\); got 60"),
        (lambda s, r: truncate(s, 3, 0), "n_words must be a whole number >= 1"),
        (lambda s, r: swap(s, -1, "x"), "position must"),
        (lambda s, r: swap(s, 1, " "), "visible character"),
        (lambda s, r: switch(s[:5], s, 9), "before must hold at least 9 words; got 5"),
    ],
)
def test_impossible_perturbations_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(story(marks=False), np.random.default_rng(0))
