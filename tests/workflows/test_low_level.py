"""Which low-level columns an analysis gets: those of the words, and what the data set publishes at TR times."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import FileError, InputError
from neurolm.datasets import load_dataset
from neurolm.datasets.dataset import Regressors
from neurolm.features.low_level import LOW_LEVEL
from neurolm.stimuli import Transcript
from neurolm.workflows.low_level import low_level_features, low_level_files

STORY = Transcript(("Alice", "was", "very", "tired"), [1.0, 1.5, 1.6, 3.0], [1.4, 1.7, 2.0, 3.5])


def plan(dataset, columns=tuple(LOW_LEVEL), corpus=None, stories=("alice",)):
    encode = SimpleNamespace(low_level=list(columns), frequency_corpus=corpus)
    return SimpleNamespace(config=SimpleNamespace(encode=encode), dataset=dataset, stories=stories)


def heard(run):
    return SimpleNamespace(stories=("alice",), runs={"s18": [run]})


@pytest.fixture(scope="module")
def alice():
    folder = os.environ.get("NEUROLM_DATA")
    if not folder or not (Path(folder) / "alice2016").is_dir():
        pytest.skip("NEUROLM_DATA does not hold alice2016")
    return load_dataset("alice")


def test_alice_gets_all_six_and_the_published_ones_at_the_rows_that_are_left(alice):
    run = alice.bold("s18")
    cut = BoldRun(run.data[2:-1], run.tr_times[2:-1], run.space)
    low = low_level_features(plan(alice), heard(cut))
    assert low.names == ("word rate", "word duration", "word length", "pauses", "word frequency", "sound power")
    assert low.words[0].n_features == 4
    published = alice.regressors("s18")["sound_power"]
    assert np.corrcoef(low.regressors[0][:, 1], published[2:-1])[0, 1] > 0.9999
    assert all(path.is_file() for path in low_level_files(plan(alice)).values())


def test_a_corpus_wins_over_the_published_frequency(alice, tmp_path):
    corpus = tmp_path / "text.txt"
    corpus.write_text("was was very")
    low = low_level_features(plan(alice, corpus=str(corpus)), heard(alice.bold("s18")))
    assert low.names[-2:] == ("word frequency", "sound power")
    assert (low.words[0].n_features, low.regressors[0].shape) == (5, (362, 1))
    assert low_level_files(plan(alice, corpus=str(corpus)))["frequency_corpus"] == corpus
    with pytest.raises(FileError, match="Give a text file"):
        low_level_features(plan(alice, corpus=str(tmp_path / "none.txt")), heard(alice.bold("s18")))


def test_a_data_set_without_published_columns_does_without_them():
    dataset = SimpleNamespace(transcript=lambda story: STORY)
    run = BoldRun(np.zeros((3, 1)), 2.0 * np.arange(3), Regions(("one",)))
    low = low_level_features(plan(dataset), heard(run))
    assert low.names == ("word rate", "word duration", "word length", "pauses")
    assert low.regressors is None
    assert low_level_files(plan(dataset)) == {}
    assert low_level_features(plan(dataset, ()), heard(run)) is None


def test_rows_that_were_not_published_are_refused():
    published = Regressors({"sound": np.arange(5.0)}, 2.0 * np.arange(5))
    np.testing.assert_array_equal(published.at(np.array([4.0, 6.0]), ["sound"]), [[2], [3]])
    for times in ([4.0, 12.0], [4.5, 6.5]):
        with pytest.raises(InputError, match="tr_times must be among those of the published regressors"):
            published.at(np.array(times), ["sound"])
