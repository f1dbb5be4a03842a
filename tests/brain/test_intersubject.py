import numpy as np
import pytest

from neurolm.brain.intersubject import intersubject_correlation, isc_bootstrap, isc_test, mean_pairwise_isc
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


def test_bootstrap_interval_covers_the_mean_and_excludes_zero_for_shared_signal():
    data = listeners(np.random.default_rng(0))
    for method in ("leave_one_out", "pairwise"):
        low, high = isc_bootstrap(data, method, n_bootstrap=300)
        mean = intersubject_correlation(data, method).mean(0)
        assert ((low < mean) & (mean < high)).all()
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
