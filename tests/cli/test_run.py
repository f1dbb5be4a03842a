"""The main job end to end, on a part of the real data with the real model; and what a kill does to it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
SUBSET = {
    "subjects: all                # or a list: [s18, s22]": "subjects: [s18, s22, s23]",
    "layers: [0, 5, 10, 15, 20, 25, 30]": "layers: [0, 4]",
    "{n: 512, unit: sliding}": "{n: 64, unit: sliding}",
    " folds: 5 ": " folds: 3 ",
    "inner_folds: 5 ": "inner_folds: 3 ",
    " permutations: 1000": " permutations: 20",
    "subject_permutations: 200": "subject_permutations: 5",
    "content_free_draws: 199": "content_free_draws: 19",
    "threads: 2": "threads: 1",
}


@pytest.fixture(scope="module")
def data():
    folder = os.environ.get("NEUROLM_DATA")
    if not folder or not (Path(folder) / "alice2016").is_dir():
        pytest.skip("NEUROLM_DATA does not hold alice2016")
    return folder


def write_subset(folder):
    """The demo's config, cut down."""
    text = DEMO.read_text()
    for old, new in SUBSET.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "subset.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def subset(tmp_path):
    return write_subset(tmp_path)


@pytest.fixture
def small(subset):
    """The subset with a model that is loaded in no time."""
    text = subset.read_text().replace("model: smollm2-135m", "model: neurolm/lstm-small").replace("layers: [0, 4]", "layers: [1]")
    subset.write_text(text)
    return subset


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """The folder of a finished run, which no test changes."""
    folder = tmp_path_factory.mktemp("finished")
    command = [sys.executable, "-m", "neurolm", "run", str(write_subset(folder)), "--output", str(folder / "out")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder / "out"


def test_the_demo_runs_is_reused_and_follows_its_config(neurolm, subset, finished):
    output = finished
    for name in (
        "report.html",
        "encoding/scores.h5",
        "encoding/scores.tsv",
        "encoding/content_free.tsv",
        "encoding/beyond_low_level.tsv",
        "stimuli/alignment.json",
        "dataset_description.json",
    ):
        assert (output / name).is_file()
    assert json.loads((output / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    page = (output / "report.html").read_text()
    assert page.index("Do words and BOLD fit together?") < page.index("How well is BOLD predicted?")
    assert "SIMULATED" not in page
    beyond = "word rate, word duration, word length, pauses, word frequency and sound power"
    assert f"The language model predicts beyond {beyond} in " in page
    assert "content-free draws in " in page
    assert "http://" not in page.split("<main")[0].replace("http://www.w3.org", "")

    again = neurolm("run", subset, "--output", output)
    assert "Nothing to do" in again.stdout

    subset.write_text(subset.read_text().replace("fdr: 0.05", "fdr: 0.06"))
    changed = neurolm("run", subset, "--output", output, "--dry-run")
    planned = [line.split()[0] for line in changed.stdout.splitlines() if "to make" in line]
    assert planned == ["encode", "report"]

    status = neurolm("status", output)
    assert "no run is at work here" in status.stdout

    subset.write_text(subset.read_text().replace("layers: [0, 4]", "layers: [0, 99]"))
    refused = neurolm("run", subset, "--output", output)
    assert refused.returncode == 2
    assert "layer must lie in 0..30" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_killed_run_goes_on_and_leaves_no_child(neurolm, subset, tmp_path, finished):
    output, reference = tmp_path / "out", finished
    command = [sys.executable, "-m", "neurolm", "run", str(subset), "--output", str(output)]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(output / "stimuli" / "alignment.json")
    os.kill(victim.pid, signal.SIGKILL)  # its children live on
    victim.wait()
    an_hour_ahead = time.time() + 3600  # of a machine whose clock was wrong: what is made from it is not thrown away for it
    os.utime(output / "stimuli" / "alignment.json", (an_hour_ahead, an_hour_ahead))
    resumed = neurolm("run", subset, "--output", output)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("encoding/scores.h5", "encoding/scores.tsv", "features/story-alice_features.h5"):
        assert (output / name).read_bytes() == (reference / name).read_bytes()
    assert not list(output.rglob("*.part"))
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(output) in " ".join(p.info["cmdline"] or [])]


def test_two_runs_in_one_folder_are_refused(neurolm, small, tmp_path, data):
    output = tmp_path / "out"
    command = [sys.executable, "-m", "neurolm", "run", str(small), "--output", str(output)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(output / ".neurolm" / "run.json")
    second = neurolm("run", small, "--output", output)
    assert second.returncode == 2
    assert "one run at a time" in second.stderr
    first.terminate()
    assert first.wait(60) == 128 + signal.SIGTERM


def test_without_the_data_the_run_says_that_it_is_simulated(neurolm, small, tmp_path):
    (tmp_path / "cache").mkdir()
    nowhere = {"NEUROLM_DATA": str(tmp_path), "NEUROLM_CACHE": str(tmp_path / "cache"), "https_proxy": "http://127.0.0.1:9"}
    small.write_text(small.read_text().replace("subjects: [s18, s22, s23]", "subjects: [sim01, sim02]"))
    ended = neurolm("run", small, "--output", tmp_path / "out", env=nowhere)
    assert ended.returncode == 0, ended.stderr
    assert "SIMULATED data with a planted truth" in ended.stdout
    assert "simulated" in (tmp_path / "out" / "report.html").read_text()


def test_a_failed_alignment_check_stops_unless_it_is_overridden(neurolm, small, tmp_path, data):
    from neurolm.datasets import load_dataset

    shifted = tmp_path / "shifted" / "alice2016"
    shifted.parent.mkdir()
    original = Path(load_dataset("alice").folder)
    for source in original.rglob("*"):
        target = shifted / source.relative_to(original)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    (grid,) = (shifted / "alice_stim_shared").glob("*.TextGrid")
    text = grid.read_text()
    grid.unlink()
    grid.write_text(re.sub(r"(xm(?:in|ax) = )([\d.]+)", lambda m: f"{m[1]}{float(m[2]) + 12}", text))
    environment = {"NEUROLM_DATA": str(shifted.parent)}
    small.write_text(small.read_text().replace("subjects: [s18, s22, s23]", "subjects: all"))
    stopped = neurolm("stimuli", "check", small, env=environment, cwd=tmp_path)
    assert stopped.returncode == 2
    assert "the check 'lag' failed" in stopped.stderr
    assert "override: [lag]" in stopped.stderr
    small.write_text(small.read_text() + "override: [lag]\n")
    assert neurolm("stimuli", "check", small, env=environment, cwd=tmp_path).returncode == 0


def _wait_for(path: Path, seconds: float = 120) -> None:
    for _ in range(int(seconds * 10)):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def test_layers_are_scored_in_their_order_whatever_json_makes_of_it(tmp_path):
    from types import SimpleNamespace

    from neurolm.storage import write_json
    from neurolm.workflows.encoding import LayerSets

    write_json(tmp_path / "features" / "story-a_features.json", {"hashes": {"0": "", "5": "", "10": ""}})
    assert list(LayerSets(SimpleNamespace(output=tmp_path, stories=("a",)))) == ["layer 0", "layer 5", "layer 10"]
