import numpy as np
import pytest
import scipy.signal

from neurolm.brain import BoldRun, Regions
from neurolm.brain.preprocess import detrend_legendre, legendre_basis, mean_run, trim_run, zscore_run
from neurolm.checks import InputError


def make_run(data, tr=2.0, start=20.0, subject="s1"):
    names = [f"r{i}" for i in range(data.shape[1])]
    return BoldRun(data, start + tr * np.arange(len(data)), Regions(names), subject, "story")


def test_polynomial_drift_vanishes_and_what_is_orthogonal_to_it_stays():
    rng = np.random.default_rng(0)
    basis = legendre_basis(200, 6)
    signal = rng.standard_normal((200, 3))
    signal -= basis @ (basis.T @ signal)
    drift = np.vander(np.linspace(0, 5, 200), 7) @ rng.standard_normal((7, 3))
    np.testing.assert_allclose(detrend_legendre(make_run(signal + drift), 6).data, signal, atol=1e-9)


def test_degree_one_agrees_with_scipy_detrend():
    data = np.random.default_rng(0).standard_normal((100, 4)).cumsum(0)
    np.testing.assert_allclose(detrend_legendre(make_run(data), 1).data, scipy.signal.detrend(data, axis=0), atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_voxel_without_signal_never_becomes_noise_of_unit_variance(dtype):
    rng = np.random.default_rng(0)
    ramp = np.linspace(3, 1000, 120)
    data = np.column_stack([np.full(120, 1234.567), ramp, rng.standard_normal(120) + 900, rng.standard_normal(120)]).astype(dtype)
    data[5, 3] = np.nan
    run = zscore_run(detrend_legendre(make_run(data), 2))
    assert run.data.dtype == dtype
    assert (run.data[:, :2] == 0).all()
    assert run.data[:, 2].std() == pytest.approx(1, abs=1e-6)
    assert np.isnan(run.data[:, 3]).all()
    assert run.bad_voxels.tolist() == [True, True, False, True]


def test_integer_images_are_not_truncated():
    data = np.random.default_rng(0).integers(900, 1100, (60, 2)).astype(np.int16)
    run = zscore_run(make_run(data))
    np.testing.assert_allclose(run.data, (data - data.mean(0)) / data.std(0), atol=1e-12)


def test_trimmed_rows_take_their_times_with_them():
    data = np.arange(20.0).reshape(10, 2)
    run = trim_run(make_run(data), 3, 2)
    np.testing.assert_array_equal(run.data, data[3:8])
    np.testing.assert_array_equal(run.tr_times, 20 + 2 * np.arange(3, 8))


def test_mean_listener_is_the_mean_and_bad_voxels_are_nan():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50, 3))
    b[:, 1] = 7
    mean = mean_run([make_run(a), make_run(b)], "mean")
    np.testing.assert_allclose(mean.data[:, [0, 2]], ((a + b) / 2)[:, [0, 2]])
    assert np.isnan(mean.data[:, 1]).all()
    assert mean.subject == "mean"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: detrend_legendre(run, -1), r"degree must be a whole number in \[0, n_trs - 1\), here \[0, 29\); got -1"),
        (lambda run: detrend_legendre(run, 29), "degree must"),
        (lambda run: trim_run(run, 20, 9), r"leave at least two rows; got 20 \+ 9 of 30"),
        (lambda run: trim_run(run, 1.5), "n_start must be a whole number"),
        (lambda run: mean_run([]), "at least one run"),
        (lambda run: mean_run([run, trim_run(run, 1)]), "share one time grid; got s1: 30 x 2 from 20 s every 2 s and s1: 29 x 2"),
        (lambda run: mean_run([run, BoldRun(run.data, run.tr_times, Regions(("a", "b")), "s2")]), "share one space"),
    ],
)
def test_impossible_steps_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(make_run(np.random.default_rng(0).standard_normal((30, 2))))
