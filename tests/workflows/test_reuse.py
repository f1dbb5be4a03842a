"""Content decides what is made again: of every kind of input, by every kind of analysis, told alike by every command."""

import contextlib
import json
import os
import shutil
import time

import pytest
import yaml

from neurolm.checks import FileError, InputError
from neurolm.lm import LSTM, load
from neurolm.lm.weights import save_model
from neurolm.storage import write_h5, write_json
from neurolm.workflows.analysis import due_stages
from neurolm.workflows.extraction import manifest_path, read_layer
from neurolm.workflows.kinds import plan_of
from neurolm.workflows.output_folder import analysis_folders, earlier_folders, own_folder, write_index
from neurolm.workflows.run_processes import RUN_ID
from neurolm.workflows.stages import Judge, making, set_aside_unplanned

from ..datasets.miniature_fmriprep import VOLUME, build
from ..tiny_model import save_tiny_model

FMRIPREP = "derivatives/fmriprep/sub-01/func/sub-01_task-clock"
FIT = {"folds": 2, "inner_folds": 2, "permutations": 19, "alphas": {"low": 10, "high": 1000, "count": 3}}
DATASET = {"name": "bids", "options": {"folder": "ds", "confounds": ["motion"]}, "stories": ["bird", "clock"]}
STUDY = {"dataset": DATASET, "threads": 1, "device": "cpu"}
PREPROCESS = {"preprocess": {"detrend_degree": 2}}
LM = {"model": "./model", "context": {"n": 8, "unit": "words"}}
CONFIGS = {
    "encoding": STUDY
    | PREPROCESS
    | {"features": LM | {"layers": [1]}, "encode": FIT | {"subject_permutations": 19, "content_free_draws": 0}},
    "comparison": STUDY
    | PREPROCESS
    | {
        "models": [{"name": "a", "model": "./model", "layers": [1]}, {"name": "b", "model": "./other", "layers": [1]}],
        "encode": {key: FIT[key] for key in ("folds", "inner_folds", "alphas")},
        "reading": {"context": LM["context"]},
    },
    "timescales": STUDY
    | PREPROCESS
    | {"features": LM | {"layer": 1}, "fit": FIT, "estimators": ["context", "swap", "isc"]}
    | {"context": {"words": [1, 4]}, "swap": {"swaps": 4, "lags": 4, "past": 8}, "in_silico": {"name": "simulated"}},
    "contrast": STUDY
    | PREPROCESS
    | {"features": LM | {"layer": 1}, "fit": FIT, "permutations": 99}
    | {"items": {"norms": "norms.csv", "rating": "rating", "frequency": "", "pairs": 8, "candidates": 60, "share": 0.5}},
    "identification": STUDY
    | PREPROCESS
    | {"dataset": DATASET | {"stories": ["clock"]}, "states": LM | {"layer": 1}}
    | {"identify": {"features": ["states"], "permutations": 19, "window_trs": 10}},
    "decoding": {
        "subject": "01",
        "training": {"dataset": "bids", "options": DATASET["options"], "stories": ["clock", "tree"]},
        "test": {"story": "bird", "segments": "segments.json", "rate_voxels": "rate.json"},
        "features": LM | {"layer": 1},
        "proposals": {"model": "./other"},
        "threads": 1,
        "device": "cpu",
    },
    "training": {
        "name": "new",
        "model": {"kind": "LSTM", "settings": {"width": 8, "n_layers": 1}},
        "tokenizer": {"kind": "words", "vocab_size": 50},
        "corpus": {"files": ["corpus/*.txt"]},
        "batches": {"length": 8, "batch_size": 2},
        "trainer": {"n_steps": 2},
    },
}
INPUTS = {
    "words": "ds/stimuli/clock.tsv",
    "bold": f"ds/{FMRIPREP}_{VOLUME}_desc-preproc_bold.nii.gz",
    "sidecar": f"ds/{FMRIPREP}_{VOLUME}_desc-preproc_bold.json",
    "events": "ds/sub-01/func/sub-01_task-clock_events.tsv",
    "confounds": f"ds/{FMRIPREP}_desc-confounds_timeseries.tsv",
    "mask": f"ds/{FMRIPREP}_{VOLUME}_desc-brain_mask.nii.gz",
    "weights": "model/model.safetensors",
    "tokenizer": "model/tokenizer.json",
    "other weights": "other/model.safetensors",
    "norms": "norms.csv",
    "decoded words": "ds/stimuli/bird.tsv",
    "segments": "segments.json",
    "rate voxels": "rate.json",
    "corpus": "corpus/a.txt",
}
ALL = {
    "encoding": ("check", "features-bird", "features-clock", "encode", "report"),
    "comparison": ("check", "a/features-bird", "a/features-clock", "b/features-bird", "b/features-clock", "compare"),
    "timescales": ("check", "context", "swap", "isc", "report"),
    "contrast": ("check", "contrast"),
    "identification": ("identify",),
    "decoding": ("fit", "search", "evaluate"),
    "training": ("train",),
}
RUNS = ("bold", "sidecar", "events", "confounds", "mask")  # what BOLD in a space and on a clock is read from
DEPENDS = {  # the stages that read an input, and those after them
    "encoding": {
        "words": ("check", "features-clock", "encode", "report"),
        "decoded words": ("check", "features-bird", "encode", "report"),
        **dict.fromkeys(RUNS, ("check", "encode", "report")),
        **dict.fromkeys(("weights", "tokenizer"), ("features-bird", "features-clock", "encode", "report")),
    },
    "comparison": {
        "words": ("check", "a/features-clock", "b/features-clock", "compare"),
        "decoded words": ("check", "a/features-bird", "b/features-bird", "compare"),
        **dict.fromkeys(RUNS, ("check", "compare")),
        **dict.fromkeys(("weights", "tokenizer"), ("a/features-bird", "a/features-clock", "compare")),
        "other weights": ("b/features-bird", "b/features-clock", "compare"),
    },
    "timescales": {
        **dict.fromkeys(("words", "decoded words"), ("check", "context", "swap", "report")),
        **dict.fromkeys(RUNS, ("check", "context", "swap", "isc", "report")),
        **dict.fromkeys(("weights", "tokenizer"), ("context", "swap", "report")),
    },
    "contrast": {
        **dict.fromkeys(("words", "decoded words", *RUNS), ("check", "contrast")),
        **dict.fromkeys(("weights", "tokenizer", "norms"), ("contrast",)),
    },
    "identification": dict.fromkeys(("words", *RUNS, "weights", "tokenizer"), ("identify",)),
    "decoding": {
        **dict.fromkeys(("words", *RUNS, "weights", "tokenizer", "rate voxels"), ("fit", "search", "evaluate")),
        "other weights": ("search", "evaluate"),
        **dict.fromkeys(("decoded words", "segments"), ("evaluate",)),
    },
    "training": {"corpus": ("train",)},
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Two stories with words of their own, three subjects, two language models, and whatever else an analysis may read."""
    root = tmp_path_factory.mktemp("reuse")
    build(root / "ds", subjects=("01", "02", "03"), runs=("task-clock", "task-bird", "task-tree"), n_trs=60, forms=("volume",))
    header, *rows = (root / "ds/stimuli/clock.tsv").read_text().splitlines()
    words, times = zip(*(row.split("\t", 1) for row in rows))
    for name, other in (("bird", words[::-1]), ("tree", sorted(words))):
        lines = [f"{word}\t{time}" for word, time in zip(other, times)]
        (root / f"ds/stimuli/{name}.tsv").write_text("\n".join([header, *lines]) + "\n")
        for path in root.glob(f"ds/sub-*/func/*task-{name}_events.tsv"):
            path.write_text(path.read_text().replace("clock_audio.wav", f"{name}.wav"))
    save_tiny_model(root / "model")
    save_tiny_model(root / "other", width=8)
    (root / "norms.csv").write_text(
        "word,rating\n" + "".join(f"word{'abcdefghij'[i % 10]}{'abcdef'[i // 10]},{i}\n" for i in range(60))
    )
    for name in ("segments", "rate"):
        (root / f"{name}.json").write_text("{}")
    (root / "corpus").mkdir()
    for name in "ab":
        (root / "corpus" / f"{name}.txt").write_text("once upon a time there was a fox and the fox had a very long tail\n" * 40)
    return root


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    """A copy of it, with a cache of its own."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(place, kind, **changed):
    values = CONFIGS[kind] | ({} if kind == "training" else {"analysis": kind, "output": "out"}) | changed
    (place / f"{kind}.yaml").write_text(yaml.safe_dump(values))
    return place / f"{kind}.yaml"


def plan(place, kind, **changed):
    return plan_of(write_config(place, kind, **changed), output=place / "out", look=False)[1]


def finish(plan):
    """Leave what a run of the plan leaves: its files and their records."""
    plan.write()
    for stage in plan.stages():
        with making(stage):
            for name in stage.makes:
                write_json(stage.folder / name, {"made by": stage.name})


def name_of(stage):
    return f"{stage.folder.name}/{stage.name}" if stage.folder.parent.name == "models" else stage.name


def outdated(place, kind, *, verify=False):
    """Names of the stages that a new process would make again; the alphabet orders features."""
    stages = plan(place, kind).stages()
    reasons = Judge(verify=verify).outdated(stages)
    return tuple(name_of(stage) for stage in stages if stage.record in reasons)


@contextlib.contextmanager
def changed(path):
    """Other content, of the same size and with the same time; put back afterwards."""
    if path.name == "model.safetensors":  # whose hash its config knows
        kept = {one: one.read_bytes() for one in path.parent.iterdir()}
        save_model(LSTM(load(path.parent).tokenizer, width=16, n_layers=2, seed=1), path.parent)
        yield
        for one, content in kept.items():
            one.write_bytes(content)
        return
    before, status = path.read_bytes(), path.stat()
    if path.suffix == ".tsv" and path.parent.name == "stimuli":
        after = before.replace(b"river", b"rover")
    elif path.name == "tokenizer.json":
        after = before.replace(b'"the"', b'"teh"')
    elif path.name.endswith("events.tsv"):
        after = before.replace(b"12.0", b"13.0")
    elif path.suffix == ".json":
        after = before + b" "
    else:
        after = before[:-9] + bytes([before[-9] ^ 1]) + before[-8:]
    assert after != before, path
    path.write_bytes(after)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    yield
    path.write_bytes(before)


@pytest.mark.parametrize("kind", CONFIGS)
def test_exactly_the_stages_that_read_a_changed_input_are_made_again(kind, place):
    finish(plan(place, kind))
    assert tuple(name_of(stage) for stage in plan(place, kind).stages()) == ALL[kind]
    assert outdated(place, kind) == ()
    for name, file in INPUTS.items():
        with changed(place / file):
            assert outdated(place, kind) == DEPENDS[kind].get(name, ()), name
        assert outdated(place, kind) == (), f"{name} is as it was"


@pytest.mark.parametrize(("kind", "hours"), [(kind, 1) for kind in CONFIGS] + [("encoding", -10_000), ("encoding", 10_000)])
def test_a_wrong_clock_changes_nothing(kind, hours, place):
    finish(plan(place, kind))
    then = time.time() + 3600 * hours
    for path in place.rglob("*"):
        os.utime(path, (then, then))
    assert outdated(place, kind) == ()
    with changed(place / ("corpus/a.txt" if kind == "training" else INPUTS["bold"])):
        assert outdated(place, kind) != ()


def test_a_data_set_that_was_moved_is_the_same_but_for_the_page_that_names_its_place(place):
    finish(plan(place, "encoding"))
    (place / "ds").rename(place / "moved")
    options = {"folder": "moved", "confounds": ["motion"]}
    stages = plan(place, "encoding", dataset=DATASET | {"options": options}).stages()
    assert list(Judge().outdated(stages)) == [stages[-1].record]


def test_verify_finds_what_no_time_and_no_size_tells(place, monkeypatch):
    """A file system that shows the same times, size and inode for other content."""
    monkeypatch.setattr("neurolm.file_hashes._mark", lambda path: [1, 0, 0, 1])
    finish(plan(place, "encoding"))
    with changed(place / INPUTS["bold"]):
        assert outdated(place, "encoding") == ()
        assert outdated(place, "encoding", verify=True) == ("check", "encode", "report")


@pytest.mark.parametrize("kind", ["encoding", "timescales", "contrast", "identification"])
def test_a_new_file_that_is_read_counts_as_a_change(kind, place):
    """Confounds that were not there, and marks of sentences beside the words."""
    table, text = place / INPUTS["confounds"], place / "ds/stimuli/clock.txt"
    kept = table.read_bytes()
    finish(plan(place, kind))
    table.unlink()
    assert outdated(place, kind) == DEPENDS[kind]["confounds"]
    table.write_bytes(kept)
    text.write_text(" ".join(line.split("\t")[0] for line in (place / INPUTS["words"]).read_text().splitlines()[1:]) + ".")
    assert outdated(place, kind) == DEPENDS[kind]["words"]


def test_features_of_other_words_are_refused_when_they_are_read(place):
    whole = plan(place, "encoding")
    words = whole.dataset.transcript("clock")
    write_json(manifest_path(whole, "clock"), {"transcript": words.content_hash(), "hashes": {"1": ""}})
    write_h5(manifest_path(whole, "clock").with_suffix(".h5"), {"layer_01": [[0.0]] * len(words)})
    assert len(read_layer(whole, "clock", 1)) == len(words)
    with (
        changed(place / INPUTS["words"]),
        pytest.raises(FileError, match="features of other words, or of other times, than 'clock'"),
    ):
        read_layer(plan(place, "encoding"), "clock", 1)


# ---------------------------------------------------------------- the same answer from every command


def to_make(said):
    return tuple(line.split()[0] for line in said.splitlines() if " to make " in line)


COMMANDS = {
    "encoding": [("encode", ("check", "features-bird", "features-clock", "encode")),
                 ("stimuli check", ("check",)), ("features extract", ("features-bird", "features-clock")),
                 ("report", ("check", "features-bird", "features-clock", "encode", "report"))],
    "timescales": [("timescales map", ("check", "context", "swap", "isc", "report"))],
    "contrast": [("timescales contrast", ("check", "contrast"))],
    "identification": [("decode", ("identify",))],
    "decoding": [("decode", ("fit", "search", "evaluate"))],
}  # fmt: skip


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_says_the_same(kind, place, neurolm_here, monkeypatch):
    monkeypatch.setattr("neurolm.workflows.decoding.estimate_decoding", lambda config: ())  # times that it would measure
    monkeypatch.setenv(RUN_ID, "steps of a run do not repeat the preflight")
    changes = {} if kind != "decoding" else {"test": {"story": "bird"}}
    finish(plan(place, kind, **changes))
    path = place / f"{kind}.yaml"
    for name in (None, "words", "weights"):
        with changed(place / INPUTS[name]) if name else contextlib.nullcontext():
            expected = DEPENDS[kind].get(name, ())
            code, said, complained = neurolm_here("run", path, "--output", "out", "--dry-run")
            assert (code, to_make(said)) == (0, expected), complained
            status = neurolm_here("status", "out")[1]
            assert tuple(line.split()[2] for line in status.splitlines() if line.startswith("to make")) == expected
            assert ("every result is there" in status) == (not expected)
            for command, stages in COMMANDS[kind]:
                code, said, complained = neurolm_here(*command.split(), path, "--dry-run")
                assert (code, to_make(said)) == (0, tuple(one for one in stages if one in expected)), (command, complained)


def test_what_a_command_makes_again_is_what_a_run_would_make_again(place):
    """Also where nothing was changed but a file of an earlier stage is gone."""
    whole = plan(place, "encoding")
    finish(whole)
    stages = whole.stages()[:-1]
    assert due_stages(stages) == set()
    (place / "out" / stages[1].makes[0]).unlink()
    expected = outdated(place, "encoding")
    assert expected == ("features-bird", "encode", "report")
    assert due_stages(stages) == {stage.record for stage in stages if stage.name in expected}
    assert due_stages(stages[:1]) == set()


# ---------------------------------------------------------------- leftovers, and folders that are shared


def test_what_is_left_of_subjects_no_longer_analysed_is_named_and_moved_aside(place, capsys):
    whole = plan(place, "encoding")
    finish(whole)
    names = ["sub-03.html", "sub-03/sub-03_encoding.h5"]
    pictures = ["sub-03/figures/map.svg", "sub-03/func/sub-03_desc-modelL01_stat-r_statmap.nii.gz"]
    for name in pictures:
        (whole.output / name).parent.mkdir(parents=True, exist_ok=True)
        (whole.output / name).write_text("old")
    (whole.output / "notes.txt").write_text("mine")
    fewer = plan(place, "encoding", dataset=DATASET | {"subjects": ["01", "02"]})
    set_aside_unplanned(fewer.output, fewer.stages())
    finish(fewer)
    assert not list(fewer.output.rglob("sub-03*"))
    moved = {str(path.relative_to(place)) for path in place.rglob("sub-03*") if path.is_file() and "ds" not in path.parts}
    assert {name.split("/", 2)[2] for name in moved} >= {names[0], names[1], pictures[1]}
    assert (fewer.output / "notes.txt").exists()
    assert "of an earlier config moved to" in capsys.readouterr().err


def test_results_of_a_story_no_longer_analysed_are_moved_aside(place):
    finish(plan(place, "encoding"))
    fewer = plan(place, "encoding", dataset=DATASET | {"stories": ["clock"]})
    set_aside_unplanned(fewer.output, fewer.stages())
    assert not list(fewer.output.rglob("*bird*"))
    assert list(earlier_folders(fewer.output)[0].rglob("*bird*"))


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("first", ["encoding", "decoding", "contrast"])
def test_two_kinds_of_analysis_in_one_output_never_write_the_same_file(first, place, capsys):
    finish(plan(place, first))
    before = files_of(place / "out")
    others = [kind for kind in CONFIGS if kind not in (first, "training")]
    for kind in others:
        finish(plan(place, kind))
        assert outdated(place, kind) == ()
    assert {name: files_of(place / "out")[name] for name in before} == before
    assert f"this one ({others[0]}) has the folder {place / 'out' / others[0]}" in capsys.readouterr().err
    assert {folder.name for folder in analysis_folders(place / "out")} == {"out", *others}
    page = write_index(place / "out").read_text()
    assert all(kind in page for kind in (first, *others))


FIRST = {  # what is computed, and the commands that begin with it
    "encoding": ("neurolm.datasets.alignment_check.check_study", ["stimuli check"]),
    "timescales": ("neurolm.datasets.alignment_check.check_study", ["stimuli check", "timescales map"]),
    "decoding": ("neurolm.workflows.decoding.open_models", ["decode"]),
    "identification": ("neurolm.workflows.identification.identify", ["decode"]),
}


@pytest.mark.parametrize(("kind", "command"), [(kind, command) for kind in FIRST for command in FIRST[kind][1]])
def test_a_folder_belongs_to_the_kind_of_the_first_command_that_wrote_there(kind, command, place, neurolm_here, monkeypatch):
    def stop(*arguments, **options):
        raise InputError("stopped here")

    monkeypatch.setattr(FIRST[kind][0], stop)
    values = CONFIGS[kind] if kind != "decoding" else CONFIGS[kind] | {"test": {"story": "bird"}}
    code, _, complained = neurolm_here(*command.split(), write_config(place, kind, **values))
    assert (code, complained.splitlines()[-1]) == (2, "neurolm: stopped here")
    assert json.loads((place / "out/config.json").read_text())["analysis"] == kind
    other = next(one for one in CONFIGS if one != kind)
    assert own_folder(place / "out", other) == place / "out" / other


def test_a_status_never_says_that_all_is_there_when_nothing_was_planned(place, neurolm_here):
    code, _, complained = neurolm_here("status", "out")
    assert code == 2
    assert "must be the output folder of a run" in complained
    for planned in (False, True):  # the engine died before it planned, and before it made anything
        if planned:
            plan(place, "encoding").write()
        (place / "out/.neurolm").mkdir(parents=True, exist_ok=True)
        said = neurolm_here("status", "out")[1]
        assert "every result is there" not in said
        assert ("to make   check (not made yet)" if planned else "unknown   whether results belong to their data") in said
