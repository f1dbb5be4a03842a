import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError

space = Regions(("A", "B"))
times = 20 + 2.0 * np.arange(10)


def test_constant_and_nan_voxels_are_reported():
    data = np.random.default_rng(0).standard_normal((10, 2))
    data[3, 1] = np.nan
    run = BoldRun(data, times, space)
    assert run.tr == 2
    assert run.bad_voxels.tolist() == [False, True]


@pytest.mark.parametrize(
    ("data", "tr_times", "message"),
    [
        (np.zeros((9, 2)), times, "same length"),
        (np.zeros((10, 3)), times, "the voxels of its space"),
        (np.zeros((10, 2, 2)), times, "n_trs, n_voxels"),
        (np.zeros((10, 2)), np.delete(np.arange(11.0), 5), "equal steps"),
    ],
)
def test_runs_that_do_not_fit_are_refused(data, tr_times, message):
    with pytest.raises(InputError, match=message):
        BoldRun(data, tr_times, space)
