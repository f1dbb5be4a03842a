"""Every workflow for real, on simulated listeners with a model of a few kilobytes: carried out, watched, reused, refused.

Encoding: tests/cli/test_run.py; comparison: tests/cli/test_compare.py; training: tests/pipelines/test_workflows.py.
"""

import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_model import save_tiny_model

from neurolm.datasets import load_dataset

LISTENERS = """\
analysis: {kind}
dataset: {{name: simulated, options: {{n_subjects: 4}}}}
device: cpu
threads: 1
output: {output}
"""
FITTED = """\
features: {{model: {model}, layer: 1, context: {{n: 16, unit: sliding}}, lowercase: true}}
fit: {{alphas: {{low: 1, high: 100000, count: 4}}, folds: 3, inner_folds: 3, permutations: 19, bootstrap: 20}}
"""
CONFIGS = {
    "contrast": LISTENERS
    + FITTED
    + """\
items: {{norms: {norms}, rating: rating, frequency: count, pairs: 6, candidates: 40, least_frequency: 0}}
permutations: 99
story_bootstrap: 20
""",
    "identification": LISTENERS
    + """\
states: {{model: {model}, layer: 1, context: {{n: 4, unit: words}}}}
identify: {{features: [word_rate, states], permutations: 99, folds: 4}}
""",
    "timescales": LISTENERS + FITTED + "estimators: [bands, isc]\nbands: {{time_constants: [2, 8]}}\n",
    "decoding": """\
analysis: decoding
simulated: {{training: [a, b, c], test: d, training_s: 50, test_s: 16, n_voxels: 20, snr: 20, rank: 6}}
features: {{model: {model}, layer: 1, context: {{n: 3, unit: words}}}}
decoder: {{alphas: [1.0, 100.0], n_voxels: 12, n_bootstraps: 2, chunk_trs: 8, beam_width: 3}}
evaluation: {{window_s: 8, step_s: 4, scores: [wer], teacher_forced: false, nulls: {{circular_shift: 1, min_shift_s: 6}}}}
device: cpu
threads: 1
output: {output}
""",
}
LAST = {"contrast": "contrast", "identification": "identify", "timescales": "report", "decoding": "evaluate"}  # rules
FILES = {
    "contrast": ["contrast/items.csv", "group/group_desc-alone_contrast.h5", "report.html"],
    "identification": ["identification/scores.csv", "identification/similarity.h5"],
    "timescales": ["timescales/isc.csv", "group/group_desc-bands_timescales.h5", "report.html"],
    "decoding": ["decoding/words.csv", "decoding/words.TextGrid", "decoding/scores.csv", "report.html"],
}
EACH = ["contrast", "identification", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("timescales", "decoding"))]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A model, and ratings of the words of the simulated story."""
    folder = tmp_path_factory.mktemp("material")
    save_tiny_model(folder / "model")
    words = sorted({word.lower() for word in load_dataset("simulated").transcript().words if word.isalpha()})
    rng = np.random.default_rng(0)
    rows = [f"{word},{rng.uniform(1, 5):.2f},{rng.integers(1, 500)}" for word in words]
    (folder / "norms.csv").write_text("\n".join(["word,rating,count", *rows]) + "\n")
    return folder


def status(neurolm_here, folder):
    code, said, _ = neurolm_here("status", folder)
    assert code == 0
    return [" ".join(line.split()) for line in said.splitlines()]


@pytest.mark.parametrize("kind", EACH)
def test_a_workflow_is_refused_in_words_then_runs_can_be_watched_and_is_reused(
    kind, material, neurolm_here, tmp_path, monkeypatch
):
    monkeypatch.delenv("NEUROLM_DATA", raising=False)  # the story that comes with neurolm, everywhere
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    out, last = tmp_path / "out", LAST[kind]
    config = tmp_path / "my.yaml"
    given = {"kind": kind, "norms": material / "norms.csv", "output": out}

    config.write_text(CONFIGS[kind].format(model=tmp_path / "nowhere", **given))
    code, _, complaint = neurolm_here("run", config)
    assert code == 2
    assert "nowhere: no such folder. Give a folder with config.json" in complaint
    assert "Traceback" not in complaint
    assert not out.exists()  # refused before anything is computed or written

    config.write_text(CONFIGS[kind].format(model=material / "model", **given))
    command = [sys.executable, "-m", "neurolm", "run", str(config)]
    seen = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if (out / ".neurolm" / "run.json").exists():
                seen.extend(status(neurolm_here, out))
            time.sleep(0.2)
        said, complaint = process.communicate()
    assert process.returncode == 0, complaint
    assert f"{last} computed" in said
    assert "a run is at work here" in seen
    assert [line for line in seen if line.startswith(("started", "running"))]
    ended, *lines, every = status(neurolm_here, out)
    assert every == "every result is there and fits the data and the config"
    assert ended == "no run is at work here"
    assert {line.split()[0] for line in lines} == {"done"}
    assert last in {line.split()[1] for line in lines}
    before = {path: path.read_bytes() for path in map(out.joinpath, FILES[kind])}

    code, said, _ = neurolm_here("run", config)
    assert code == 0
    assert "Nothing to do" in said
    assert {path: path.read_bytes() for path in before} == before
    assert status(neurolm_here, out)[-1] == "every result is there and fits the data and the config"


def test_an_identification_whose_data_cannot_be_had_says_that_it_is_simulated(neurolm_here, tmp_path, monkeypatch):
    for name in ("NEUROLM_DATA", "NEUROLM_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    config = tmp_path / "my.yaml"
    config.write_text(f"analysis: identification\ndataset: {{name: alice, fallback: simulated}}\noutput: {tmp_path}/out\n")
    code, said, complaint = neurolm_here("run", config, "--dry-run")
    assert (code, complaint) == (0, "")
    assert "SIMULATED data with a planted truth are analysed instead" in said
