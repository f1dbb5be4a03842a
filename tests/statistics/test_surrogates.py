import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.statistics.surrogates import block_permutation, circular_shifts, phase_randomization, run_slices, surrogates


def test_circular_shifts_of_one_run_are_all_different_and_long_enough():
    shifts = circular_shifts([50], 1000, 10, np.random.default_rng(0))[:, 0]
    assert sorted(shifts.tolist()) == list(range(10, 41))


def test_each_run_is_shifted_by_its_own_lag_and_keeps_its_rows():
    data = np.arange(60.0)[:, None]
    lags = []
    for surrogate in surrogates(data, 200, run_onsets=[0, 25], min_shift=5, rng=0):
        first, second = surrogate[:25, 0], surrogate[25:, 0]
        np.testing.assert_array_equal(np.roll(first, -int(np.argmin(first))), np.arange(25))
        np.testing.assert_array_equal(np.roll(second, -int(np.argmin(second))), np.arange(25, 60))
        lags.append((int(np.argmin(first)), int(np.argmin(second))))
    apart = [(min(a, 25 - a), min(b, 35 - b)) for a, b in lags]
    assert all(max(pair) >= 5 for pair in apart)
    assert {0, 12} <= {a for a, _ in apart}
    assert len(set(lags)) == 200


def test_block_permutation_uses_every_row_once_and_keeps_blocks_whole():
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = block_permutation(run_slices([0, 40], 100), 10, rng)
        assert sorted(order) == list(range(100))
        assert (np.diff(order) == 1).sum() >= 100 - 13  # at most 12 blocks in two runs


def test_phase_randomization_keeps_spectrum_mean_and_correlations_between_voxels():
    rng = np.random.default_rng(0)
    for n_trs in (64, 65):
        data = rng.standard_normal((n_trs, 3)).cumsum(0)
        data[:, 2] = data[:, 0] + data[:, 1]
        surrogate = phase_randomization(data, rng)
        np.testing.assert_allclose(np.abs(np.fft.rfft(surrogate, axis=0)), np.abs(np.fft.rfft(data, axis=0)), atol=1e-9)
        np.testing.assert_allclose(np.corrcoef(surrogate.T), np.corrcoef(data.T), atol=1e-9)
        assert abs(np.corrcoef(surrogate[:, 0], data[:, 0])[0, 1]) < 0.9


def test_the_same_seed_gives_the_same_surrogates():
    data = np.random.default_rng(0).standard_normal((40, 2))
    for null in ("circular_shift", "block_permutation", "phase_randomization"):
        first, again = (list(surrogates(data, 3, null=null, min_shift=5, block_trs=10, rng=7)) for _ in range(2))
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_shift": 30}, "min_shift must lie in 1..20, half of the shortest run; got 30"),
        ({"null": "shuffle"}, "null must be one of"),
        ({"null": "block_permutation", "block_trs": 30}, "leave at least two blocks"),
        ({"run_onsets": [5, 10]}, "run_onsets must rise from 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        list(surrogates(np.zeros((40, 1)), 5, **settings))
