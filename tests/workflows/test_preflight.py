"""What an analysis would refuse late is refused before anything is computed: dry run and run say the same, and write nothing."""

import copy
import os

import numpy as np
import pytest
import yaml
from tiny_model import save_tiny_model

from neurolm.brain import BoldRun
from neurolm.checks import InputError
from neurolm.datasets import load_dataset
from neurolm.lm import Transformer, WordTokenizer
from neurolm.lm.weights import save_model
from neurolm.workflows.kinds import KINDS, plan_of
from neurolm.workflows.preflight import check_lists, findings
from neurolm.workflows.preflight_data import Opened, cover
from neurolm.workflows.preflight_data import names as heard

from ..datasets.miniature_fmriprep import build

STUDY = {"dataset": {"name": "simulated", "options": {"n_subjects": 6}}, "threads": 1, "preprocess": {"detrend_degree": 2}}
LM = {"model": "neurolm/lstm-small", "context": {"n": 16, "unit": "words"}}
FIT = {"folds": 3, "inner_folds": 2, "permutations": 19, "alphas": {"low": 10, "high": 1000, "count": 3}}
BASES = {
    "encoding": STUDY | {"features": LM | {"layers": [1]}, "encode": FIT | {"subject_permutations": 19, "content_free_draws": 0}},
    "comparison": STUDY
    | {
        "models": [{"name": "small", "model": "neurolm/lstm-small", "layers": [1]}],
        "encode": {key: FIT[key] for key in ("folds", "inner_folds", "alphas")},
        "reading": {"context": LM["context"]},
    },
    "timescales": STUDY | {"features": LM | {"layer": 1}, "fit": FIT, "estimators": ["context", "isc"]},
    "contrast": STUDY
    | {
        "features": LM | {"layer": 1},
        "fit": FIT,
        "permutations": 99,
        "items": {"norms": "NORMS", "rating": "rating", "frequency": "", "pairs": 8, "candidates": 60, "share": 0.5},
    },
    "identification": STUDY | {"identify": {"permutations": 19}, "states": LM},
    "decoding": {
        "threads": 1,
        "simulated": {"training": ["souls", "avatar"], "test": "legacy"},
        "features": LM | {"layer": 1},
        "proposals": {"model": None},
        "evaluation": {"nulls": {"circular_shift": 5}},
    },
}
# what is wrong, by kind: (the place in the config, the value, what is said)
BAD = [
    ("encoding", "dataset.stories", ["nobody"], "dataset.stories must be among"),
    ("encoding", "dataset.subjects", ["nobody"], "dataset.subjects must be among"),
    ("encoding", "override", ["lagg"], "Did you mean 'lag'"),
    ("encoding", "encode.test_stories", ["other"], "encode.test_stories must be some of"),
    ("encoding", "encode.folds", 400, "n_folds must be at most"),
    ("encoding", "encode.inner_folds", 400, "n_folds must be at most"),
    ("encoding", "encode.gap", 300, "gap must leave rows"),
    ("encoding", "encode.folds", 60, "n_folds must leave at least 8 rows in each held-out fold"),
    ("encoding", "encode.permutations", 18, "encode.permutations must be at least 19"),
    ("encoding", "encode.fdr", 0.01, "encode.permutations must be at least 99"),
    ("encoding", "preprocess.trim_start", 5000, "leave at least two rows"),
    ("encoding", "preprocess.trim_end", 100, "cover the same time"),
    ("encoding", "design.delays", [1, 1], "delays must be distinct"),
    ("encoding", "design.delays", [900], "delays must lie in"),
    ("encoding", "features.layers", [9], "layer must lie in 0..2"),
    ("encoding", "features.model", "./none", "no such folder"),
    ("encoding", "features.model", "neurolm/none", "must be one that ships"),
    ("encoding", "device", "tpu", "device must exist"),
    ("encoding", "output", "FILE/below", "output must be a folder"),
    ("encoding", "design.max_gap_s", 0.0, "design.max_gap_s must be at least"),
    ("timescales", "fit.max_gap_s", 0.0, "fit.max_gap_s must be at least"),
    ("comparison", "dataset.options.n_subjects", 4, "subjects must be at least 5"),
    ("comparison", "models.0.layers", [9], "layer must lie in 0..2"),
    ("comparison", "encode.folds", 400, "n_folds must be at most"),
    ("timescales", "context.words", [1, 5000], "context.words must not be longer"),
    ("timescales", "dataset.options.n_subjects", 1, "dataset.subjects must be at least two"),
    ("timescales", "fit.fdr", 0.01, "fit.permutations must be at least 99"),
    ("timescales", "fit.folds", 400, "n_folds must be at most"),
    ("timescales", "features.layer", 9, "layer must lie in 0..2"),
    ("contrast", "items.norms", "none.csv", "no such file"),
    ("contrast", "items.rating", "other", "has no column 'other'"),
    ("contrast", "items.pairs", 50, "items.pairs must be at most"),
    ("contrast", "features.layer", 9, "layer must lie in 0..2"),
    ("contrast", "fit.inner_folds", 400, "n_folds must be at most"),
    ("identification", "dataset.options.n_subjects", 2, "at least three subjects"),
    ("identification", "identify.window_trs", 300, "leave at least two windows"),
    ("identification", "identify.folds", 900, "n_folds must be at most"),
    ("decoding", "features.model", "./none", "no such folder"),
    ("decoding", "features.layer", 9, "layer must lie in 0..2"),
    ("decoding", "decoder.first_words", ["xyz"], "first_words must share a word with the vocabulary"),
    ("decoding", "decoder.min_count", 5000, "words that occur at least 5000 times"),
    ("decoding", "decoder.delays", [900], "delays must lie in"),
    ("decoding", "decoder.chunk_trs", 5000, "chunk_trs must leave chunks to fit"),
    ("decoding", "decoder.n_factors", 0, "n_factors must be None or at least 1"),
    ("decoding", "decoder.max_gap_s", 0.0, "must cover the same time within 0 s"),
    ("decoding", "evaluation.window_s", 5000.0, "Shorten window_s"),
    ("decoding", "simulated.test", "souls", "not hold the decoded story"),
]


@pytest.fixture
def config(tmp_path):
    """Write the config of a kind, with one value changed: (its path, the output folder)."""
    (tmp_path / "norms.csv").write_text(
        "word,rating\n" + "".join(f"word{'abcdefghij'[i % 10]}{'abcdef'[i // 10]},{i}\n" for i in range(60))
    )
    (tmp_path / "FILE").write_text("")

    def write(kind, place="", value=None):
        values = {"analysis": kind, "output": str(tmp_path / "out")} | copy.deepcopy(BASES[kind])
        if place:
            *way, last = place.split(".")
            at = values
            for key in way:
                at = at[int(key)] if key.isdigit() else at.setdefault(key, {})
            at[last] = value
        text = yaml.safe_dump(values).replace("NORMS", str(tmp_path / "norms.csv")).replace("FILE", str(tmp_path / "FILE"))
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return path, tmp_path / "out"

    return write


@pytest.mark.parametrize("kind", BASES)
def test_a_sound_config_passes(kind, config, neurolm_here):
    path, output = config(kind)
    code, _, complained = neurolm_here("run", path, "--dry-run")
    assert code == 0, complained
    assert not output.exists()


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"), BAD, ids=[f"{kind} {place} {value}" for kind, place, value, _ in BAD]
)
def test_what_cannot_work_is_refused_by_dry_run_and_run_alike(kind, place, value, message, config, neurolm_here):
    path, output = config(kind, place, value)
    code, _, complained = neurolm_here("run", path, "--dry-run")
    assert (code, message in complained) == (2, True), complained
    assert "Traceback" not in complained
    assert "\n" not in complained[complained.index("neurolm: ") :].strip()  # said once, in one line
    again, _, same = neurolm_here("run", path)
    assert (again, same.splitlines()[-1]) == (2, complained.splitlines()[-1])
    assert not output.exists()


@pytest.mark.parametrize("command", [("stimuli", "check"), ("data", "check"), ("encode",), ("encode", "--dry-run")])
def test_every_command_of_an_analysis_goes_through_the_same_list(command, config, neurolm_here):
    path, output = config("encoding", "encode.folds", 400)
    code, _, complained = neurolm_here(*command, path)
    assert (code, "n_folds must be at most" in complained) == (2, True), complained
    assert not output.exists()


@pytest.fixture
def read_only(monkeypatch):
    """No folder can be written, as on a read-only mount or for another user."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: not mode & os.W_OK and access(path, mode, **more))


@pytest.mark.parametrize("command", ["data", "stimuli"])
def test_what_only_reads_works_where_no_folder_can_be_written(command, config, neurolm_here, read_only):
    path, output = config("encoding")
    code, said, complained = neurolm_here(command, "check", path)
    assert code == 0, complained
    assert f"note: {output} cannot be written: a run needs another folder (--output)" in said
    assert command == "data" or "No check of words against BOLD failed. Nothing is kept" in said
    assert not output.exists()


def test_a_run_whose_output_cannot_be_written_is_refused_before_the_work(config, neurolm_here, read_only):
    path, _ = config("encoding")
    for more in ((), ("--dry-run",)):
        code, _, complained = neurolm_here("run", path, *more)
        assert (code, "output must be a folder that can be written" in complained) == (2, True)


def test_a_dry_run_of_a_report_names_every_stage_that_it_needs(config, neurolm_here):
    path, output = config("encoding")
    code, said, complained = neurolm_here("report", path, "--dry-run")
    assert code == 0, complained
    needed = [line.split()[0].split("-")[0] for line in said.splitlines() if "(not made yet)" in line]
    assert needed == ["check", "features", "encode", "report"]
    assert not output.exists()


def test_every_kind_of_analysis_has_a_list():
    assert set(KINDS) == set(check_lists())


def test_rest_is_judged_on_the_rows_that_all_subjects_have(config):
    """A scan of one subject that began earlier is cut to the others' rows: its rest is not theirs."""
    path, _ = config("encoding")
    opened = Opened(plan_of(path, output=None, look=False)[1], is_dry=True)
    first, run = next(iter(opened.runs.items()))
    early = np.concatenate([run[0].tr_times[0] + run[0].tr * np.arange(-30, 0), run[0].tr_times])
    earlier = BoldRun(np.broadcast_to(np.float32(0), (len(early), run[0].n_voxels)), early, run[0].space, first, run[0].story)
    opened.__dict__["runs"] = opened.runs | {first: [earlier]}
    assert list(cover(opened)) == []
    opened = Opened(opened.plan, is_dry=True)
    opened.__dict__["runs"] = {first: [earlier]}
    with pytest.raises(InputError, match=r"design\.max_gap_s must be at least"):
        list(cover(opened))


def test_a_subject_who_lacks_a_story_is_said_once_with_the_keys_that_work(config, tmp_path):
    tree = build(tmp_path / "ds", n_trs=40, forms=("volume",))
    for path in tree.rglob("sub-02_task-clock_run-2*"):
        path.unlink()
    path, _ = config("encoding", "dataset", {"name": "bids", "options": {"folder": str(tree)}})
    problems = [
        str(finding) for finding in findings(Opened(plan_of(path, output=None, look=False)[1])) if finding.level == "problem"
    ]
    (problem,) = problems
    assert '`stories: [clock_run-1]` (all subjects) or `subjects: ["01"]` (all stories)' in problem
    for key, names in (("stories", ["clock_run-1"]), ("subjects", ["01"])):
        path, _ = config("encoding", "dataset", {"name": "bids", "options": {"folder": str(tree)}, key: names})
        study = Opened(plan_of(path, output=None, look=False)[1])
        assert [finding.level for finding in heard(study)] == ["ok"]


def test_the_model_is_not_loaded_where_the_features_are_there(config, neurolm_here, monkeypatch, tmp_path):
    path, _ = config("encoding", "features", {"model": str(save_tiny_model(tmp_path / "tiny")), "layers": [1]})
    assert neurolm_here("features", "extract", path)[0] == 0
    monkeypatch.setattr("neurolm.workflows.decoding_material.load_lm", None)
    plan = plan_of(path, output=None, look=False)[1]
    assert not [finding for finding in findings(Opened(plan, is_dry=True)) if finding.level == "problem"]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    words = sorted({word.lower() for word in load_dataset("simulated").transcript().words})
    folder = tmp_path_factory.mktemp("model") / "transformer"
    save_model(Transformer(WordTokenizer.from_words(words), width=8, n_layers=2, n_heads=2, max_context=64, seed=0), folder)
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimators": ["context"], "context": {"words": [1, 64]}}, "64"),
        ({"estimators": ["surprisal"], "surprisal": {"words": [1, 64]}}, "64"),
        ({"estimators": ["bands"], "bands": {"kind": "units"}}, "bands.kind must be spectral unless a layer of an LSTM"),
        ({"estimators": ["bands"], "bands": {"kind": "units", "n_bands": 5000}, "features": LM | {"layer": 1}}, "be at most 256"),
    ],
)
def test_what_an_estimator_cannot_read_with_the_model_is_refused_before_the_work(
    changes, message, config, transformer, neurolm_here
):
    path, output = config("timescales")
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(values | {"features": LM | {"model": transformer, "layer": 1}} | changes))
    code, _, complained = neurolm_here("run", path, "--dry-run")
    assert (code, message in complained) == (2, True), complained
    assert not output.exists()


def test_what_a_decoding_cannot_read_with_the_model_is_refused_before_the_fit(config, transformer, neurolm_here):
    context = {"n": 100, "unit": "words"}
    path, output = config("decoding", "features", {"model": transformer, "layer": 1, "context": context})
    code, _, complained = neurolm_here("run", path, "--dry-run")
    assert (code, "64" in complained) == (2, True), complained
    assert not output.exists()
