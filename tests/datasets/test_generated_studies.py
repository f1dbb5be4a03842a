"""Studies as laboratories write them, generated: TRs in every type and unit, names in every order, files as links."""

import json
import math
import os
import shutil
import warnings

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolm.checks import InputError
from neurolm.datasets import load_dataset

from ..error_lines import one_line
from .miniature_fmriprep import VOLUME, build

N_TRS = 30
FUNC = "derivatives/fmriprep/sub-01/func"
STEM = "sub-01_task-clock_run-1"
QUICK = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One subject, one run."""
    place = tmp_path_factory.mktemp("bids") / "ds"
    return build(place, subjects=("01",), runs=("task-clock_run-1",), n_trs=N_TRS, forms=("volume",))


@pytest.fixture(scope="module")
def right(whole):
    return load_dataset("bids", folder=whole).bold("01", "clock_run-1")


def fresh(whole, place):
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(whole, place)


SAID = st.one_of(  # RepetitionTime of a sidecar: (what is written, the seconds that it means or None)
    st.sampled_from([(2, 2.0), (2.0, 2.0), (2.0000004, 2.0), (None, math.nan), ("absent", math.nan)]),
    st.sampled_from([("2.0", None), (True, None), ([2.0], None), ({}, None), (2000, None), (-2, None), (0, None), (1e300, None)]),
    st.sampled_from([(1.5, 1.5), (0.8, 0.8), (1.35, 1.35)]),
)
HEADER = st.tuples(st.sampled_from([2.0, 1.5, 0.8, 1.35, 0.0, -2.0, 2000.0]), st.sampled_from([*UNITS, "hz", "ppm"]))


@QUICK
@given(said=SAID, header=HEADER, scaled=st.booleans())
def test_a_tr_is_read_in_every_type_and_unit_or_refused(said, header, scaled, whole, tmp_path):
    """What sidecar and header agree on, in seconds, or an error that names the file; never another number."""
    tree = fresh(whole, tmp_path / "ds")
    written, seconds = said
    sidecar = {"RepetitionTime": written, "StartTime": 0.5} if written != "absent" else {"StartTime": 0.5}
    for path in (tree / FUNC).glob("*_bold.json"):
        path.write_text(json.dumps(sidecar))
    (tree / "task-clock_bold.json").write_text("{}")
    path = tree / FUNC / f"{STEM}_{VOLUME}_desc-preproc_bold.nii.gz"
    image = nibabel.load(path)
    value, unit = header
    number = value / UNITS.get(unit, 1.0) if scaled else value
    changed = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)
    changed.header["pixdim"][4] = number
    changed.header["xyzt_units"] = 2 | {"sec": 8, "msec": 16, "usec": 24, "hz": 32, "ppm": 40, "unknown": 0}[unit]
    nibabel.save(changed, path)
    in_header = number * UNITS.get(unit, math.nan)
    in_header = in_header if 0.1 <= in_header <= 30 else math.nan
    known = [one for one in (seconds, in_header) if one is not None and not math.isnan(one)]
    agree = seconds is not None and bool(known) and abs(known[0] - known[-1]) <= 1e-3
    silent = number == 0 or unit == "unknown"  # what many tools write who know no TR: no reason for a warning
    with warnings.catch_warnings(record=True) as said_aloud:
        warnings.simplefilter("always")
        try:
            run = load_dataset("bids", folder=tree).bold("01", "clock_run-1")
        except InputError as error:
            one_line(error, "sub-01_task-clock")
            refused = True
        else:
            refused = False
            assert run.tr == pytest.approx(known[0], abs=1e-5)
    assert refused is not agree
    if not refused:
        named = ["are used" in str(one.message) for one in said_aloud]
        assert named == ([] if silent or not math.isnan(in_header) else [True])


def spelt(data, chosen):
    """Entities after `sub` and `task` in any order, their numbers with any zeros."""
    order = data.draw(st.permutations(["task", *chosen]))
    zeros = data.draw(st.integers(0, 2))
    values = {"task": "clock", "ses": "1", "acq": "mb4", "run": "0" * zeros + "1"}
    return "_".join(["sub-01", *(f"{key}-{values[key]}" for key in order)])


@QUICK
@given(data=st.data())
def test_names_of_one_run_belong_together_in_any_order_and_with_any_zeros(data, whole, right, tmp_path):
    tree = fresh(whole, tmp_path / "ds")
    chosen = [key for key in ("ses", "acq", "run") if data.draw(st.booleans())]
    folder = "ses-1/func" if "ses" in chosen else "func"
    space = data.draw(st.permutations(["space-MNI152NLin2009cAsym", data.draw(st.sampled_from(["res-2", "res-02"]))]))
    derived, raw = spelt(data, chosen), spelt(data, chosen)  # two programs wrote them, each in its own way
    (tree / "derivatives/fmriprep/sub-01" / folder).mkdir(parents=True, exist_ok=True)
    (tree / "sub-01" / folder).mkdir(parents=True, exist_ok=True)
    for path in [*(tree / FUNC).iterdir(), *(tree / "sub-01/func").iterdir()]:
        if path.is_file():
            is_raw = path.parent == tree / "sub-01/func"
            home = tree / ("sub-01" if is_raw else "derivatives/fmriprep/sub-01") / folder
            os.replace(path, home / path.name.replace(STEM, raw if is_raw else derived).replace(VOLUME, "_".join(space)))
    dataset = load_dataset("bids", folder=tree, confounds=["motion"])
    (story,) = dataset.stories("01")
    run = dataset.bold("01", story)
    assert run.n_trs == right.n_trs
    np.testing.assert_array_equal(run.tr_times, right.tr_times)
    assert dataset.transcript(story).words == load_dataset("bids", folder=whole).transcript("clock_run-1").words


@QUICK
@given(data=st.data())
def test_a_study_of_links_is_read_as_the_study_and_what_they_lack_is_named(data, whole, right, tmp_path):
    """Files and folders as links, relative, absolute or in chains, as DataLad and shared disks have them."""
    tree, store = fresh(whole, tmp_path / "ds"), tmp_path / "store"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir()
    folders = [tree / "derivatives/fmriprep/sub-01", tree / "sub-01", tree / "stimuli", tree / "derivatives"]
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    chosen = data.draw(st.lists(st.sampled_from(paths), unique=True, max_size=4))
    kinds = ["relative", "absolute", "chain"]
    if data.draw(st.booleans()):
        chosen.append(data.draw(st.sampled_from(folders)))
        kinds = kinds[1:]  # a relative link below a folder that moves leads nowhere
    gone = data.draw(st.sampled_from([None, None, f"{STEM}_{VOLUME}_desc-preproc_bold.nii.gz", "clock.tsv"]))
    for i, path in enumerate(chosen):
        kind = data.draw(st.sampled_from(kinds))
        kept = store / f"{i}-{path.name}"
        os.replace(path, kept)
        if kind == "chain":
            (store / f"chain{i}").symlink_to(kept)
            kept = store / f"chain{i}"
        path.symlink_to(os.path.relpath(kept, path.parent) if kind == "relative" else kept)
    if gone is not None:
        (missing,) = [path for path in tree.rglob("*") if path.name == gone] or [None]
        if missing is not None:
            missing.unlink()
            missing.symlink_to("../.git/annex/objects/xx/MD5E-s99")
    try:
        dataset = load_dataset("bids", folder=tree)
        dataset.transcript("clock_run-1")
        run = dataset.bold("01", "clock_run-1")
    except InputError as error:
        assert gone is not None
        one_line(error, "clock")
        return
    assert gone is None or missing is None
    np.testing.assert_array_equal(run.data, right.data)
