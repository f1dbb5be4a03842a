"""Which events.tsv and sidecars count for a run, in which form it is read, and what its TR can be."""

import json
import os

import nibabel
import numpy as np
import pytest

from neurolm.brain import VolumeMask
from neurolm.checks import FileError, InputError
from neurolm.datasets import load_dataset

AFFINE = np.diag([3.0, 3, 3, 1])
SPACE = "space-MNI152NLin2009cAsym_res-2"
EVENTS = "onset\tduration\tstim_file\n{}\t70\tstory_audio.wav\n"
WORDS = "onset\tduration\tword\n" + "".join(f"{i}\t0.3\tw{i}\n" for i in range(30))
FUNC = "derivatives/fmriprep/sub-01/ses-1/func"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def volume(path, n_trs=20, tr=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.random.default_rng(0).standard_normal((2, 2, 2, n_trs)).astype(np.float32), AFFINE)
    image.header.set_zooms((3, 3, 3, tr))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    mask = nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), AFFINE)
    nibabel.save(mask, path.with_name(path.name.split("_desc-")[0] + "_desc-brain_mask.nii.gz"))


def surface(path, n_trs=20, n_vertices=5):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [nibabel.gifti.GiftiDataArray(np.ones(n_vertices, np.float32) * i) for i in range(n_trs)]
    for side in "LR":
        name = path.name.replace("hemi-X", f"hemi-{side}")
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path.with_name(name))


def cifti(path, n_trs=20):
    axis = nibabel.cifti2.BrainModelAxis.from_surface(np.arange(3), 5, name="CORTEX_LEFT")
    series = nibabel.cifti2.SeriesAxis(0, 2, n_trs)
    nibabel.save(nibabel.Cifti2Image(np.ones((n_trs, 3), np.float32), (series, axis)), path)


@pytest.fixture
def tree(tmp_path):
    """One subject, one session, one run in a volume; words, no events, no sidecar."""
    write(tmp_path / "stimuli" / "story.tsv", WORDS)
    volume(tmp_path / FUNC / f"sub-01_ses-1_task-story_run-1_{SPACE}_desc-preproc_bold.nii.gz")
    return tmp_path


def first_row(tree, **options):
    dataset = load_dataset("bids", folder=tree, **options)
    (story,) = dataset.stories()
    return dataset.bold("01", story).tr_times[0]


PLACES = [
    f"{FUNC}/sub-01_ses-1_task-story_run-1",
    "sub-01/ses-1/func/sub-01_ses-1_task-story_run-1",
    "sub-01/ses-1/func/sub-01_ses-1_task-story_run-001",
    "sub-01/ses-1/func/sub-01_ses-1_task-story",
    "sub-01/ses-1/sub-01_ses-1_task-story",
    "sub-01/sub-01_task-story_run-01",
    "sub-01/sub-01_task-story",
    "task-story_run-1",
    "task-story",
]


@pytest.mark.parametrize("place", PLACES)
def test_events_hold_for_every_run_below_their_folder(place, tree):
    write(tree / f"{place}_events.tsv", EVENTS.format(6))
    assert first_row(tree) == -6.0


@pytest.mark.parametrize("nearer", range(len(PLACES) - 1))
def test_the_nearer_events_win(nearer, tree):
    write(tree / f"{PLACES[nearer]}_events.tsv", EVENTS.format(6))
    for place in PLACES[max(nearer + 1, 3) :]:  # the spellings of one run in one folder contradict each other
        write(tree / f"{place}_events.tsv", EVENTS.format(50))
    assert first_row(tree) == -6.0


@pytest.mark.parametrize("name", ["sub-01/sub-01_task-story_run-2", "task-other", "sub-02/sub-02_task-story", "task-story_acq-x"])
def test_events_of_another_run_do_not_count(name, tree):
    write(tree / f"{name}_events.tsv", EVENTS.format(6))
    with pytest.raises(FileError, match=r"has no events.tsv that says when the story began"):
        first_row(tree)


def test_two_events_that_hold_equally_are_refused(tree):
    for run in ("run-1", "run-01"):
        write(tree / f"sub-01/ses-1/func/sub-01_ses-1_task-story_{run}_events.tsv", EVENTS.format(6))
    with pytest.raises(FileError, match=r"run-01_events.tsv: and .*run-1_events.tsv both hold for .* Keep one"):
        first_row(tree)


SIDECARS = [
    f"{FUNC}/sub-01_ses-1_task-story_run-1_{SPACE}_desc-preproc_bold.json",
    f"{FUNC}/sub-01_ses-1_task-story_desc-preproc_bold.json",
    "derivatives/fmriprep/sub-01/ses-1/sub-01_ses-1_bold.json",
    "derivatives/fmriprep/sub-01/sub-01_task-story_bold.json",
    "derivatives/fmriprep/task-story_space-MNI152NLin2009cAsym_bold.json",
    "derivatives/fmriprep/bold.json",
]


@pytest.mark.parametrize("n", range(len(SIDECARS)))
def test_the_nearest_sidecar_with_a_start_time_counts(n, tree):
    write(tree / SIDECARS[n], {"RepetitionTime": 2.0, "StartTime": 0.25})
    for place in SIDECARS[n + 1 :]:
        write(tree / place, {"RepetitionTime": 1.5, "StartTime": 0.75})
    assert first_row(tree, onset_s=0) == pytest.approx(0.25 - 1)
    if n:
        write(tree / SIDECARS[0], {"SkullStripped": True})  # says neither
        assert first_row(tree, onset_s=0) == pytest.approx(0.25 - 1)


@pytest.mark.parametrize("space", ["fsaverage5", "fsLR"])
def test_surfaces_take_their_start_time_from_the_volume_of_their_run(space, tree):
    stem = tree / FUNC / "sub-01_ses-1_task-story_run-1"
    if space == "fsLR":
        cifti(stem.with_name(f"{stem.name}_space-fsLR_den-91k_bold.dtseries.nii"))
    else:
        surface(stem.with_name(f"{stem.name}_hemi-X_space-fsaverage5_bold.func.gii"))
    write(tree / SIDECARS[0], {"RepetitionTime": 2.0, "StartTime": 0.25})
    assert first_row(tree, space=space, onset_s=0) == pytest.approx(0.25 - 1)
    write(tree / SIDECARS[0].replace(SPACE, "space-T1w"), {"RepetitionTime": 2.0, "StartTime": 0.5})
    with pytest.raises(FileError, match=r"says StartTime 0.5 s, .*says 0.25 s"):
        first_row(tree, space=space, onset_s=0)


@pytest.mark.parametrize("tr", [2000, 2e6, 0, -2, float("nan"), float("inf"), "2", "2 s", True, [2], 0.002, 10**400])
@pytest.mark.parametrize("place", [SIDECARS[0], "task-story_bold.json"])
def test_a_tr_that_cannot_be_is_refused_with_its_sidecar(tr, place, tree):
    write(tree / place, {"RepetitionTime": tr})
    with pytest.raises(FileError, match=r"bold.json: RepetitionTime is"):
        first_row(tree, onset_s=0)
    assert first_row(tree, onset_s=0, tr=2.0) == 0


@pytest.mark.parametrize("start", [250, -0.5, float("nan"), "0", True])
def test_a_start_time_that_cannot_be_is_refused(start, tree):
    write(tree / SIDECARS[0], {"StartTime": start})
    with pytest.raises(FileError, match=r"bold.json: StartTime is"):
        first_row(tree, onset_s=0)


LINKS = {
    "sidecar": (SIDECARS[0], {"onset_s": 0}),
    "sidecar at the top": ("task-story_bold.json", {"onset_s": 0}),
    "events": ("sub-01/ses-1/func/sub-01_ses-1_task-story_run-1_events.tsv", {}),
    "events at the top": ("task-story_events.tsv", {}),
    "words": ("stimuli/story.tsv", {"onset_s": 0}),
    "words of the run": ("stimuli/story_ses-1_run-1.TextGrid", {"onset_s": 0}),
    "text of the words": ("stimuli/story.txt", {"onset_s": 0}),
    "BOLD": (f"{FUNC}/sub-01_ses-1_task-story_run-1_{SPACE}_desc-preproc_bold.nii.gz", {"onset_s": 0}),
    "mask": (f"{FUNC}/sub-01_ses-1_task-story_run-1_{SPACE}_desc-brain_mask.nii.gz", {"onset_s": 0}),
    "confounds": (f"{FUNC}/sub-01_ses-1_task-story_run-1_desc-confounds_timeseries.tsv", {"onset_s": 0}),
    "confounds by name": (
        f"{FUNC}/sub-01_ses-1_task-story_run-1_desc-confounds_timeseries.tsv",
        {"onset_s": 0, "confounds": ["motion"]},
    ),
    "description": ("dataset_description.json", {"onset_s": 0}),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_file_that_was_not_fetched_is_never_skipped(kind, tree):
    place, options = LINKS[kind]
    path = tree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.symlink("../.git/annex/objects/xx/MD5E-s99", path)
    with pytest.raises(InputError, match=rf"{path.name}: stands for a file whose content is not here. .*datalad get"):
        dataset = load_dataset("bids", folder=tree, **options)
        (story,) = dataset.stories()
        dataset.transcript(story)
        dataset.bold("01", story)
        assert dataset.info


def test_a_subject_that_is_a_link_to_nowhere_is_named(tree):
    os.symlink("elsewhere/sub-02", tree / "derivatives/fmriprep/sub-02")
    with pytest.raises(FileError, match="sub-02: is a link to a folder that is not here"):
        load_dataset("bids", folder=tree)


def test_subjects_may_write_a_run_with_or_without_zeros(tree):
    volume(tree / f"derivatives/fmriprep/sub-02/ses-1/func/sub-02_ses-1_task-story_run-001_{SPACE}_desc-preproc_bold.nii.gz")
    dataset = load_dataset("bids", folder=tree, onset_s=0)
    assert dataset.stories() == dataset.stories("02") == ["story_ses-1_run-1"]
    assert dataset.bold("02", "story_ses-1_run-1").n_trs == 20


def chosen(tree, hint, **options):
    """The run that an option chooses, which the hint of the refusal named."""
    with pytest.raises(FileError, match=hint):
        load_dataset("bids", folder=tree, onset_s=0, **{k: v for k, v in options.items() if k == "space"})
    dataset = load_dataset("bids", folder=tree, onset_s=0, **options)
    return dataset.bold("01", dataset.stories()[0])


@pytest.mark.parametrize(("name", "hint", "options"), [
    ("space-MNI152NLin2009cAsym_res-02", "Keep one", {}),
    ("space-MNI152NLin2009cAsym_res-3", "option res: 2 or 3", {"res": 3}),
    ("space-MNI152NLin2009cAsym_res-03", "option res: 03 or 2", {"res": 3}),
    ("space-MNI152NLin2009cAsym", "option res: 2", {"res": "02"}),
    ("space-MNI152NLin2009cAsym_cohort-4_res-2", "option space: MNI152NLin2009cAsym:cohort-4", {"space": "MNI152NLin2009cAsym:cohort-4"}),
])  # fmt: skip
def test_a_hint_on_forms_of_a_volume_works_when_it_is_followed(name, hint, options, tree):
    volume(tree / FUNC / f"sub-01_ses-1_task-story_run-1_{name}_desc-preproc_bold.nii.gz", n_trs=30)
    with pytest.raises(FileError, match=hint):
        load_dataset("bids", folder=tree, onset_s=0)
    if options:
        run = load_dataset("bids", folder=tree, onset_s=0, **options).bold("01", "story_ses-1_run-1")
        assert run.n_trs == (20 if options == {"res": "02"} else 30)
        assert isinstance(run.space, VolumeMask)
        assert run.space.template == "MNI152NLin2009cAsym"


def test_densities_formats_and_descriptions_are_chosen_as_the_hint_says(tree):
    stem = tree / FUNC / "sub-01_ses-1_task-story_run-1"
    cifti(stem.with_name(f"{stem.name}_space-fsLR_den-91k_bold.dtseries.nii"))
    cifti(stem.with_name(f"{stem.name}_space-fsLR_den-170k_bold.dtseries.nii"), n_trs=25)
    assert chosen(tree, "option den: 170k or 91k", space="fsLR", den="170k").n_trs == 25
    with pytest.raises(FileError, match=r"there are res 2: choose one with the option res"):
        load_dataset("bids", folder=tree, res="4")
    with pytest.raises(FileError, match=r"there are den 170k, 91k: choose one with the option den"):
        load_dataset("bids", folder=tree, space="fsLR", den="32k")
    write(tree / "task-story_bold.json", {"RepetitionTime": 2.0})
    surface(stem.with_name(f"{stem.name}_hemi-X_space-other_bold.func.gii"))
    cifti(stem.with_name(f"{stem.name}_space-other_bold.dtseries.nii"), n_trs=25)
    assert chosen(tree, "option format: cifti or gifti", space="other", format="gifti").n_trs == 20
    volume(stem.with_name(f"{stem.name}_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz"))
    options = {"space": "MNI152NLin6Asym", "desc": "smoothAROMAnonaggr"}
    assert chosen(tree, r"there are desc smoothAROMAnonaggr: choose one with the option desc", **options).n_trs == 20


GRID = '"ooTextFile"\n"TextGrid"\n0 2 <exists> 2\n'
TIERS = "".join(f'"IntervalTier" "{name}" 0 2 1\n0 2 "{word}"\n' for name, word in (("left", "down"), ("right", "hole")))


def test_the_tier_of_the_words_is_an_option(tree):
    (tree / "stimuli" / "story.tsv").unlink()
    write(tree / "stimuli" / "story.TextGrid", GRID + TIERS)
    with pytest.raises(FileError, match="more than one tier"):
        load_dataset("bids", folder=tree, onset_s=0).transcript("story_ses-1_run-1")
    assert load_dataset("bids", folder=tree, onset_s=0, tier="right").transcript("story_ses-1_run-1").words == ("hole",)
    with pytest.raises(InputError, match=r"tier of .* must be one of its tiers"):
        load_dataset("bids", folder=tree, onset_s=0, tier="middle").transcript("story_ses-1_run-1")


FLAGGED = 4


def flag(tree, rows, n_trs=20):
    rng = np.random.default_rng(1)
    names = ["csf", "white_matter", *(f"non_steady_state_outlier{i:02d}" for i in range(len(rows)))]
    table = np.column_stack([rng.standard_normal((n_trs, 2)), np.eye(n_trs)[:, rows]])
    table[rows, :2] += 50
    text = "\n".join("\t".join(f"{v:.6f}" for v in row) for row in table)
    write(tree / FUNC / "sub-01_ses-1_task-story_run-1_desc-confounds_timeseries.tsv", "\t".join(names) + "\n" + text + "\n")
    write(tree / FUNC / "sub-01_ses-1_task-story_run-1_desc-confounds_timeseries.json", {})
    return table[:, :2]


def test_flagged_volumes_are_named_with_the_key_and_dropped_where_it_says_so(tree):
    flag(tree, range(FLAGGED))
    kept, dropped = (load_dataset("bids", folder=tree, onset_s=0, **o) for o in ({}, {"non_steady": "drop"}))
    (said,) = [f for f in kept.check() if f.level == "problem"]
    assert "4 volumes are flagged as non-steady state" in said.what
    assert "Set the option non_steady: drop" in said.what
    assert not [f for f in dropped.check() if f.level == "problem"]
    whole, rest = (d.bold("01", "story_ses-1_run-1") for d in (kept, dropped))
    np.testing.assert_array_equal(rest.data, whole.data[FLAGGED:])
    np.testing.assert_array_equal(rest.tr_times, whole.tr_times[FLAGGED:])


@pytest.mark.parametrize("rows", [range(FLAGGED), [0, 7], []])
def test_confounds_are_fitted_without_flagged_volumes(rows, tree):
    confounds = flag(tree, list(rows))
    options = {"folder": tree, "onset_s": 0, "confounds": ["wm_csf"]}
    plain = load_dataset("bids", folder=tree, onset_s=0).bold("01", "story_ses-1_run-1").data
    clean = load_dataset("bids", **options).bold("01", "story_ses-1_run-1").data
    steady = np.setdiff1d(np.arange(20), rows)
    X = np.column_stack([np.ones(len(steady)), confounds[steady]])
    beta = np.linalg.lstsq(X, plain[steady], rcond=None)[0]
    centred = confounds - confounds[steady].mean(0)
    np.testing.assert_allclose(clean, plain - centred @ beta[1:], atol=1e-4)
    n = FLAGGED if len(rows) == FLAGGED else min(1, len(rows))
    drop = load_dataset("bids", **options, non_steady="drop").bold("01", "story_ses-1_run-1")
    np.testing.assert_allclose(drop.data, clean[n:], atol=1e-5)


def test_a_mesh_with_another_number_of_vertices_is_a_problem(tree):
    surface(tree / FUNC / "sub-01_ses-1_task-story_run-1_hemi-X_space-fsaverage5_bold.func.gii")
    write(tree / "task-story_bold.json", {"RepetitionTime": 2.0})
    problems = [f.what for f in load_dataset("bids", folder=tree, space="fsaverage5", onset_s=0).check() if f.level == "problem"]
    assert ["5 and 5 vertices, fsaverage5 10,242 in each hemisphere" in what for what in problems] == [True]
