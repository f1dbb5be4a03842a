import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from neurolm.brain.preprocess import detrend_legendre, zscore_run
from neurolm.checks import FileError, InputError
from neurolm.datasets import Dataset, DatasetNotFound, load_dataset
from neurolm.datasets.alice import PREDICTORS_FILE, TEXTGRID

FOLDER = Path(os.environ.get("NEUROLM_DATA", "/nowhere")) / "alice2016"
needs_alice = pytest.mark.skipif(not FOLDER.is_dir(), reason="NEUROLM_DATA names no folder with alice2016")


@pytest.fixture
def alice():
    return load_dataset("alice", folder=FOLDER)


@needs_alice
def test_facts_of_the_data_set(alice):
    assert isinstance(alice, Dataset)
    assert not alice.is_simulated
    assert len(alice.subjects()) == 27
    assert "s33" not in alice.subjects()
    run = alice.bold("s22", "alice")
    assert run.data.shape == (362, 6)
    assert run.space.names == ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")
    assert (run.tr_times[0], run.tr, run.tr_times[-1]) == (20.0, 2.0, 742.0)
    assert not run.bad_voxels.any()
    assert len(alice.transcript("alice")) == 2127


@needs_alice
def test_the_two_radii_differ_and_agree(alice):
    small = load_dataset("alice", folder=FOLDER, radius="6mm").bold("s22").data
    large = alice.bold("s22").data
    assert all(0.7 < np.corrcoef(small[:, k], large[:, k])[0, 1] < 0.9999 for k in range(6))


@needs_alice
def test_leave_one_out_isc_of_the_detrended_listeners(alice):
    """Posterior temporal is highest; the values are those of an independent analysis, to two digits."""
    runs = np.array([zscore_run(detrend_legendre(alice.bold(s), 6)).data for s in alice.subjects()])
    mean = alice.mean_listener()
    np.testing.assert_allclose(mean.data, runs.mean(0), atol=1e-12)
    others = (27 * mean.data - runs) / 26
    isc = np.array([[np.corrcoef(runs[i, :, k], others[i, :, k])[0, 1] for k in range(6)] for i in range(27)]).mean(0)
    np.testing.assert_allclose(isc, [0.29, 0.22, 0.41, 0.24, 0.22, 0.18], atol=0.0055)


@needs_alice
def test_words_and_rows_share_one_clock(alice):
    """The published word rate, on the rows of the BOLD, peaks with ours at zero lag: row 0 is 20 s."""
    story, run = alice.transcript(), alice.bold("s22")
    fine = np.arange(0, 760, 0.1)
    rate = np.histogram(story.onsets, np.append(fine, 760))[0].astype(float)
    hrf = lfilter([1], np.poly([np.exp(-0.1 / 0.9)] * 6), rate)  # a gamma response that peaks about 5 s after a word
    published = alice.regressors("s22")["rate"]
    lags = np.arange(-6, 6.5, 0.5)
    r = [np.corrcoef(np.interp(run.tr_times + lag, fine, hrf), published)[0, 1] for lag in lags]
    assert max(r) > 0.9
    assert abs(lags[int(np.argmax(r))]) <= 1.0


@needs_alice
def test_movement_and_regressors_have_the_rows_of_the_bold(alice):
    for subject in alice.subjects():
        assert alice.movement(subject).shape == (362, 6)
        assert {name: x.shape for name, x in alice.regressors(subject).items()} == {"rate": (362,), "sound_power": (362,)}
    predictors = alice.predictors()
    assert len(predictors) == 12
    assert np.corrcoef(predictors["rate_conv"], alice.regressors("s22")["rate"])[0, 1] > 0.95
    raw = np.loadtxt(FOLDER / PREDICTORS_FILE)
    np.testing.assert_array_equal(predictors["rate_conv"], raw[10:, 0])


@needs_alice
def test_check_finds_a_sound_copy_sound(alice):
    findings = alice.check()
    assert {f.level for f in findings} == {"ok", "note"}
    assert any("s33 is all zeros" in f.what for f in findings)


@needs_alice
def test_check_names_what_is_wrong(tmp_path):
    folder = tmp_path / "alice2016"
    shutil.copytree(FOLDER, folder)
    table = folder / "alice_data_shared" / "10mm" / "s22-timecourses.txt"
    table.write_text(table.read_text()[:-400])
    (folder / TEXTGRID).unlink()
    alice = load_dataset("alice", folder=folder)
    problems = [str(f) for f in alice.check() if f.level == "problem"]
    assert "problem: alice_data_shared/10mm/s22-timecourses.txt: differs from the published file" in problems
    assert f"problem: {TEXTGRID}: is missing" in problems
    assert any("must hold 362 rows x 6 columns" in p or "not a table" in p for p in problems)
    with pytest.raises(FileError, match="no such file"):
        alice.transcript()
    table.write_text("")
    with pytest.raises(FileError, match=r"s22-timecourses.txt: must hold 362 rows x 6 columns; got \(0, 1\)"):
        alice.bold("s22")
    table.write_bytes(b"1 2 \xff\x00 x\n")
    with pytest.raises(FileError, match=r"s22-timecourses\.txt: is not a table of numbers"):
        alice.bold("s22")


@needs_alice
def test_impossible_requests_are_refused(alice):
    with pytest.raises(InputError, match=r"be a listener with data; got s33\. s33 is all zeros"):
        alice.bold("s33")
    with pytest.raises(InputError, match=r"subject must be one of 's18'.*got s2\."):
        alice.bold("s2")
    with pytest.raises(InputError, match="story must be one of 'alice'"):
        alice.transcript("wonderland")
    with pytest.raises(InputError, match="radius must be one of '10mm', '6mm'"):
        load_dataset("alice", folder=FOLDER, radius="8mm")


@needs_alice
def test_the_folder_of_neurolm_data_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROLM_DATA", str(FOLDER.parent))
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    assert load_dataset("alice").folder == FOLDER
    assert not list(tmp_path.iterdir())


@needs_alice
def test_then_the_cache_without_a_network(monkeypatch, tmp_path):
    monkeypatch.delenv("NEUROLM_DATA", raising=False)
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    monkeypatch.setattr("requests.get", None)  # a call would fail
    shutil.copytree(FOLDER, tmp_path / "datasets" / "alice2016")
    assert load_dataset("alice").folder == tmp_path / "datasets" / "alice2016"


@needs_alice
def test_then_a_download_of_what_is_missing(monkeypatch, tmp_path, file_server):
    monkeypatch.delenv("NEUROLM_DATA", raising=False)
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    monkeypatch.setattr("neurolm.datasets.alice.ALICE_URL", file_server(FOLDER))
    calls = []
    alice = load_dataset("alice", progress=lambda done, total, *_: calls.append((done, total)))
    assert calls[-1] == (146, 146)
    assert [f for f in alice.check() if f.level == "problem"] == []


def test_without_any_of_the_three_the_message_says_what_was_tried(monkeypatch, tmp_path):
    import requests

    def no_network(*args, **options):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr("requests.get", no_network)
    monkeypatch.setenv("NEUROLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        DatasetNotFound, match=r"alice: not in .*data/alice2016 nor .*cache.*download failed: https://.*Connection"
    ):
        load_dataset("alice")
    with pytest.raises(DatasetNotFound, match="neurolm data fetch alice"):
        load_dataset("alice", download=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"dataset must be one of 'alice'.*Did you mean 'alice'"):
        load_dataset("alcie")
