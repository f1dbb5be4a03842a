"""Feature spaces without a language model, against values worked out by hand."""

import math
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neurolm.checks import FileError, InputError
from neurolm.features import (
    FeatureSpace,
    FunctionFeatures,
    LogFrequency,
    Norms,
    PhonemeCount,
    SoundEnvelope,
    StaticEmbeddings,
    WordLength,
    WordRate,
    join,
    read_pronunciations,
)
from neurolm.stimuli import Transcript, read_textgrid

DATA = Path(os.environ.get("NEUROLM_DATA", "/nonexistent"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="NEUROLM_DATA names no folder with the test data")


@pytest.fixture
def cats(make_story):
    return make_story(["The", "cat's", "9", "tails,", "naïve"])


def column(features):
    assert features.n_features == 1
    return features.values[:, 0].tolist()


def test_every_word_counts_once(cats):
    assert column(WordRate().extract(cats)) == [1, 1, 1, 1, 1]


def test_length_counts_letters_and_digits_only(cats):
    assert column(WordLength().extract(cats)) == [3, 4, 1, 5, 5]
    assert column(WordLength("seconds").extract(cats)) == pytest.approx([0.3] * 5)


def test_frequency_is_on_the_zipf_scale_smoothed_by_one(cats):
    space = LogFrequency({"the": 998, "The": 1, "cat's": 0})
    n = 999 + 2  # tokens and types
    features = space.extract(cats)
    expected = [math.log10((count + 1) / n * 1e9) for count in (999, 0, 0, 0, 0)]
    assert column(features) == pytest.approx(expected, rel=1e-6)
    assert features.settings["n_missing"] == 3


def test_a_corpus_is_counted_by_words(tmp_path, cats):
    (tmp_path / "corpus.txt").write_text("The cat’s tails; the tails. THE end-game")
    assert LogFrequency.from_corpus(tmp_path / "corpus.txt").counts == {
        "the": 3,
        "cat's": 1,
        "tails": 2,
        "end-game": 1,
    }


def test_phones_belong_to_the_word_in_which_their_middle_lies():
    words = Transcript(("a", "cat", "uh"), [0.0, 0.1, 0.5], [0.1, 0.4, 0.6])
    phones = Transcript(("AH0", "K", "AE1", "T", "sp"), [0.0, 0.09, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.41, 0.5])
    with pytest.raises(InputError, match=r"1 of 3 words without \(1 different: uh\)"):
        PhonemeCount(phones).extract(words)
    features = PhonemeCount(phones, missing="mean").extract(words)
    assert column(features) == [1, 3, 2]
    assert features.settings["n_missing"] == 1


def test_a_pronunciation_dictionary_counts_phones_of_the_first_pronunciation(tmp_path, make_story):
    path = tmp_path / "dictionary"
    path.write_text(";;; comment\nTHE 1 DH AH0\nTHE 2 DH IY1\nCAT 1 K AE1 T\nTOMATO(2) T AH0 M AA1 T OW2\n")
    assert read_pronunciations(path) == {"the": 2, "cat": 3, "tomato": 6}
    assert column(PhonemeCount(read_pronunciations(path)).extract(make_story(["The", "cat,", "CAT"]))) == [2, 3, 3]
    path.write_text("THE 1\n")
    with pytest.raises(FileError, match="dictionary:1: has no phones for 'THE'"):
        read_pronunciations(path)


def test_norms_come_from_the_columns_asked_for(tmp_path, make_story):
    path = tmp_path / "norms.csv"
    path.write_text("Word,Conc.M,Val\ncat,5.0,0.5\nThe,1.0,0\nidea,1.5,#N/A\nbank,3.0,-1\n")
    story = make_story(["The", "Cat!", "idea"])
    assert column(Norms(path, "Conc.M").extract(story)) == [1.0, 5.0, 1.5]
    both = Norms(path, ["Conc.M", "Val"], missing="mean").extract(story)
    np.testing.assert_allclose(both.values, [[1, 0], [5, 0.5], [3, -1 / 6]], rtol=1e-6)  # the mean of the whole table
    assert both.settings["n_missing"] == 1
    assert column(Norms(path, "Val", missing=-9).extract(story))[2] == -9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Word,x\ncat,five\n", r"norms.csv:2: holds 'five' where a number should be"),
        ("Word,x\ncat\n", r"norms.csv:2: has 1 columns here and 2 in its header"),
        ("Word,y\ncat,1\n", r"norms.csv: has no column 'x', only Word, y"),
        ("Word,x\ncat,\n", "holds no word with a value"),
        ("", "is empty"),
    ],
)
def test_a_table_that_cannot_be_right_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "norms.csv"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        Norms(path, "x")


def test_words_of_another_language_are_not_all_filled_in(tmp_path, make_story):
    (tmp_path / "norms.csv").write_text("Word,x\ncat,1\n")
    with pytest.raises(InputError, match=r"the words must have values in norms\.csv; got not one of them has"):
        Norms(tmp_path / "norms.csv", "x", missing=0).extract(make_story(["chat", "chien"]))


@needs_data
def test_concreteness_of_a_real_table(make_story):
    path = DATA / "norms" / "Concreteness_ratings_Brysbaert_et_al_BRM.txt"
    assert column(Norms(path, "Conc.M").extract(make_story(["The", "roadsweeper", "I"]))) == pytest.approx([1.43, 4.85, 3.93])


@needs_data
def test_a_real_phone_tier_and_a_real_dictionary_agree(tmp_path):
    """Most words of a Moth story have as many phones in its tier as in CMUdict."""
    (grid,) = sorted((DATA / "moth_textgrids" / "TextGrids").glob("*"))[:1]
    words, phones = read_textgrid(grid, tier="word"), read_textgrid(grid, tier="phone")
    with zipfile.ZipFile(DATA / "norms" / "cmudict.zip") as archive:
        (tmp_path / "cmudict").write_bytes(archive.read("cmudict/cmudict"))
    from_tier = PhonemeCount(phones, missing=0).extract(words).values[:, 0]
    from_dictionary = PhonemeCount(read_pronunciations(tmp_path / "cmudict"), missing=0).extract(words).values[:, 0]
    assert np.mean(from_tier == from_dictionary) > 0.9


@pytest.mark.parametrize("kind", ["glove", "word2vec", "npz"])
def test_vectors_are_read_from_every_format(tmp_path, make_story, kind):
    rows = {"cat": [1.0, 2.0], "the": [0.5, -1.0], "new york": [3.0, 3.0], "zebra": [0.5, 0.0]}
    path = tmp_path / ("vectors.npz" if kind == "npz" else "vectors.txt")
    if kind == "npz":
        np.savez(path, words=np.array(list(rows)), vectors=np.array(list(rows.values()), dtype=np.float32))
    else:
        lines = [f"{word} {a} {b}" for word, (a, b) in rows.items()]
        path.write_text("\n".join((["4 2"] if kind == "word2vec" else []) + lines) + "\n")
    features = StaticEmbeddings(path, missing="mean").extract(make_story(["The", "cat", "dog", "new york"]))
    np.testing.assert_allclose(features.values, [[0.5, -1], [1, 2], [1.25, 1], [3, 3]])
    assert features.settings["n_missing"] == 1
    zeros = StaticEmbeddings(path, missing=0).extract(make_story(["cat", "dog"]))
    np.testing.assert_allclose(zeros.values, [[1, 2], [0, 0]])
    with pytest.raises(InputError, match=r"1 of 2 words without \(1 different: dog\)"):
        StaticEmbeddings(path).extract(make_story(["cat", "dog"]))


def test_vectors_that_are_pickled_or_broken_are_refused(tmp_path, make_story):
    story = make_story(["cat"])
    np.savez(tmp_path / "pickled.npz", words=np.array(["cat"], dtype=object), vectors=np.ones((1, 2)))
    with pytest.raises(FileError, match="nothing is unpickled"):
        StaticEmbeddings(tmp_path / "pickled.npz").extract(story)
    (tmp_path / "a.npz").write_bytes(pickle.dumps({"words": ["cat"]}))
    with pytest.raises(FileError, match="cannot be read"):
        StaticEmbeddings(tmp_path / "a.npz").extract(story)
    (tmp_path / "short.txt").write_text("dog 1 2\ncat 1\n")
    with pytest.raises(FileError, match=r"short\.txt:2: has no word followed by 2 numbers"):
        StaticEmbeddings(tmp_path / "short.txt").extract(story)
    (tmp_path / "nan.txt").write_text("cat 1 nan\n")
    with pytest.raises(FileError, match=r"nan\.txt:1"):
        StaticEmbeddings(tmp_path / "nan.txt").extract(story)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(FileError, match="holds no word vectors"):
        StaticEmbeddings(tmp_path / "empty.txt").extract(story)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "float32"])
def test_the_envelope_of_a_sine_is_its_root_mean_square(tmp_path, make_story, dtype):
    from scipy.io import wavfile

    rate, story = 8000, make_story(["soft", "loud", "none"])  # 0.0-0.3, 0.4-0.7 and 0.8-1.1 s
    time = np.arange(2 * rate) / rate
    loudness = np.select([time < 0.35, time < 0.75], [0.1, 0.8], 0.0)
    wave = loudness * np.sin(2 * np.pi * 200 * time)
    scale = {"int16": 2**15, "uint8": 2**7, "int32": 2**31, "float32": 1}[dtype]
    samples = (np.clip(wave * scale, -scale, scale - (dtype != "float32")) + (128 if dtype == "uint8" else 0)).astype(dtype)
    wavfile.write(tmp_path / "a.wav", rate, np.stack([samples, samples], axis=1))
    expected = np.array([0.1, 0.8, 0]) / np.sqrt(2)
    precision = 0.01 if dtype == "uint8" else 1e-4
    np.testing.assert_allclose(column(SoundEnvelope(tmp_path / "a.wav").extract(story)), expected, atol=precision)
    if dtype != "uint8":
        decibel = column(SoundEnvelope(tmp_path / "a.wav", "decibel").extract(story))
        np.testing.assert_allclose(decibel, [*20 * np.log10(expected[:2]), -100], atol=0.02)


def test_words_outside_the_sound_are_an_error(tmp_path, make_story):
    from scipy.io import wavfile

    wavfile.write(tmp_path / "a.wav", 8000, np.ones(8000, dtype=np.int16))
    story = make_story(["one", "two", "three"])
    with pytest.raises(InputError, match=r"lie inside the sound, 0\.00 to 1\.00 s; got 1 outside, the first 'three' at 0\.80 s"):
        SoundEnvelope(tmp_path / "a.wav").extract(story)
    with pytest.raises(InputError, match=r"2\.00 to 3\.00 s; got 3 outside"):
        SoundEnvelope(tmp_path / "a.wav", starts_at=2).extract(story)
    later = SoundEnvelope(tmp_path / "a.wav", starts_at=2).extract(story[:2].shifted(2))
    np.testing.assert_array_equal(later.values, SoundEnvelope(tmp_path / "a.wav").extract(story[:2]).values)
    (tmp_path / "b.wav").write_text("not sound")
    with pytest.raises(FileError, match="is not a WAV file"):
        SoundEnvelope(tmp_path / "b.wav").extract(story)


def n_earlier_words(transcript):
    return np.arange(len(transcript))


def share_of_the_story(transcript):
    return np.arange(len(transcript)) / len(transcript)


def test_a_function_of_yours_is_a_feature_space(story):
    assert column(FunctionFeatures(n_earlier_words).extract(story)) == list(range(len(story)))


def test_a_function_is_found_by_its_name(tmp_path, monkeypatch, story):
    (tmp_path / "my_features_of_words.py").write_text(
        "def vowels(t):\n    return [sum(c in 'aeiou' for c in w) for w in t.words]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    features = FunctionFeatures("my_features_of_words:vowels").extract(story)
    assert column(features)[:3] == [2, 1, 3]
    assert features.names == ("vowels_0",)
    for name, message in [
        ("my_features_of_words:vowel", "be in my_features_of_words; got vowel. Did you mean 'vowels'?"),
        ("my_features_of_words", 'be "package.module:function"'),
        ("my_features_that_are_not:there", "name a module that can be imported"),
    ]:
        with pytest.raises(InputError, match=message.replace("?", r"\?")):
            FunctionFeatures(name)


def test_a_function_that_looks_ahead_is_caught(story):
    with pytest.raises(InputError, match="not depend on later words; got other rows for the first 28 words"):
        FunctionFeatures(share_of_the_story).extract(story)
    assert len(FunctionFeatures(share_of_the_story, sees_whole_story=True).extract(story)) == len(story)


@pytest.mark.parametrize(
    "result",
    [lambda t: np.zeros(3), lambda t: np.zeros((len(t), 2, 2)), lambda t: ["a"] * len(t), lambda t: np.full(len(t), np.nan)],
)
def test_a_function_that_gives_no_row_per_word_is_refused(story, result):
    with pytest.raises(InputError, match="the result of"):
        FunctionFeatures(result).extract(story)


def test_all_of_them_join_with_their_slices(tmp_path, story):
    spaces = {"rate": WordRate(), "length": WordLength(), "order": FunctionFeatures(n_earlier_words)}
    assert all(isinstance(space, FeatureSpace) for space in spaces.values())
    joined = join({name: space.extract(story) for name, space in spaces.items()})
    assert joined.slices == {"rate": slice(0, 1), "length": slice(1, 2), "order": slice(2, 3)}
    assert joined.settings["length"] == {"kind": "word_length", "unit": "letters"}


def test_a_missing_rule_that_means_nothing_is_refused():
    with pytest.raises(InputError, match='missing must be "error", "mean" or a number; got skip'):
        PhonemeCount({"a": 1}, missing="skip")
