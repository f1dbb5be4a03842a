"""`neurolm features` with a small model of ours in a folder."""

import numpy as np
import pytest

from neurolm.features import FeatureCache, LMStates, list_cache
from neurolm.lm import LSTM, WordTokenizer, load
from neurolm.lm.weights import save_model
from neurolm.stimuli import ContextWindow, read_transcript

WORDS = ["once", "upon", "a", "time", "there", "was", "a", "fox", "and", "the", "fox", "had", "a", "very", "long", "tail"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, a story and an empty cache."""
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    save_model(LSTM(WordTokenizer.from_words(WORDS), width=8, n_layers=2, name="small"), tmp_path / "model")
    rows = [f"{word}\t{i * 0.5}\t{0.4}\n" for i, word in enumerate(WORDS)]
    (tmp_path / "fox.tsv").write_text("word\tonset\tduration\n" + "".join(rows))
    return tmp_path


@pytest.fixture
def neurolm(folder, neurolm_here):
    """In this process, with the folder's empty cache."""
    return neurolm_here


def sweep(folder, *options):
    return ["features", "sweep", folder / "fox.tsv", "--model", folder / "model", *options]


def test_one_command_sweeps_every_context_into_the_cache(neurolm, folder):
    code, said, _ = neurolm(*sweep(folder, "--layers", "1-2", "--contexts", "1-5,8"))
    assert code == 0
    assert "6 contexts of 16 words" in said
    states = LMStates(load(folder / "model"), [1, 2], ContextWindow(8))
    swept = LMStates(states.lm, [1, 2], ContextWindow(8), cache=FeatureCache()).sweep(
        read_transcript(folder / "fox.tsv"), [1, 2, 3, 4, 5, 8]
    )
    np.testing.assert_array_equal(swept[8].values, states.extract(read_transcript(folder / "fox.tsv")).values)
    assert len(list_cache()) == 1, "what the command made is what the library finds"


def test_a_sweep_is_planned_without_being_made(neurolm, folder):
    code, said, _ = neurolm(*sweep(folder, "--contexts", "1-5", "--words", "10", "--dry-run"))
    assert code == 0
    assert "10 words in 10 tokens; 10 passes" in said
    assert list_cache() == []


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_note_without_code(neurolm, folder):
    (folder / "fox.tsv").write_text(
        (folder / "fox.tsv").read_text().upper().replace("WORD\tONSET\tDURATION", "word\tonset\tduration")
    )
    code, _, error = neurolm(*sweep(folder, "--contexts", "1"))
    assert code == 0
    assert error == "NOTE: the words of fox are all in capitals; they are read in lower case\n"


def test_surprisal_is_swept_too(neurolm, folder):
    code, _, _ = neurolm(*sweep(folder, "--contexts", "1,4", "--surprisal"))
    assert code == 0
    assert list_cache()[0].datasets == tuple(f"context_000{n}/{name}" for n in (1, 4) for name in ("entropy", "surprisal"))


def test_the_cache_is_listed_verified_and_pruned(neurolm, folder):
    neurolm(*sweep(folder, "--contexts", "2", "--layers", "1"))
    path = list_cache()[0].path
    assert "whole" in neurolm("features", "list")[1]
    assert neurolm("features", "verify")[0] == 0
    damaged = bytearray(path.read_bytes())
    damaged[-2000] ^= 1
    path.write_bytes(damaged)
    code, said, _ = neurolm("features", "verify")
    assert code == 2
    assert "damaged" in said
    assert "removed 1 files" in neurolm("features", "prune")[1]
    assert not path.exists()


def test_a_story_that_is_not_there_is_named(neurolm, folder):
    (folder / "my.yaml").write_text("dataset: {name: simulated}\nfeatures: {model: model}\n")
    code, said, error = neurolm("features", "extract", folder / "my.yaml", "--story", "clokmaker", "--dry-run")
    assert code == 2
    assert "--story must be one of" in error
    assert said == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--contexts", "0"], "n must be an integer >= 1; got 0"),
        (["--contexts", "5-1"], "--contexts must be numbers such as 1,2,4 or a range such as 1-100; got '5-1'"),
        (["--contexts", "1-9999999"], "--contexts must be numbers"),
        (["--contexts", "1", "--layers", "one"], "--layers must be numbers"),
        (["--contexts", "1", "--layers", "7"], "layer must lie in 0..2; got 7. This model has 2 layers"),
        (["--contexts", "1", "--layers", "1", "--surprisal"], "--layers must be left out with --surprisal"),
        (["--contexts", "1", "--dtype", "float8"], "dtype must be one of"),
        (["--contexts", "1", "--device", "cuda:99"], "device must exist on this machine"),
    ],
)
def test_bad_input_is_one_message(neurolm, folder, options, message):
    code, _, error = neurolm(*sweep(folder, *options))
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert list_cache() == []
