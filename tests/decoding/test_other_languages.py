"""Decoding of stories in German: first words and function words are settings, and checked before the fit."""

import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.decoding import DecoderSettings, WordDecoder, evaluate_decode
from neurolm.encoding import Design
from neurolm.features import LMStates
from neurolm.lm import ToyModel
from neurolm.stimuli import ContextWindow, Transcript

from .conftest import TR, random_word_times

pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")

FUNCTION_WORDS = ("der", "die", "das", "und", "zum", "über", "für", "ich", "wir", "sie")
CONTENT_WORDS = ("müller", "straße", "hund", "vögel", "garten", "fenster", "brücke", "fluß", "mädchen", "größe", "lief", "sang")
GERMAN = DecoderSettings(
    n_voxels=25,
    n_bootstraps=3,
    chunk_trs=10,
    beam_width=5,
    alphas=(0.1, 1.0, 10.0, 100.0, 1000.0),
    first_words=("Ich", "wir", "sie", "der"),
    function_words=FUNCTION_WORDS,
)


def german_story(rng, n_trs):
    """A random text with umlauts, some of them decomposed (NFD) as some transcripts write them."""
    times = random_word_times(rng, n_trs * TR, 1.0)
    words = ["ich", *rng.choice((*FUNCTION_WORDS, *CONTENT_WORDS), size=len(times) - 1)]
    forms = rng.choice(("NFC", "NFD"), size=len(words))
    return Transcript(tuple(unicodedata.normalize(form, str(word)) for form, word in zip(forms, words)), times, times)


@pytest.fixture(scope="module")
def study():
    """(feature space, stories, runs): 30 of 40 voxels follow the German words."""
    rng = np.random.default_rng(0)
    lm = ToyModel.for_words([*FUNCTION_WORDS, *CONTENT_WORDS], width=12)
    space = LMStates(lm, 2, ContextWindow(3, "words"), lowercase=True)
    stories, times = [german_story(rng, 80) for _ in range(3)], np.arange(80) * TR
    features = [space.extract(story) for story in stories]
    design = Design.from_training(features, [times] * 3)
    coef = rng.normal(size=(48, 40)) / np.sqrt(12) * (np.arange(40) < 30)
    runs = []
    for i, one in enumerate(features):
        data = design.transform(one, times).astype(float) @ coef + rng.normal(size=(80, 40))
        place = Regions(tuple(f"v{v}" for v in range(40)))
        runs.append(BoldRun((data - data.mean(0)) / data.std(0), times, place, "01", f"geschichte{i}"))
    return space, stories, runs


class Untouched:
    """A feature space that must not be asked: everything is refused before the words are read."""

    def extract(self, story):
        raise AssertionError("the words were read before the settings were checked")


def test_the_english_first_words_are_refused_before_the_fit_with_words_that_work(study):
    _, stories, runs = study
    english = replace(GERMAN, first_words=None)
    with pytest.raises(InputError, match=r"first_words must share a word .* Set decoder.first_words in the config") as error:
        WordDecoder(english).fit(Untouched(), runs[:2], stories[:2])
    offered = str(error.value).split("[")[1].split("]")[0].split(", ")
    assert replace(GERMAN, first_words=tuple(offered)).vocabulary(stories[:2])  # the hint works when it is followed


def test_german_is_decoded_from_bold_with_its_own_first_and_function_words(study, tmp_path):
    space, stories, runs = study
    WordDecoder(GERMAN).fit(space, runs[:2], stories[:2]).save(tmp_path / "decoder.h5")
    decoder = WordDecoder.load(tmp_path / "decoder.h5")
    assert {"müller", "straße", "über"} <= decoder.vocabulary_
    search = decoder.search(space.lm, space, runs[2])
    heard = stories[2][:40]
    decoded = search.decode(heard.mid_times)
    assert decoded.words[0] in {"ich", "wir", "sie", "der"}
    assert set(decoded.words) <= decoder.vocabulary_
    assert set(search.proposals.function_words) == set(FUNCTION_WORDS)
    summary = json.loads(json.dumps(evaluate_decode(search, decoded, heard, n_nulls=1).summary()))
    chance = np.mean([word == other for word in heard.words for other in heard.words])
    assert np.mean([a == b for a, b in zip(decoded.words, heard.words, strict=True)]) > 2 * chance
    assert summary["words"]["exact"] > 0


def test_function_words_may_recur_where_content_words_may_not(study):
    space, stories, _ = study
    vocabulary = GERMAN.vocabulary(stories)
    english = replace(GERMAN, function_words=None).proposals(space.lm, vocabulary)
    german = GERMAN.proposals(space.lm, vocabulary)
    assert "und" in german.function_words
    assert "und" not in english.function_words
    assert "straße" not in german.function_words
