import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from neurolm.brain import BoldRun, Regions
from neurolm.brain.confounds import read_confounds, regress_out
from neurolm.checks import FileError, InputError

RNG = np.random.default_rng(0)


def fmriprep_run(folder, n_trs=40):
    """The files that fMRIPrep leaves of one run."""
    stem = "sub-01_task-story"
    image = folder / f"{stem}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    nibabel.save(nibabel.Nifti1Image(RNG.standard_normal((2, 2, 2, n_trs)).astype(np.float32), np.eye(4)), image)
    columns = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    table = pd.DataFrame(RNG.standard_normal((n_trs, 6)), columns=columns)
    for name in ("csf", "white_matter", "cosine00", "cosine01"):
        table[name] = RNG.standard_normal(n_trs)
    table.to_csv(folder / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False)
    (folder / f"{stem}_desc-confounds_timeseries.json").write_text(json.dumps({}))
    return image, table


def test_confounds_of_fmriprep_are_found_beside_the_image(tmp_path):
    image, table = fmriprep_run(tmp_path)
    confounds, names = read_confounds(image, ("motion", "high_pass"), motion="basic")
    assert sorted(names) == sorted([c for c in table if c.startswith(("trans", "rot", "cosine"))])
    i = names.index("rot_y")
    np.testing.assert_allclose(confounds[:, i], table["rot_y"] - table["rot_y"].mean(), atol=1e-6)


def test_missing_confounds_and_scrubbing_are_refused(tmp_path):
    image, _ = fmriprep_run(tmp_path)
    with pytest.raises(InputError, match="Scrubbing would make gaps inside a run"):
        read_confounds(image, ("motion", "scrub"))
    next(tmp_path.glob("*.tsv")).unlink()
    with pytest.raises(FileError, match="has no usable confounds beside it"):
        read_confounds(image, ("motion",))
    with pytest.raises(FileError, match="no such file"):
        read_confounds(tmp_path / "none_bold.nii.gz")


def test_what_is_left_agrees_with_a_regression_and_keeps_the_mean():
    confounds = RNG.standard_normal((60, 4))
    confounds[:, 3] = confounds[:, 0] + confounds[:, 1]  # rank 3
    data = confounds @ RNG.standard_normal((4, 3)) + RNG.standard_normal((60, 3)) + 7
    run = BoldRun(data, 2.0 * np.arange(60), Regions(("a", "b", "c")))
    cleaned = regress_out(run, confounds).data
    expected = data - LinearRegression().fit(confounds, data).predict(confounds) + data.mean(0)
    np.testing.assert_allclose(cleaned, expected, atol=1e-10)


def test_confounds_that_do_not_go_row_by_row_are_refused():
    run = BoldRun(RNG.standard_normal((60, 1)), 2.0 * np.arange(60), Regions(("a",)))
    with pytest.raises(InputError, match="Drop the same volumes from both"):
        regress_out(run, np.zeros((59, 2)))
    with pytest.raises(InputError, match="confounds must be finite"):
        regress_out(run, np.full((60, 2), np.nan))


@pytest.mark.parametrize("scales", [(1, 1e-8), (1, 1e-11), (1e6, 1e-30), (1e-5, 1e-5), (1e200, 1e-200), (1, 0)])
def test_confounds_are_removed_whatever_their_units(scales):
    from nilearn.signal import clean

    signals = RNG.standard_normal((100, 2))
    data = RNG.standard_normal((100, 3)) + 5 * signals @ RNG.standard_normal((2, 3)) + 40
    run = BoldRun(data, np.arange(100.0), Regions(("a", "b", "c")))
    cleaned = regress_out(run, signals * scales + np.array([900 * scales[0], 0])).data
    used = signals if scales[1] else signals[:, :1]
    theirs = clean(data, confounds=used, detrend=False, standardize=None, standardize_confounds=True)
    np.testing.assert_allclose(cleaned - cleaned.mean(0), theirs - theirs.mean(0), atol=1e-9)
    np.testing.assert_allclose(cleaned.mean(0), data.mean(0), atol=1e-9)


def test_a_constant_confound_and_a_repeated_one_change_nothing():
    signals = RNG.standard_normal((50, 2))
    run = BoldRun(RNG.standard_normal((50, 2)), np.arange(50.0), Regions(("a", "b")))
    more = np.column_stack([signals, np.full(50, 1e9 + 0.1), signals[:, 0] * 1e-9, signals.sum(1) * 1e7])
    np.testing.assert_allclose(regress_out(run, more).data, regress_out(run, signals).data, atol=1e-9)


def test_complex_data_are_refused_not_read_as_their_real_part():
    with pytest.raises(InputError, match="data must hold real numbers; got complex128"):
        BoldRun(np.ones((5, 1), complex), np.arange(5.0), Regions(("a",)))
