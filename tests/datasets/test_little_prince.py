"""On a miniature tree with the file names, run numbers and volumes of ds003643."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from neurolm.checks import FileError, InputError
from neurolm.datasets import Dataset, DatasetNotFound, fetch_dataset, load_dataset
from neurolm.datasets.little_prince import VOLUMES

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 564
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "TokensAlign"
        xmin = 0
        xmax = 564
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = "#"
        intervals [2]:
            xmin = 0.1
            xmax = 0.7
            text = "i\\` d"
        intervals [3]:
            xmin = 0.7
            xmax = 0.9
            text = "\\` the"
        intervals [4]:
            xmin = 0.9
            xmax = 1.9
            text = "six_hundred_twelve"
        intervals [5]:
            xmin = 1.9
            xmax = 2.9
            text = "na\\i""ve"
"""
SHAPE = (3, 4, 2)


def image_of(n_volumes, seed):
    data = np.random.default_rng(seed).standard_normal((*SHAPE, n_volumes)).astype(np.float32)
    return nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1]))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """EN057's runs are 15 to 23, EN061's have gaps; EN062 has only eight."""
    folder = tmp_path_factory.mktemp("data") / "ds003643"
    (folder / "annotation" / "EN").mkdir(parents=True)
    for k in range(1, 10):
        encoding = "utf-16" if k == 3 else "utf-8"
        (folder / "annotation" / "EN" / f"lppEN_section{k}.TextGrid").write_bytes(GRID.encode(encoding))
    runs = {"EN057": range(15, 24), "EN061": [9, 11, 12, 13, 14, 19, 20, 21, 22], "EN062": range(9, 17)}
    for subject, numbers in runs.items():
        func = folder / "derivatives" / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        for k, number in enumerate(numbers):
            name = f"sub-{subject}_task-lppEN_run-{number:02d}_space-MNIColin27_desc-preproc_bold.nii.gz"
            nibabel.save(image_of(VOLUMES["EN"][k], number), func / name)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:, 1, :] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([2.0, 2, 2, 1])), folder / "mask.nii.gz")
    return folder


@pytest.fixture(scope="module")
def prince(tree):
    return load_dataset("little_prince", folder=tree, mask=tree / "mask.nii.gz")


def test_listeners_and_sections(prince):
    assert isinstance(prince, Dataset)
    assert prince.subjects() == ["EN057", "EN061"]
    assert prince.stories() == [f"section{k}" for k in range(1, 10)]


def test_words_are_made_readable(prince):
    for story in ("section1", "section3"):
        transcript = prince.transcript(story)
        assert transcript.words == ("i'd", "the", "six hundred twelve", "naïve")
        assert transcript.left_out == {"#": 1}


def test_runs_are_sections_in_the_order_of_their_numbers(prince, tree):
    run = prince.bold("EN061", "section6")
    assert run.n_trs == VOLUMES["EN"][5]
    assert (run.tr_times[0], run.tr, run.n_voxels) == (0.0, 2.0, 4)
    expected = image_of(VOLUMES["EN"][5], 19).get_fdata(dtype=np.float32)[1:, 1, :].reshape(4, -1).T
    np.testing.assert_array_equal(run.data, expected)


def test_check_reads_everything(prince, tree):
    findings = prince.check()
    assert not [f for f in findings if f.level == "problem" and "published" not in f.what]
    assert any("Run numbers differ" in f.what for f in findings)


def test_a_run_of_another_length_is_refused(prince, tree, tmp_path):
    import shutil

    shutil.copytree(tree, tmp_path / "ds003643")
    func = tmp_path / "ds003643/derivatives/sub-EN057/func"
    names = sorted(func.iterdir())
    names[0].rename(func / "swap")
    names[1].rename(names[0])
    (func / "swap").rename(names[1])
    swapped = load_dataset("little_prince", folder=tmp_path / "ds003643", mask=tree / "mask.nii.gz")
    with pytest.raises(FileError, match=r"run-15.*: 298 volumes, section 1 has 282. Is it the run of another section"):
        swapped.bold("EN057", "section1")
    assert sum("EN057 section" in f.where for f in swapped.check() if f.level == "problem") == 2
    names[2].write_bytes(names[2].read_bytes()[:100])
    assert any("damaged or cut short" in f.what for f in swapped.check() if f.level == "problem")


def test_impossible_requests_are_refused(prince, tree, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="mask must be named to read responses"):
        load_dataset("little_prince", folder=tree).bold("EN057", "section1")
    with pytest.raises(InputError, match="subject must be one of 'EN057', 'EN061'; got EN062"):
        prince.bold("EN062", "section1")
    with pytest.raises(InputError, match="story must be one of 'section1'"):
        prince.transcript("chapter1")
    with pytest.raises(InputError, match="language must be one of 'CN', 'EN', 'FR'"):
        load_dataset("little_prince", folder=tree, language="DE")
    with pytest.raises(
        InputError, match=r"option of little_prince must be one of folder, language, mask; got lang\. Did you mean"
    ):
        load_dataset("little_prince", lang="EN")
    monkeypatch.setenv("NEUROLM_DATA", str(tmp_path))
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    with pytest.raises(DatasetNotFound, match="little_prince: not in"):
        load_dataset("little_prince")


def test_fetching_takes_words_always_and_runs_when_asked(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    monkeypatch.setattr("neurolm.datasets.little_prince.fetch_files", lambda registry, *_: asked.update(files=set(registry)))
    fetch_dataset("little_prince")
    assert len(asked["files"]) == 30
    fetch_dataset("little_prince", subjects=["EN057"])
    assert sum("sub-EN057" in f for f in asked["files"]) == 9
    with pytest.raises(InputError, match="option of little_prince must be one of subjects; got stories"):
        fetch_dataset("little_prince", stories=["section1"])


@pytest.mark.skipif(
    not (Path(os.environ.get("NEUROLM_DATA", "/nowhere")) / "littleprince_en").is_dir(),
    reason="NEUROLM_DATA names no folder with littleprince_en",
)
def test_the_real_words_read_whole(tmp_path):
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation" / "EN").symlink_to(Path(os.environ["NEUROLM_DATA"]) / "littleprince_en" / "annotation")
    prince = load_dataset("little_prince", folder=tmp_path)
    transcripts = [prince.transcript(story) for story in prince.stories()]
    assert [len(t) for t in transcripts] == [1521, 1694, 1863, 1641, 1541, 1825, 1788, 1583, 1973]
    assert not any(set(word) & set("_`\\#") for t in transcripts for word in t.words)
    assert "10 of" in prince.check()[0].what
