"""`neurolm decode` with a language model of a few kilobytes, on parts of the story that comes with neurolm."""

import json
import re

import numpy as np
import pytest
import yaml

from neurolm.brain import BoldRun, Unplaced
from neurolm.checks import InputError
from neurolm.datasets import load_dataset
from neurolm.decoding import WordDecoder
from neurolm.decoding.beam_search import BeamSearch
from neurolm.lm import LSTM, WordTokenizer
from neurolm.lm.weights import save_model
from neurolm.stimuli import Transcript, read_transcript
from neurolm.workflows import decode
from neurolm.workflows.decoding import Decoding, make_decoding_plan
from neurolm.workflows.decoding_config import DecodingConfig, read_decode_config
from neurolm.workflows.run_processes import RUN_ID

FILES = (
    "fit.json",
    "search.json",
    "words.csv",
    "words.TextGrid",
    "scores.csv",
    "scores.json",
    "windows.csv",
    "table.csv",
    "table.txt",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained LSTM over the story's own words."""
    dataset = load_dataset("simulated")
    words = sorted({word.lower() for word in dataset.transcript(dataset.stories()[0]).words})
    folder = tmp_path_factory.mktemp("model")
    save_model(LSTM(WordTokenizer.from_words(words), width=12, n_layers=2, seed=0), folder)
    return folder


@pytest.fixture
def config(model, tmp_path, monkeypatch):
    """A config file; calling it with changes writes another."""
    monkeypatch.delenv("NEUROLM_DATA", raising=False)
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))

    def write(name="decode.yaml", **changes):
        values = {
            "analysis": "decoding",
            "simulated": {
                "training": ["a", "b", "c"],
                "test": "d",
                "training_s": 90,
                "test_s": 24,
                "n_voxels": 24,
                "snr": 20,
                "rank": 8,
            },
            "features": {"model": str(model), "layer": 1, "context": {"n": 3, "unit": "words"}},
            "decoder": {"alphas": [1.0, 100.0, 10000.0], "n_voxels": 15, "n_bootstraps": 2, "chunk_trs": 10, "beam_width": 3},
            "evaluation": {"window_s": 8, "step_s": 4, "nulls": {"circular_shift": 2, "random_likelihood": 1, "min_shift_s": 6}},
            "threads": 1,
            "output": str(tmp_path / "out"),
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values | changes))
        return path

    return write


def run(path, **options):
    given = {"stage": "all", "output": None, "device": None, "seed": None, "dry_run": False}
    decode(str(path), **(given | options))


def contents(folder):
    return {name: (folder / name).read_bytes() for name in (*FILES, "decoder.h5", "../report.html")}


def test_a_decoding_leaves_whole_files_and_is_reused(config, tmp_path, capsys):
    path, folder = config(), tmp_path / "out" / "decoding"
    run(path)
    said = capsys.readouterr().out
    assert "SIMULATED listener" in said
    assert "parts of a story that comes with neurolm" in said
    words = read_transcript(folder / "words.csv")
    assert read_transcript(folder / "words.TextGrid") == words
    assert json.loads((folder / "search.json").read_text())["hypotheses"][0]["words"] == list(words.words)
    summary = json.loads((folder / "scores.json").read_text())["summary"]
    assert [row["score"] for row in summary["scores"]] == ["wer", "bleu1", "meteor", "embedding_recall"]
    assert {row["null_mean"] is not None for row in summary["scores"]} == {True}
    assert (folder / "scores.csv").read_text().splitlines()[0].startswith("null,score,label,story,null_mean,story_z,story_p")
    assert "Gist:" in (folder / "table.txt").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Simulated data." in page
    assert 'class="exact"' in page
    assert {p.name for p in (tmp_path / "out" / "figures").glob("*.svg")} == {"decoding-over-time.svg", "decoding-words.svg"}
    assert WordDecoder.load(folder / "decoder.h5").stories_ == ("part 1", "part 2", "part 3")
    assert not list(folder.glob("journal-*"))

    before = contents(folder)
    run(path)
    assert capsys.readouterr().out.count("there already, and fits the config") == 3
    assert contents(folder) == before
    run(config(decoder=yaml.safe_load(path.read_text())["decoder"] | {"beam_width": 2}))
    assert capsys.readouterr().out.count("there already, and fits the config") == 1  # the fit
    assert contents(folder) != before


def test_a_decoding_killed_in_mid_story_ends_with_the_same_bytes(config, tmp_path, monkeypatch):
    run(config("whole.yaml", output=str(tmp_path / "whole")))
    path = config("killed.yaml", output=str(tmp_path / "killed"))
    for place, word in (("search", 20), ("evaluate", 75)):
        with monkeypatch.context() as patch:
            patch.setattr("neurolm.decoding.beam_search._Search.step", dies_after(word))
            with pytest.raises(KeyboardInterrupt):
                run(path)
        if place == "search":
            (journal,) = (tmp_path / "killed" / "decoding").glob("journal-*")
            assert len((journal / "words.jsonl").read_text().splitlines()) == 19
    steps = []
    step = BeamSearch.search

    def counted(self, times, **settings):
        steps.append(len(times))
        return step(self, times, **settings)

    monkeypatch.setattr(BeamSearch, "search", counted)
    run(path)
    assert len(steps) < 4  # of one search and three nulls, some were kept
    whole, killed = contents(tmp_path / "whole" / "decoding"), contents(tmp_path / "killed" / "decoding")
    assert whole == killed


def dies_after(n):
    from neurolm.decoding.beam_search import _Search

    step, done = _Search.step, []

    def dying(self):
        done.append(1)
        if len(done) == n:
            raise KeyboardInterrupt
        step(self)

    return dying


def test_a_stage_makes_what_it_needs_and_reuses_what_is_there(config, tmp_path, capsys):
    path, folder = config(), tmp_path / "out" / "decoding"
    run(path, stage="search")
    assert sorted(file.name for file in folder.glob("*.json")) == ["fit.json", "search.json"]
    fitted = (folder / "decoder.h5").read_bytes()
    capsys.readouterr()
    run(path, stage="fit")
    assert "fit: there already, and fits the config" in capsys.readouterr().out
    other = config(decoder=yaml.safe_load(path.read_text())["decoder"] | {"n_voxels": 10})
    run(other, stage="search")
    assert (folder / "decoder.h5").read_bytes() != fitted
    with pytest.raises(InputError, match="stage must be one of"):
        run(path, stage="all of them")


def test_a_step_of_a_run_refuses_to_make_the_stage_of_another_step(config, tmp_path, monkeypatch):
    path = config()
    make_decoding_plan(read_decode_config(path)).write()
    monkeypatch.setenv(RUN_ID, "a run")
    with pytest.raises(InputError, match=r"decoder\.h5: no such file. Run `neurolm run CONFIG`: it makes what is missing"):
        run(path, stage="search")


def test_a_dry_run_says_sizes_and_time_and_writes_nothing(config, tmp_path, capsys):
    run(config(), dry_run=True)
    said = capsys.readouterr().out
    assert re.search(r"learn from 3 stories: [\d,]+ words, \d+ TRs x 24 voxels, 48 columns", said)
    assert re.search(r"search: about \d+ words at a beam of 3, up to \d+ s", said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulated": {"training": ["a", "b"], "test": "b"}}, "simulated.training must not hold the decoded story; got b"),
        ({"evaluation": {"nulls": {"circular_shift": 400}}}, "n must be at most 0, the circular shifts of this run beyond 30 s"),
        ({"decoder": {"beam_width": 0}}, "beam_width must be at least 1; got 0"),
        ({"decoder": {"beam_widht": 3}}, r"unknown key 'decoder.beam_widht'. Did you mean 'beam_width'\?"),
        ({"simulated": {"snrr": 3}}, r"unknown key 'simulated.snrr'. Did you mean 'snr'\?"),
        ({"simulated": None}, "give subject, training and test, or simulated"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_learned(config, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(config(**changes))
    assert not (tmp_path / "out").exists()


def test_true_word_times_are_used_where_asked_for(config, tmp_path):
    path = config(
        word_times="true", evaluation={"window_s": 8, "scores": ["wer"], "teacher_forced": False, "nulls": {"circular_shift": 0}}
    )
    run(path)
    settings = read_decode_config(path)
    assert isinstance(settings, DecodingConfig)
    decoding = Decoding(settings, tmp_path / "out" / "decoding")
    found = json.loads((tmp_path / "out" / "decoding" / "search.json").read_text())
    assert np.array_equal(found["word_times"], decoding.material.story.mid_times)
    assert "null_mean" not in (tmp_path / "out" / "decoding" / "scores.csv").read_text()


class TwoStories:
    """A data set in which one subject heard a story twice under other names."""

    def __init__(self, words):
        self.words = words

    def stories(self, subject=None):
        return list(self.words)

    def transcript(self, name):
        words = self.words[name].split()
        times = 0.5 * np.arange(len(words))
        return Transcript(words, times, times + 0.4, name=name)

    def bold(self, subject, name):
        return BoldRun(np.random.default_rng(0).standard_normal((20, 3)), 2.0 * np.arange(20), Unplaced("test", 3), subject, name)


def test_a_training_story_with_the_words_that_are_decoded_is_left_out_or_refused(config, tmp_path):
    from neurolm.workflows.decoding_material import _training

    told = "the quick brown fox jumps over the lazy dog and then it sleeps in the warm sun for hours"
    dataset = TwoStories({"tale_run-1": told.upper(), "tale_run-2": told, "a": "one two three four five six seven", "b": "x y z"})
    asked = DecodingConfig.model_validate(
        {"analysis": "decoding", "subject": "01", "training": {"dataset": "bids"}, "test": {"story": "tale_run-2"},
         "features": {"model": "m", "layer": 1}}
    )  # fmt: skip
    _, stories, notes = _training(asked, dataset, "tale_run-2", dataset.transcript("tale_run-2"))
    assert [story.name for story in stories] == ["a", "b"]
    assert notes == ("Left out of training: tale_run-1, which holds the words of 'tale_run-2'.",)
    training = asked.training.model_copy(update={"stories": ["tale_run-1", "a", "b"]})
    named = asked.model_copy(update={"training": training})
    with pytest.raises(InputError, match=r"not hold the decoded story; got tale_run-1, which has the words of tale_run-2"):
        _training(named, dataset, "tale_run-2", dataset.transcript("tale_run-2"))
