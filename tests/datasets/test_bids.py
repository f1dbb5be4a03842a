import contextlib
import gzip
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurolm.brain import Grayordinates, Surface, VolumeMask, VoxelMap, read_confounds
from neurolm.checks import FileError, InputError
from neurolm.datasets import load_dataset
from neurolm.datasets.bids_files import find_files, parse_name
from neurolm.datasets.dataset import DatasetNotFound

from .miniature_fmriprep import AFFINE, SHAPE, START, TR, VOLUME, build, write_json

N_TRS = 40
FUNC = "derivatives/fmriprep/sub-01/func"
RUN = f"{FUNC}/sub-01_task-clock_run-1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return build(tmp_path_factory.mktemp("bids") / "ds", n_trs=N_TRS)


@pytest.fixture
def tree(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "ds")


def test_runs_are_named_after_their_task_and_facts_come_from_the_description(whole):
    dataset = load_dataset("bids", folder=whole)
    assert dataset.subjects() == ["01", "02"]
    assert dataset.stories("01") == ["clock_run-1", "clock_run-2"]
    assert (dataset.info.name, dataset.info.licence) == ("Clockmaker", "CC0")
    assert dataset.transcript("clock_run-2").name == "clock_run-2"


def test_volumes_are_read_in_the_mask_on_the_clock_of_the_words(whole):
    run = load_dataset("bids", folder=whole).bold("01", "clock_run-1")
    data = nibabel.load(whole / f"{RUN}_{VOLUME}_desc-preproc_bold.nii.gz").get_fdata()
    np.testing.assert_allclose(run.data, data[1:-1, 1:-1, 1:-1].reshape(-1, N_TRS).T, rtol=1e-6)
    np.testing.assert_allclose(run.tr_times, TR * np.arange(N_TRS) - START)
    np.testing.assert_allclose(run.space.coordinates()[0], AFFINE[:3, :3] @ [1, 1, 1] + AFFINE[:3, 3])


def test_surfaces_are_read_left_first(whole):
    run = load_dataset("bids", folder=whole, space="fsaverage5").bold("02", "clock_run-2")
    name = whole / "derivatives/fmriprep/sub-02/func/sub-02_task-clock_run-2_hemi-R_space-fsaverage5_bold.func.gii"
    right = nibabel.load(name).darrays[5].data
    assert (run.space.mesh, run.n_voxels, run.tr_times[0]) == ("fsaverage5", 20484, -START)
    np.testing.assert_array_equal(run.data[5, 10242:], right)


def test_grayordinates_keep_their_places_from_the_file_to_the_map(whole, tmp_path):
    run = load_dataset("bids", folder=whole, space="fsLR").bold("01", "clock_run-1")
    image = nibabel.load(whole / f"{RUN}_space-fsLR_den-91k_bold.dtseries.nii")
    np.testing.assert_array_equal(run.data, image.get_fdata(dtype=np.float32))
    assert isinstance(run.space, Grayordinates)
    table = run.space.table()
    assert list(table["structure"]) == ["CORTEX_LEFT"] * 3 + ["CORTEX_RIGHT"] * 2 + ["THALAMUS_LEFT"] * 2
    np.testing.assert_array_equal(table["vertex"], [0, 2, 3, 1, 4, -1, -1])
    np.testing.assert_array_equal(table["z_mm"][-2:], [6, 2])
    values = VoxelMap(np.arange(7.0), run.space, "r")
    np.testing.assert_array_equal(VoxelMap.from_csv(values.to_csv(tmp_path / "r.csv"), run.space).values, values.values)
    left, right = values.to_gifti(tmp_path / "r")
    np.testing.assert_array_equal(nibabel.load(left).darrays[0].data, [0, np.nan, 1, 2, np.nan, np.nan])
    np.testing.assert_array_equal(nibabel.load(right).darrays[0].data, [np.nan, 3, np.nan, np.nan, 4, np.nan])


def test_grayordinates_survive_the_way_through_a_file(whole, tmp_path):
    from neurolm.brain.space import space_arrays, space_from_arrays, space_hash
    from neurolm.storage import read_h5, write_h5

    space = load_dataset("bids", folder=whole, space="fsLR").bold("01", "clock_run-1").space
    arrays, attributes = space_arrays(space)
    write_h5(tmp_path / "space.h5", arrays, attributes)
    assert space_hash(space_from_arrays(*read_h5(tmp_path / "space.h5"))) == space_hash(space)


@pytest.mark.parametrize("space", ["MNI152NLin2009cAsym", "fsaverage5", "fsLR"])
def test_confounds_are_regressed_out_where_asked_for(whole, space):
    plain = load_dataset("bids", folder=whole, space=space).bold("01", "clock_run-1")
    clean = load_dataset("bids", folder=whole, space=space, confounds=["motion", "high_pass"]).bold("01", "clock_run-1")
    values, names = read_confounds(whole / f"{RUN}_{VOLUME}_desc-preproc_bold.nii.gz", ["motion", "high_pass"])
    assert values.shape == (N_TRS, 27)
    assert {"trans_x", "rot_z_derivative1_power2", "cosine02"} <= set(names)
    left_over = np.abs(values.T @ (clean.data - clean.data.mean(0))).max()
    assert left_over < 1e-2 * np.abs(values.T @ (plain.data - plain.data.mean(0))).max()
    np.testing.assert_allclose(clean.data.mean(0), plain.data.mean(0), rtol=1e-3, atol=1e-3)


def test_words_may_stand_in_events_of_every_subject(tree):
    shutil.rmtree(tree / "stimuli")
    for subject, first in (("01", 5.0), ("02", 8.0)):
        for run in (1, 2):
            rows = "".join(f"{first + i}\t0.4\tw{i}\n" for i in range(30))
            (tree / f"sub-{subject}/func/sub-{subject}_task-clock_run-{run}_events.tsv").write_text(
                "onset\tduration\tword\n" + rows
            )
    dataset = load_dataset("bids", folder=tree)
    assert dataset.transcript("clock_run-1").onsets[0] == 5.0
    assert dataset.bold("01", "clock_run-1").tr_times[0] == 0.0
    assert dataset.bold("02", "clock_run-1").tr_times[0] == -3.0
    other = tree / "sub-02/func/sub-02_task-clock_run-1_events.tsv"
    other.write_text(other.read_text().replace("w7", "other"))
    with pytest.raises(FileError, match="has other words, or other times"):
        dataset.bold("02", "clock_run-1")


def test_a_plain_text_beside_the_words_gives_sentences_and_shows_where_it_differs(tree):
    words = load_dataset("bids", folder=tree).transcript("clock_run-1").words
    assert load_dataset("bids", folder=tree).transcript("clock_run-1").sentences is None
    text = (
        " ".join([*words[:9], words[9] + ".", words[10].capitalize(), *words[11:20]]) + "\n\n" + " ".join(words[20:-1]) + " Zebra"
    )
    (tree / "stimuli" / "clock.txt").write_text(text)
    dataset = load_dataset("bids", folder=tree)
    story = dataset.transcript("clock_run-1")
    assert (story.sentences[9], story.sentences[10], story.paragraphs[19], story.paragraphs[20]) == (0, 1, 0, 1)
    notes = [str(f) for f in dataset.check() if f.where == "clock_run-1" and f.level == "note"]
    assert len(notes) == 1
    assert "the text has 'Zebra'" in notes[0]
    (tree / "stimuli" / "clock.txt").write_text("Another story altogether. " * 20)
    with pytest.raises(FileError, match=r"clock.txt: is not the text of clock.tsv"):
        dataset.transcript("clock_run-2")


def test_the_start_time_of_slice_correction_moves_the_rows(tree):
    write_json(tree / f"{RUN}_{VOLUME}_desc-preproc_bold.json", {"RepetitionTime": TR, "StartTime": 0.25})
    assert load_dataset("bids", folder=tree).bold("01", "clock_run-1").tr_times[0] == pytest.approx(0.25 - TR / 2 - START)
    assert load_dataset("bids", folder=tree, onset_s=3).bold("01", "clock_run-2").tr_times[0] == -3.0


def test_the_common_mask_is_what_all_brains_have_and_a_mask_may_be_named(tree):
    path = tree / f"derivatives/fmriprep/sub-02/func/sub-02_task-clock_run-1_{VOLUME}_desc-brain_mask.nii.gz"
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5, 3:5, 3:5] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), path)
    assert load_dataset("bids", folder=tree).bold("01", "clock_run-1").n_voxels == 8
    assert load_dataset("bids", folder=tree, mask="subject").bold("01", "clock_run-1").n_voxels == 6 * 8 * 6
    assert load_dataset("bids", folder=tree, mask=path).bold("01", "clock_run-1").n_voxels == 8
    problems = [str(f) for f in load_dataset("bids", folder=tree).check() if f.level == "problem"]
    assert problems == ["problem: mask: 8 voxels are in every brain mask, 5% of the median subject's"]


def test_a_whole_tree_passes_its_check(whole):
    for space in ("MNI152NLin2009cAsym", "fsaverage5", "fsLR"):
        findings = load_dataset("bids", folder=whole, space=space).check()
        assert [f for f in findings if f.level == "problem"] == []
        assert "40 volumes, TR 2 s, from -12 s" in str([f for f in findings if f.where == "sub-02 clock_run-1"])


def rewrite(path, change):
    image = nibabel.load(path)
    data, affine, tr = change(image.get_fdata(), image.affine.copy(), TR)
    fresh = nibabel.Nifti1Image(data, affine)
    if data.ndim == 4:
        fresh.header.set_zooms((20, 20, 20, tr))
        fresh.header.set_xyzt_units("mm", "sec")
    nibabel.save(fresh, path)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overflow(data, affine, tr):
    whole = (data.astype(np.int64) - 500) * 3000  # int16 keeps 16 bits of it
    return ((whole + 2**15) % 2**16 - 2**15).astype(np.int16), affine, tr


BOLD, MASK = f"{RUN}_{VOLUME}_desc-preproc_bold.nii.gz", f"{RUN}_{VOLUME}_desc-brain_mask.nii.gz"
DAMAGES = {
    "TR of the header": (
        BOLD,
        lambda p: rewrite(p, lambda d, a, t: (d, a, 1.5)),
        {},
        "says TR 1.5 s, .*json says 2 s. Mend the wrong one, or set the option tr",
    ),
    "affine": (BOLD, lambda p: rewrite(p, lambda d, a, t: (d, a + np.eye(4, k=3) * 9, t)), {}, "lies elsewhere"),
    "shape of the mask": (MASK, lambda p: rewrite(p, lambda d, a, t: (d[:-1], a, t)), {}, "has shape"),
    "overflow": (BOLD, lambda p: rewrite(p, overflow), {}, "was saved as int16 and overflowed"),
    "3-D": (BOLD, lambda p: rewrite(p, lambda d, a, t: (d[..., 0], a, t)), {}, "has 3 dimensions"),
    "4-D mask": (MASK, lambda p: rewrite(p, lambda d, a, t: (np.stack([d, d], -1), a, t)), {}, "has 4 dimensions"),
    "truncated": (BOLD, cut, {}, "is damaged or cut short"),
    "no NIfTI": (BOLD, lambda p: p.write_bytes(gzip.compress(b"not an image" * 50)), {}, "is damaged or cut short"),
    "no mask": (MASK, lambda p: p.unlink(), {}, "no such file. Copy the mask"),
    "empty mask": (MASK, lambda p: rewrite(p, lambda d, a, t: (0 * d, a, t)), {}, "is a mask without a voxel"),
    "sidecar": (BOLD.replace(".nii.gz", ".json"), lambda p: p.write_text("{"), {}, "is not valid JSON"),
    "sidecar's TR": (
        BOLD.replace(".nii.gz", ".json"),
        lambda p: p.write_text('{"RepetitionTime": "two"}'),
        {},
        "not a number of sec",
    ),
    "events": (
        "sub-01/func/sub-01_task-clock_run-1_events.tsv",
        lambda p: p.write_text(p.read_text().replace("12.0", "soon")),
        {},
        "events.tsv:2: 'soon' is not a time",
    ),
    "no events": ("sub-01/func/sub-01_task-clock_run-1_events.tsv", lambda p: p.unlink(), {}, "set the option onset_s"),
    "no confounds": (
        f"{RUN}_desc-confounds_timeseries.tsv",
        lambda p: p.unlink(),
        {"confounds": ["motion"]},
        "has no usable confounds beside it",
    ),
    "short confounds": (
        f"{RUN}_desc-confounds_timeseries.tsv",
        lambda p: p.write_text("\n".join(p.read_text().split("\n")[:-6]) + "\n"),
        {"confounds": ["motion"]},
        "has 40 volumes, its confounds 35 rows",
    ),
    "no words": ("stimuli/clock.tsv", lambda p: p.unlink(), {}, "names no stim_file|word"),
    "one hemisphere": (
        f"{RUN}_hemi-R_space-fsaverage5_bold.func.gii",
        lambda p: p.unlink(),
        {"space": "fsaverage5"},
        "has no other hemisphere beside it",
    ),
    "GIFTI": (f"{RUN}_hemi-L_space-fsaverage5_bold.func.gii", cut, {"space": "fsaverage5"}, "is damaged or cut short"),
    "CIFTI": (f"{RUN}_space-fsLR_den-91k_bold.dtseries.nii", cut, {"space": "fsLR"}, "is damaged or cut short"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_is_named_with_its_file(tree, damage):
    name, spoil, options, message = DAMAGES[damage]
    spoil(tree / name)
    with pytest.raises(InputError, match=message) as error:
        dataset = load_dataset("bids", folder=tree, mask="subject", **options)
        dataset.transcript("clock_run-1")
        dataset.bold("01", "clock_run-1")
    assert "sub-01" in str(error.value) or "clock" in str(error.value)


def test_impossible_requests_are_refused(whole, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"holds no preprocessed run in space .* It needs fMRIPrep's output"):
        load_dataset("bids", folder=tmp_path / "empty")
    with pytest.raises(FileError, match="There are MNI152NLin2009cAsym, fsLR, fsaverage5: choose one"):
        load_dataset("bids", folder=whole, space="fsaverage6")
    with pytest.raises(FileError, match="res 3"):
        load_dataset("bids", folder=whole, res=3)
    with pytest.raises(FileError, match="say den, not res: choose 91k with the option den"):
        load_dataset("bids", folder=whole, space="fsLR", res="91k")
    assert load_dataset("bids", folder=whole, space="fsLR", den="91k").stories()
    with pytest.raises(DatasetNotFound, match="no folder is named"):
        load_dataset("bids")
    with pytest.raises(FileError, match="no such folder"):
        load_dataset("bids", folder=whole, derivatives="nothing")
    with pytest.raises(FileError, match="no such folder"):
        load_dataset("bids", folder=whole, words=tmp_path / "nothing")
    with pytest.raises(InputError, match="strategy must hold only"):
        load_dataset("bids", folder=whole, confounds="scrub").bold("01", "clock_run-1")
    with pytest.raises(InputError, match="tr must be seconds"):
        load_dataset("bids", folder=whole, tr=2000)


def test_subjects_in_native_spaces_are_read_each_in_its_own_mask(tree):
    for path in (tree / "derivatives/fmriprep/sub-02/func").glob("*MNI152NLin2009cAsym*.nii.gz"):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine + np.diag([0.5, 0, 0, 0]), image.header), path)
    with pytest.raises(FileError, match=r"lies elsewhere .* analyse each subject .* `mask: subject`"):
        load_dataset("bids", folder=tree).bold("01", "clock_run-1")
    assert load_dataset("bids", folder=tree, mask="subject").bold("02", "clock_run-1").n_trs == N_TRS


def test_two_resolutions_must_be_told_apart(tree):
    path = tree / BOLD
    for source in (path, path.with_name(path.name.replace("preproc_bold", "brain_mask"))):
        shutil.copy(source, source.with_name(source.name.replace("res-2", "res-3")))
    with pytest.raises(FileError, match=r"is the same run as .* option res"):
        load_dataset("bids", folder=tree)
    assert load_dataset("bids", folder=tree, res=2).bold("01", "clock_run-1").n_trs == N_TRS


def test_names_are_taken_apart_as_nilearn_does(whole):
    from nilearn.interfaces.bids import parse_bids_filename

    files = find_files(whole / "derivatives" / "fmriprep")
    assert len(files) == 2 * 2 * 11
    for file in files:
        theirs = parse_bids_filename(str(file.path))
        assert file.entities == theirs["entities"]
        assert (file.suffix, file.extension) == (theirs["suffix"], f".{theirs['extension']}")
    assert parse_name(whole / "README") is None
    assert parse_name(whole / "sub-01_odd_name_bold.nii.gz") is None
    assert json.loads((whole / "dataset_description.json").read_text())["Name"] == "Clockmaker"


def test_spaces_are_of_their_kind(whole):
    kinds = {"MNI152NLin2009cAsym": VolumeMask, "fsaverage5": Surface, "fsLR": Grayordinates}
    for space, kind in kinds.items():
        assert isinstance(load_dataset("bids", folder=whole, space=space).bold("01", "clock_run-1").space, kind)


def test_thousands_of_files_are_found_in_a_moment(tmp_path):
    import time

    from neurolm.datasets.bids_files import Form, preprocessed_runs

    for subject in range(80):
        func = tmp_path / f"sub-{subject:03d}" / "func"
        func.mkdir(parents=True)
        for run in range(50):
            (func / f"sub-{subject:03d}_task-a_run-{run}_space-fsLR_den-91k_bold.dtseries.nii").touch()
    began = time.perf_counter()
    runs = preprocessed_runs(find_files(tmp_path), tmp_path, Form(space="fsLR"))
    assert len(runs.images) == 4000
    assert time.perf_counter() - began < 5


ANY_NAME = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(name=ANY_NAME | st.from_regex(r"sub-[\w.-]*_[\w.-]*\.nii\.gz"))
def test_any_file_name_is_taken_apart_or_left_alone(name):
    file = parse_name(Path("/data") / name)
    assert file is None or (file.subject == file.entities["sub"] and file.run is not None)


OPTIONS = (
    "folder",
    "derivatives",
    "space",
    "res",
    "den",
    "desc",
    "format",
    "words",
    "tier",
    "onset_s",
    "confounds",
    "mask",
    "tr",
    "non_steady",
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | ANY_NAME | st.lists(ANY_NAME | st.integers(), max_size=2)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(options=st.dictionaries(st.sampled_from(OPTIONS), VALUES | st.dictionaries(ANY_NAME, ANY_NAME, max_size=1), max_size=2))
def test_whatever_a_config_says_the_answer_is_a_data_set_or_an_error_of_ours(whole, options):
    with contextlib.suppress(InputError):
        load_dataset("bids", **{"folder": whole, "space": "fsLR"} | options).bold("01", "clock_run-1")


def test_a_header_whose_tr_cannot_be_seconds_is_named_where_a_sidecar_has_to_do(tree):
    write_json(tree / f"{RUN}_{VOLUME}_desc-preproc_bold.json", {"RepetitionTime": TR})
    rewrite(tree / BOLD, lambda d, a, t: (d, a, 2000.0))
    with pytest.warns(UserWarning, match=r"does not know its TR \(its header says 2000 sec\)\. The 2 s of .*json are used\."):
        run = load_dataset("bids", folder=tree).bold("01", "clock_run-1")
    assert run.tr == pytest.approx(TR)
