"""The published study from its config: `neurolm decode configs/decode_tang2023.yaml` on trees in miniature."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from neurolm.checks import InputError
from neurolm.lm import LSTM, WordTokenizer
from neurolm.lm.weights import save_model
from neurolm.stimuli import Transcript, read_transcript
from neurolm.workflows import decode

from .conftest import WORDS
from .test_decoder import CONFIG, Study, write_grid

pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")

SMALL = {"n_voxels": 20, "n_bootstraps": 2, "chunk_trs": 10, "beam_width": 3, "alphas": [1.0, 100.0, 10000.0]}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """ds003020, ds004510 and what the study's authors give, with their real names and layout, very small."""
    place = tmp_path_factory.mktemp("study")
    study = Study(np.random.default_rng(0))
    config = yaml.safe_load(CONFIG.read_text())
    subject, experiment, task = config["subject"], config["test"]["experiment"], config["test"]["task"]
    training, test = place / "ds003020" / "derivative", place / "ds004510" / "derivative"
    matrices = {
        training / "preprocessed_data" / subject / "avatar.hf5": 0,
        training / "preprocessed_data" / subject / "souls.hf5": 1,
        test / "preprocessed_data" / subject / experiment / f"{task}.hf5": 2,
    }
    for path, i in matrices.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["data"] = study.runs[i].data
        story = study.stories[i]
        late = Transcript(story.words, story.onsets + 10.2, story.offsets + 10.2)  # row 0 of a matrix is story time 10 s
        grids = training / "TextGrids" if i < 2 else test / "TextGrids" / experiment
        write_grid(grids / f"{path.stem}.TextGrid", late)
    (training / "respdict.json").write_text(json.dumps(dict.fromkeys(["avatar", "souls"], study.runs[0].n_trs + 20)))
    vocabulary = ["<unk>", *WORDS]
    for name, content in (
        ("vocab.json", vocabulary),
        ("segments.json", {task: [20, 60]}),
        ("voxels.json", {"auditory": list(range(30))}),
    ):
        (place / name).write_text(json.dumps(content))
    save_model(LSTM(WordTokenizer(vocabulary, eos=None), width=8, n_layers=9, seed=0), place / "model")
    return place


@pytest.fixture
def config(trees, tmp_path, monkeypatch):
    """The published config with places of files and sizes changed, and nothing else."""
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))

    def write(**changes):
        values = yaml.safe_load(CONFIG.read_text())
        values["training"]["options"] = {"folder": str(trees / "ds003020")}
        values["test"] |= {
            "folder": str(trees / "ds004510"),
            "segments": str(trees / "segments.json"),
            "rate_voxels": str(trees / "voxels.json"),
        }
        values["features"] |= {"model": str(trees / "model"), "vocabulary": str(trees / "vocab.json")}
        values["decoder"] |= SMALL
        values["evaluation"]["nulls"] = {"circular_shift": 1, "random_likelihood": 2}
        values |= {"threads": 1, "output": str(tmp_path / "out")}
        for key, change in changes.items():
            values[key] |= change
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


def run(path, stage="all", dry_run=False):
    decode(path, stage=stage, output=None, device=None, seed=None, dry_run=dry_run)


def test_the_published_study_runs_from_its_config(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run(config())
    said = capsys.readouterr().out
    words = read_transcript(tmp_path / "out" / "decoding" / "words.csv")
    assert words.mid_times[0] >= 10
    scores = json.loads((tmp_path / "out" / "decoding" / "scores.json").read_text())
    assert scores["settings"]["decoder"]["context_s"] == 8.0
    labels = [row["label"] for row in scores["summary"]["scores"]]
    assert labels[:2] == ["word error rate", "BLEU-1"]
    if "no BERTScore here" in said:  # roberta-large is not on this machine
        assert "embedding recall, not BERTScore" in labels[-1]
        assert "no BERTScore here" in (tmp_path / "out" / "report.html").read_text()
    else:
        assert labels[-1].startswith("BERTScore recall")
    assert len(scores["summary"]["published_null"]) == 4
    windows = (tmp_path / "out" / "decoding" / "windows.csv").read_text().splitlines()
    assert len(windows) == 1 + 21  # centres 30 ... 50 s of the segment 20-60 s
    assert "Simulated data." not in (tmp_path / "out" / "report.html").read_text()


def test_a_dry_run_of_the_study_says_its_sizes(config, tmp_path, capsys):
    run(config(), dry_run=True)
    said = capsys.readouterr().out
    assert "learn from 2 stories" in said
    assert "120 TRs x 40 voxels, 32 columns" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"stories": ["avatar", "wheretheressmoke"]}}, "training.stories must not hold the decoded story"),
        ({"training": {"options": {"folder": "/nowhere/ds003020"}}}, "/nowhere/ds003020: no such folder"),
        ({"test": {"task": "laluna"}}, "Here are: wheretheressmoke"),
        ({"test": {"experiment": "perceived_movies"}}, "test.experiment must be one of"),
        ({"test": {"segments": "/nowhere.json"}}, "/nowhere.json: no such file"),
        ({"features": {"vocabulary": "/nowhere.json"}}, "/nowhere.json: no such file"),
        ({"test": {"story": "avatar"}}, "give either story, or folder and task"),
    ],
)
def test_files_that_are_missing_or_do_not_fit_are_named(config, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(config(**changes))
    assert not (tmp_path / "out").exists()


def test_a_story_of_the_training_data_set_can_be_decoded(config, trees, tmp_path):
    """Without ds004510: leave a story out and decode it."""
    derivative = trees / "ds003020" / "derivative"
    path = config()
    values = yaml.safe_load(Path(path).read_text())
    values["test"] = {"story": "souls"}
    values["training"] |= {"stories": "all"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"must be at least two for UTS03 besides souls; got \['avatar'\]"):
        run(str(tmp_path / "own.yaml"))
    assert sorted(p.stem for p in (derivative / "TextGrids").glob("*")) == ["avatar", "souls"]
