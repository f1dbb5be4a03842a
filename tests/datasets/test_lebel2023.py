"""On a miniature tree with the file names, formats and lengths of ds003020."""

import json

import h5py
import nibabel
import numpy as np
import pytest

from neurolm.brain import Unplaced, VolumeMask
from neurolm.brain.space import space_arrays, space_from_arrays
from neurolm.checks import FileError, InputError
from neurolm.datasets import Dataset, DatasetNotFound, fetch_dataset, load_dataset

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0.0124
60.5
<exists>
2
"IntervalTier"
"phone"
0.0124
60.5
2
0.0124
0.5
"HH"
0.5
1.0
"AY1"
"IntervalTier"
"word"
0.0124
60.5
4
0.0124
0.0124
"SENTENCE_START"
0.0124
1.0
"HI"
1.0
2.0
"{BR}"
2.0
3.0
"THERE"
"""
N_VOXELS, SCANNED = 7, {"life": 50, "wheretheressmoke": 60, "naked": 44}


@pytest.fixture
def tree(tmp_path):
    """Two listeners; UTS04 lacks `life`, as in the original; `naked` is a link to contents that are not there."""
    folder = tmp_path / "ds003020"
    derivative = folder / "derivative"
    rng = np.random.default_rng(0)
    (derivative / "TextGrids").mkdir(parents=True)
    for story in SCANNED:
        (derivative / "TextGrids" / f"{story}.TextGrid").write_text(GRID)
    (derivative / "respdict.json").write_text(json.dumps(SCANNED))
    for subject, stories in {"UTS03": ["life", "wheretheressmoke"], "UTS04": ["wheretheressmoke"]}.items():
        (derivative / "preprocessed_data" / subject).mkdir(parents=True)
        for story in stories:
            n_rows = SCANNED[story] - 20
            with h5py.File(derivative / "preprocessed_data" / subject / f"{story}.hf5", "w") as file:
                repeats = rng.standard_normal((10, n_rows, N_VOXELS))
                file["data"] = repeats.mean(0)
                if story == "wheretheressmoke":
                    file["individual_repeats"] = repeats
    (derivative / "preprocessed_data" / "UTS03" / "naked.hf5").symlink_to("../../../.git/annex/objects/gone.hf5")
    return folder


@pytest.fixture
def lebel(tree):
    return load_dataset("lebel2023", folder=tree)


def test_what_is_here_is_listed_and_dangling_links_are_not(lebel):
    assert isinstance(lebel, Dataset)
    assert lebel.subjects() == ["UTS03", "UTS04"]
    assert lebel.stories() == ["life", "naked", "wheretheressmoke"]
    assert lebel.stories("UTS03") == ["life", "wheretheressmoke"]
    assert lebel.stories("UTS04") == ["wheretheressmoke"]


def test_words_and_phones(lebel):
    story = lebel.transcript("life")
    assert story.words == ("HI", "THERE")
    assert story.left_out == {"SENTENCE_START": 1, "{BR}": 1}
    assert lebel.phones("life").words == ("HH", "AY1")


def test_rows_begin_ten_seconds_into_the_story(lebel, tree):
    run = lebel.bold("UTS03", "life")
    assert run.data.dtype == np.float32
    np.testing.assert_array_equal(run.tr_times, 10 + 2.0 * np.arange(30))
    assert isinstance(run.space, Unplaced)
    again = space_from_arrays(*space_arrays(run.space))
    assert (again.label, again.n_voxels, len(again.table()["column"])) == ("lebel2023 UTS03", N_VOXELS, N_VOXELS)
    assert run.content_hash() == lebel.bold("UTS03", "life").content_hash()
    with h5py.File(tree / "derivative/preprocessed_data/UTS03/life.hf5") as file:
        np.testing.assert_allclose(run.data, file["data"][:], rtol=1e-6)


def test_repeats_average_to_the_test_run(lebel):
    repeats = lebel.repeats("UTS03")
    assert len(repeats) == 10
    np.testing.assert_allclose(
        np.mean([run.data for run in repeats], axis=0), lebel.bold("UTS03", "wheretheressmoke").data, atol=1e-6
    )
    with pytest.raises(FileError, match=r"life.hf5: has no `individual_repeats`, only data. Only wheretheressmoke was repeated"):
        lebel.repeats("UTS03", "life")


def test_a_pycortex_mask_places_every_column(lebel, tree):
    """Columns come in (z, y, x) order; after reading, column k is the k-th True voxel of the mask in (x, y, z) order."""
    rng = np.random.default_rng(1)
    mask = np.zeros((3, 4, 5), dtype=np.uint8)
    mask.ravel()[rng.choice(60, N_VOXELS, replace=False)] = 1
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    folder = tree / "derivative/pycortex-db/UTS03/transforms/UTS03_auto"
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask_thick.nii.gz")
    run = lebel.bold("UTS03", "life")
    assert isinstance(run.space, VolumeMask)
    with h5py.File(tree / "derivative/preprocessed_data/UTS03/life.hf5") as file:
        published = file["data"][:]
    voxels_zyx = np.argwhere(mask.T)  # pycortex: an array is data[mask.T]
    for column, place in enumerate(run.space.coordinates()):
        z, y, x = (place / [2, 3, 4]).round().astype(int)[::-1]
        source = np.flatnonzero((voxels_zyx == [z, y, x]).all(1))[0]
        np.testing.assert_allclose(run.data[:, column], published[:, source], rtol=1e-6)
    mask[0, 0, 0] = 1 - mask[0, 0, 0]
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask_thick.nii.gz")
    with pytest.raises(FileError, match=r"mask_thick.nii.gz: marks [68] voxels, the matrix of UTS03 has 7"):
        lebel.bold("UTS03", "life")
    (folder / "mask_thick.nii.gz").write_bytes((folder / "mask_thick.nii.gz").read_bytes()[:60])
    with pytest.raises(FileError, match="is damaged or cut short"):
        lebel.bold("UTS03", "life")


def test_a_run_that_does_not_fit_its_story_is_refused(lebel, tree):
    lengths = SCANNED | {"life": 51}
    (tree / "derivative" / "respdict.json").write_text(json.dumps(lengths))
    with pytest.raises(FileError, match=r"life.hf5: 30 rows, but 51 scanned TRs less 20 make 31. The words would not fit"):
        lebel.bold("UTS03", "life")
    problems = [str(f) for f in lebel.check() if f.level == "problem"]
    assert any("UTS03 life" in p and "30 rows" in p for p in problems)


def test_a_cut_file_is_named(lebel, tree):
    path = tree / "derivative/preprocessed_data/UTS03/life.hf5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match=r"life\.hf5: is not a whole HDF5 file"):
        lebel.bold("UTS03", "life")
    assert any(f.level == "problem" and f.where == "UTS03 life" for f in lebel.check())


def test_damaged_bytes_give_an_error_of_ours_or_a_run(lebel, tree):
    path = tree / "derivative/preprocessed_data/UTS03/life.hf5"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[rng.integers(2048)] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            assert lebel.bold("UTS03", "life").data.shape[0] == 30
        except FileError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            n_refused += 1
    assert 60 < n_refused < 300


def test_impossible_requests_are_refused(lebel, tree, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"subject must be one of 'UTS03', 'UTS04'; got UTS3\. Did you mean 'UTS03'"):
        lebel.bold("UTS3", "life")
    with pytest.raises(FileError, match=r"UTS04/life.hf5: no such file. Fetch it"):
        lebel.bold("UTS04", "life")
    with pytest.raises(InputError, match="story must be one of 'life'"):
        lebel.transcript("live")
    (tree / "derivative" / "respdict.json").unlink()
    with pytest.raises(FileError, match=r"respdict\.json: no such file"):
        lebel.bold("UTS03", "life")
    with pytest.raises(FileError, match="holds no folder `derivative`"):
        load_dataset("lebel2023", folder=tmp_path)
    with pytest.raises(FileError, match="no such folder"):
        load_dataset("lebel2023", folder=tmp_path / "none")
    monkeypatch.setenv("NEUROLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DatasetNotFound, match=r"lebel2023: not in .*data/ds003020 nor .*cache/datasets/ds003020"):
        load_dataset("lebel2023")


def test_fetching_takes_words_always_and_matrices_when_asked(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "neurolm.datasets.lebel2023.fetch_files", lambda registry, url, *_: asked.update(files=set(registry), url=url)
    )
    fetch_dataset("lebel2023")
    assert len(asked["files"]) == 85
    assert asked["url"] == "https://s3.amazonaws.com/openneuro.org/ds003020/"
    fetch_dataset("lebel2023", subjects=["UTS03"], stories=["life"])
    assert asked["files"] - {f for f in asked["files"] if "TextGrids" in f or "respdict" in f} == {
        "derivative/preprocessed_data/UTS03/life.hf5",
        "derivative/pycortex-db/UTS03/transforms/UTS03_auto/mask_thick.nii.gz",
    }
    fetch_dataset("lebel2023", subjects=["UTS04"])
    assert sum("UTS04" in f for f in asked["files"]) == 27
    with pytest.raises(InputError, match="subjects must be one of"):
        fetch_dataset("lebel2023", subjects=["UTS10"])
