"""On a miniature tree with the file names and events of ds002345 and its fMRIPrep output."""

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from neurolm.checks import FileError, InputError
from neurolm.datasets import Dataset, DatasetNotFound, fetch_dataset, load_dataset

HEADER = "onset\tduration\ttrial_type\tstim_file\n"
PIEMAN = HEADER + "0.0\t13.0\tmusic\tpieman_audio.wav\n15.0\t422.0\tstory\tpieman_audio.wav\n"
TUNNEL = HEADER + "3.0\t1534.0\tstory\ttunnel_audio.wav\n"
EARLY = HEADER + "0.0\t18.0\tmusic\tmilkywayvodka_audio.wav\n15.0\t404.0\tstory\tmilkywayvodka_audio.wav\n"
SCHEMA = HEADER + "5.0\t189.0\tmovie\tn/a\n199.93\t163.0\tstory\tfriends_audio.wav\n558.61\t171.0\tstory\tbigbang_audio.wav\n"
N_TRS = 30


def save_gifti(path, values):
    arrays = [nibabel.gifti.GiftiDataArray(row.astype(np.float32), intent="NIFTI_INTENT_TIME_SERIES") for row in values]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)


def add_scan(root, subject, stem, events, seed):
    func = root / f"sub-{subject}" / "func"
    func.mkdir(parents=True, exist_ok=True)
    (func / f"sub-{subject}_{stem}_events.tsv").write_text(events)
    images = root / "derivatives" / "fmriprep" / f"sub-{subject}" / "func"
    images.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).standard_normal((N_TRS, 5))
    save_gifti(images / f"sub-{subject}_{stem}_space-fsaverage6_hemi-L.func.gii", values[:, :3])
    save_gifti(images / f"sub-{subject}_{stem}_space-fsaverage6_hemi-R.func.gii", values[:, 3:])
    return values


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "ds002345"
    scans = [("001", "task-pieman_run-1", PIEMAN), ("001", "task-pieman_run-2", PIEMAN), ("001", "task-tunnel", TUNNEL)]
    scans += [("038", "task-milkyway", EARLY), ("209", "task-schema_run-1", SCHEMA)]
    for seed, (subject, stem, events) in enumerate(scans):
        add_scan(root, subject, stem, events, seed)
    for story in ("pieman", "tunnel", "milkywayvodka", "friends"):
        folder = root / "stimuli" / "gentle_checked" / story
        folder.mkdir(parents=True)
        (folder / "align.csv").write_text("I,i,15.09,15.17\nbegan,<unk>,,\nmy,my,15.51,15.70\n")
    return root


@pytest.fixture
def narratives(tree):
    return load_dataset("narratives", folder=tree)


def test_listeners_stories_and_runs(narratives):
    assert isinstance(narratives, Dataset)
    assert narratives.subjects() == ["001", "038", "209"]
    assert narratives.stories() == ["friends", "milkywayvodka", "pieman", "tunnel"]
    assert narratives.stories("001") == ["pieman", "tunnel"]
    assert narratives.stories("209") == ["friends"]
    assert narratives.runs("001", "pieman") == ["sub-001_task-pieman_run-1", "sub-001_task-pieman_run-2"]


def test_words_are_on_the_clock_of_the_audio(narratives):
    story = narratives.transcript("pieman")
    assert (story.words, story.name, story.left_out) == (("I", "my"), "pieman", {"untimed": 1})
    assert story.onsets[0] == 15.09


@pytest.mark.parametrize(
    ("subject", "story", "run", "first_row"),
    [
        ("001", "pieman", "sub-001_task-pieman_run-2", 0.0),  # music from scan time 0, the story at 15 s of both clocks
        ("001", "tunnel", None, -3.0),  # the audio starts 3 s into the scan
        ("038", "milkywayvodka", None, 6.0),  # the audio started 6 s before the scan
        ("209", "friends", None, -199.93),  # the second event of a run
    ],
)
def test_rows_are_on_the_clock_of_the_audio(narratives, subject, story, run, first_row):
    bold = narratives.bold(subject, story, run)
    np.testing.assert_allclose(bold.tr_times, first_row + 1.5 * np.arange(N_TRS))
    assert (bold.n_voxels, bold.space.mesh, bold.subject, bold.story) == (5, "fsaverage6", subject, story)


def test_values_are_those_of_both_hemispheres(narratives):
    expected = np.random.default_rng(1).standard_normal((N_TRS, 5)).astype(np.float32)
    np.testing.assert_array_equal(narratives.bold("001", "pieman", "sub-001_task-pieman_run-2").data, expected)


def test_volumes_are_read_inside_a_mask(tree):
    affine = np.diag([3.0, 3, 3, 1])
    mask = np.zeros((2, 3, 4), dtype=np.uint8)
    mask[0, 1:, 2] = 1
    nibabel.save(nibabel.Nifti1Image(mask, affine), tree / "mask.nii.gz")
    data = np.random.default_rng(9).standard_normal((2, 3, 4, N_TRS)).astype(np.float32)
    name = "sub-001_task-tunnel_space-MNI152NLin2009cAsym_res-native_desc-preproc_bold.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, affine), tree / "derivatives/fmriprep/sub-001/func" / name)
    run = load_dataset("narratives", folder=tree, mask=tree / "mask.nii.gz").bold("001", "tunnel")
    np.testing.assert_array_equal(run.data, data[0, 1:, 2].T)
    assert run.tr_times[0] == -3.0


def test_check_names_what_is_wrong(narratives, tree):
    (tree / "stimuli/gentle_checked/tunnel/align.csv").write_text("a,a,1,2\nb,b,0,1\n")
    (tree / "sub-209/func/sub-209_task-schema_run-1_events.tsv").write_text(SCHEMA.replace("199.93", "soon"))
    problems = [str(f) for f in narratives.check() if f.level == "problem"]
    assert any("tunnel" in p and "align.csv:2: 'b' begins" in p for p in problems)
    assert any("events.tsv:3: 'soon' is not a time" in p for p in problems)


def test_impossible_requests_are_refused(narratives, tree, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"run must be named, because sub-001 heard pieman more than once; got None. Choose one of sub-001"
    ):
        narratives.bold("001", "pieman")
    with pytest.raises(InputError, match="run must be one of"):
        narratives.bold("001", "pieman", "sub-001_task-pieman_run-3")
    with pytest.raises(InputError, match="story of sub-038 must be one of 'milkywayvodka'; got pieman"):
        narratives.bold("038", "pieman")
    with pytest.raises(InputError, match="subject must be one of '001', '038', '209'; got 1"):
        narratives.bold("1", "pieman")
    with pytest.raises(InputError, match="story must be one of"):
        narratives.transcript("lucy")
    with pytest.raises(FileError, match=r"holds no sub-\*/func/\*_events.tsv"):
        load_dataset("narratives", folder=tmp_path / "ds002345" / "stimuli")
    with pytest.raises(FileError, match="no such folder"):
        load_dataset("narratives", folder=tree, words=tmp_path / "none")
    monkeypatch.setenv("NEUROLM_DATA", str(tmp_path / "a"))
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "b"))
    with pytest.raises(DatasetNotFound, match="datalad install ///labs/hasson/narratives"):
        load_dataset("narratives")


def test_fetching_takes_words_and_events(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "neurolm.datasets.narratives.fetch_files", lambda registry, url, *_: asked.append((len(registry), url[:30]))
    )
    fetch_dataset("narratives")
    assert asked == [(26, "https://raw.githubusercontent."), (874, "https://s3.amazonaws.com/openn")]


@pytest.mark.skipif(
    not (Path(os.environ.get("NEUROLM_DATA", "/nowhere")) / "narratives_align").is_dir(),
    reason="NEUROLM_DATA names no folder with narratives_align",
)
def test_real_stories_lie_inside_their_events(tree, monkeypatch):
    """First words come within a second of the story's onset: the lead-ins are right for the stories that have one."""
    from neurolm.datasets.narratives import LEAD_IN_S

    shutil.rmtree(tree / "stimuli")
    narratives = load_dataset("narratives", folder=tree)
    assert len(narratives.stories()) == 26
    firsts = {story: narratives.transcript(story).onsets[0] for story in narratives.stories()}
    late = {story: firsts[story] - LEAD_IN_S[story] for story in firsts if story in LEAD_IN_S}
    assert late.pop("milkywaysynonyms") == pytest.approx(5.56 - 21)  # its first word is placed in the music
    assert all(-0.5 < value < 1 for value in late.values()), late
