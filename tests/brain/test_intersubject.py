import numpy as np
import pytest

from neurolm.brain.intersubject import intersubject_correlation, isc_bootstrap, isc_interval, isc_test, mean_pairwise_isc
from neurolm.checks import InputError


def listeners(rng, n_subjects=8, n_trs=200, shared=(1.0, 0.0), smooth=6):
    kernel = np.ones(smooth) / smooth

    def noise(*shape):
        raw = rng.standard_normal((n_trs + smooth - 1, int(np.prod(shape, initial=1))))
        return np.stack([np.convolve(c, kernel, "valid") for c in raw.T], -1).reshape(n_trs, *shape) * smooth**0.5

    story = noise(len(shared)) * np.array(shared)
    return np.stack([story + noise(len(shared)) for _ in range(n_subjects)])


def test_leave_one_out_and_pairwise_agree_with_corrcoef():
    data = listeners(np.random.default_rng(0), n_subjects=4)
    z = (data - data.mean(1, keepdims=True)) / data.std(1, keepdims=True)
    loo, pairs = (intersubject_correlation(data, m) for m in ("leave_one_out", "pairwise"))
    for s in range(4):
        others = z[[i for i in range(4) if i != s]].mean(0)
        np.testing.assert_allclose(loo[s], [np.corrcoef(data[s, :, v], others[:, v])[0, 1] for v in range(2)], atol=1e-12)
    for row, (i, j) in enumerate(zip(*np.triu_indices(4, 1))):
        np.testing.assert_allclose(pairs[row], [np.corrcoef(data[i, :, v], data[j, :, v])[0, 1] for v in range(2)], atol=1e-12)
    np.testing.assert_allclose(mean_pairwise_isc(data), pairs.mean(0), atol=1e-12)


@pytest.mark.parametrize("null", ["phase_randomization", "circular_shift"])
@pytest.mark.parametrize("method", ["leave_one_out", "pairwise"])
def test_shared_signal_is_found_and_slow_noise_is_not(null, method):
    data = listeners(np.random.default_rng(0))
    result = isc_test(data, method, null=null, n_null=100, rng=1)
    np.testing.assert_allclose(result.isc, intersubject_correlation(data, method).mean(0), atol=1e-12)
    assert result.p_values[0] == 1 / 101
    assert result.p_values[1] > 0.05


def test_size_of_the_phase_null_on_slow_noise_holds_05():
    data = listeners(np.random.default_rng(0), n_subjects=4, n_trs=120, shared=(0.0,) * 400)
    p = isc_test(data, n_null=99, rng=1).p_values
    assert 0.02 < (p <= 0.05).mean() < 0.085  # 99.7 % interval of 400 voxels around .05


@pytest.mark.parametrize("method", ["leave_one_out", "pairwise"])
def test_joint_shifts_give_as_many_surrogates_as_asked_in_a_short_run(method):
    data = np.random.default_rng(0).standard_normal((3, 15, 40))
    result = isc_test(data, method, null="circular_shift", n_null=200, rng=1)
    assert result.null.shape == (200, 40)
    assert result.smallest_p == 1 / 201
    assert 0 < (result.p_values <= 0.1).mean() < 0.3


def test_two_subjects_have_one_shift_fewer_than_rows_and_the_test_says_its_floor():
    result = isc_test(np.random.default_rng(0).standard_normal((2, 15, 4)), null="circular_shift", n_null=200)
    assert len(result.null) == 14
    assert result.smallest_p == 1 / 15
    with pytest.raises(InputError, match="n_null must be >= 1"):
        isc_test(np.random.default_rng(0).standard_normal((2, 15, 4)), n_null=0)


def test_null_of_joint_shifts_is_the_isc_of_shifted_subjects():
    data = listeners(np.random.default_rng(0), n_subjects=3, n_trs=6)
    result = isc_test(data, null="circular_shift", n_null=1000)
    assert len(result.null) == 35  # all but the measured one of 6 x 6
    every = [
        intersubject_correlation(np.stack([data[0], np.roll(data[1], a, 0), np.roll(data[2], b, 0)])).mean(0)
        for a in range(6)
        for b in range(6)
        if a or b
    ]
    np.testing.assert_allclose(np.sort(result.null, axis=0), np.sort(every, axis=0), atol=1e-12)


@pytest.mark.parametrize("method", ["leave_one_out", "pairwise"])
@pytest.mark.parametrize("n_subjects", [3, 5, 12])
def test_interval_of_isc_excludes_a_true_zero_in_at_most_one_of_twenty_voxels(method, n_subjects):
    data = np.random.default_rng(0).standard_normal((n_subjects, 100, 2000))
    low, high = isc_interval(data, method)
    excluded = ((low > 0) | (high < 0)).mean()
    assert 0.005 < excluded < 0.065


def test_interval_of_isc_holds_the_mean_over_subjects_who_follow_the_story_unequally():
    rng = np.random.default_rng(0)
    story, n, groups = rng.standard_normal((200, 1)), 8, 600
    gain = rng.normal(0.6, 0.2, (n * groups, 1, 1))
    data = (gain * story + rng.standard_normal((n * groups, 200, 1))).reshape(groups, n, 200).transpose(1, 2, 0)
    for method in ("leave_one_out", "pairwise"):
        truth = intersubject_correlation(data, method).mean()
        low, high = isc_interval(data, method)
        assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.945, abs=0.03)
    np.testing.assert_array_equal(isc_bootstrap(data), isc_interval(data))


def test_interval_of_isc_is_withheld_from_two_subjects_and_symmetric_in_fisher_z():
    data = listeners(np.random.default_rng(0))
    assert np.isnan(isc_interval(data[:2])).all()
    low, high = isc_interval(data)
    middle = np.tanh((np.arctanh(low) + np.arctanh(high)) / 2)
    np.testing.assert_allclose(middle, intersubject_correlation(data).mean(0), atol=1e-12)
    assert low[0] > 0


def test_constant_and_nan_listeners_give_nan_and_an_empty_one_is_refused():
    data = listeners(np.random.default_rng(0), n_subjects=3)
    data[1, :, 0] = 4
    assert np.isnan(mean_pairwise_isc(data)).tolist() == [True, False]
    assert np.isnan(intersubject_correlation(data)[:, 0]).all()
    assert np.isnan(isc_test(data, n_null=10).p_values).tolist() == [True, False]
    data[1] = 0
    with pytest.raises(InputError, match="subject 1 constant or NaN in every voxel"):
        intersubject_correlation(data)


def test_one_listener_or_a_flat_matrix_is_refused():
    with pytest.raises(InputError, match="at least two subjects"):
        intersubject_correlation(np.zeros((1, 10, 2)))
    with pytest.raises(InputError, match="method must be one of"):
        intersubject_correlation(np.random.default_rng(0).standard_normal((2, 10, 2)), "loo")
