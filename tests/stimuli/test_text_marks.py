import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.stimuli import Transcript, is_all_caps, lowercase_if_all_caps, mark_sentences, words_of_text
from neurolm.stimuli.speech_rate import n_syllables, speak


def story(words, **more):
    times = np.arange(len(words), dtype=float)
    return Transcript(words, times, times + 0.5, **more)


def spoken(text):
    return story(text.split())


def sentences(text):
    words = words_of_text(text)
    return [" ".join(w.word for w in words if w.sentence == k) for k in range(words[-1].sentence + 1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He came. She left! Did they? Yes", ["He came", "She left", "Did they", "Yes"]),
        ("Mr. Smith met Dr. Who at St. Ives. J. R. Hartley too.", ["Mr Smith met Dr Who at St Ives", "J R Hartley too"]),
        ("So did I. Then no. Nobody spoke.", ["So did I", "Then no", "Nobody spoke"]),
        ('"They are wrong," he said. "All of them." "Oh?" she asked.', ["They are wrong he said", "All of them", "Oh she asked"]),
        ("It cost 3.5 marks... or four. 12 came.", ["It cost 3.5 marks or four", "12 came"]),
        ("A title\n\nA text. More", ["A title", "A text", "More"]),
        ("time—well, no -- yes", ["time well no yes"]),
        ("l'école n'est pas finie. Été!", ["l'école n'est pas finie", "Été"]),
    ],
)
def test_sentences_of_plain_text(text, expected):
    assert sentences(text) == expected


def test_paragraphs_are_parted_by_blank_lines_and_punctuation_is_kept_apart():
    words = words_of_text('One,\ntwo.\n \n\n* * *\n\n"Three!"')
    assert [(w.word, w.sentence, w.paragraph) for w in words] == [("One", 0, 0), ("two", 0, 0), ("Three", 1, 1)]
    assert (words[2].before, words[2].after) == ('"', '!"')


def test_marks_come_through_differences_and_every_difference_is_shown():
    text = "Once there was a king. He had three daughters.\n\nThe eldest one was called Ann. She sang."
    heard = "ONCE THERE WAS A KING UM HE HAD DAUGHTERS THE OLDEST ONE WAS CALLED ANN SHE SANG"
    marked = mark_sentences(spoken(heard), text)
    assert marked.transcript.sentences.tolist() == [0] * 6 + [1] * 3 + [2] * 6 + [3] * 2
    assert marked.transcript.paragraphs.tolist() == [0] * 9 + [1] * 8
    assert [str(m) for m in marked.mismatches] == [
        "word 5: heard 'UM', the text has 'nothing'",
        "word 8: heard 'nothing', the text has 'three'",
        "word 10: heard 'OLDEST', the text has 'eldest'",
    ]
    assert marked.n_matched == len(heard.split()) - 2


def test_marks_equal_those_of_the_text_when_nothing_differs():
    text = "One two. Three!\n\nFour, five? Six."
    transcript = speak(text, rng=np.random.default_rng(0))
    bare = Transcript(transcript.words, transcript.onsets, transcript.offsets)
    marked = mark_sentences(bare, text)
    assert marked.transcript == transcript
    assert marked.mismatches == ()


def test_a_long_transcript_with_noise_keeps_almost_all_marks():
    rng = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(300)]
    lengths = rng.integers(3, 20, 900)
    written = [list(rng.choice(vocabulary, n)) for n in lengths]
    text = " ".join(" ".join(words).capitalize() + "." for words in written)
    truth = np.repeat(np.arange(900), lengths)
    kept = rng.random(len(truth)) > 0.03
    words = np.array([w for sentence in written for w in sentence])
    words[rng.random(len(words)) < 0.03] = "uh"
    marked = mark_sentences(story(list(words[kept])), text)
    assert np.mean(marked.transcript.sentences == truth[kept]) > 0.99


def test_the_text_of_another_story_is_refused():
    with pytest.raises(
        InputError, match=r"hold at least 80% of the transcript's words in their order; got 1 of 3; first difference"
    ):
        mark_sentences(story(["one", "two", "three"]), "Something else, three times over.")
    with pytest.raises(InputError, match="hold words"):
        mark_sentences(story(["one"]), " \n ")


def test_capitals_are_lowered_only_when_the_whole_transcript_is_in_capitals():
    loud = spoken("I WENT TO THE SHOP AND BOUGHT SOME BREAD FOR MY OLD MOTHER WHO WAS ILL I'm")
    assert is_all_caps(loud)
    assert lowercase_if_all_caps(loud).words[:3] == ("i", "went", "to")
    quiet = spoken("The NASA man and I went to the USA")
    assert lowercase_if_all_caps(quiet) is quiet
    assert not is_all_caps(story(["I", "A", "I"]))


def test_syllables():
    counts = {"the": 1, "time": 1, "little": 2, "river": 2, "enormous": 3, "I": 1, "don't": 1, "schoolteacher": 3, "3": 1}
    assert {word: n_syllables(word) for word in counts} == counts


def test_speech_has_the_rate_of_reading_aloud_and_pauses_where_punctuation_is():
    text = "One river, two towns. Then nothing.\n\n" * 200
    transcript = speak(text, rng=np.random.default_rng(0), start=4.0)
    assert transcript.onsets[0] == 4.0
    gaps = transcript.onsets[1:] - transcript.offsets[:-1]
    assert set(np.round(gaps, 6)) == {0.0, 0.2, 0.5, 0.9}
    np.testing.assert_allclose(gaps[[1, 3, 5]], [0.2, 0.5, 0.9])
    assert transcript == speak(text, rng=np.random.default_rng(0), start=4.0)
