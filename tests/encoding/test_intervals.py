import numpy as np
import pytest
from scipy.signal import lfilter

from neurolm.checks import InputError
from neurolm.encoding.intervals import bootstrap_correlation, bootstrap_mean


def slow_pair(rng, n_trs, n_voxels, r, rho=0.6):
    """AR(1) responses and predictions whose true correlation is r."""
    shared, a = (lfilter([1], [1, -rho], rng.standard_normal((n_trs + 100, n_voxels)), axis=0)[100:] for _ in range(2))
    return shared, r * shared + np.sqrt(1 - r**2) * a


def test_interval_over_blocks_covers_the_true_correlation_about_as_often_as_it_says():
    Y, pred = slow_pair(np.random.default_rng(0), 600, 400, r=0.4)
    low, high = bootstrap_correlation(Y, pred, block_trs=20, n_bootstrap=400)
    covered = ((low < 0.4) & (high > 0.4)).mean()
    assert 0.89 < covered < 0.98


def test_a_draw_of_runs_is_the_correlation_of_those_runs():
    rng = np.random.default_rng(0)
    Y, pred = rng.standard_normal((2, 90, 3)) + 5
    onsets = [0, 20, 50]
    runs = [slice(0, 20), slice(20, 50), slice(50, 90)]
    draws = np.random.default_rng(4).multinomial(3, [1 / 3] * 3, size=200)
    rows = [np.concatenate([np.tile(np.arange(90)[s], k) for s, k in zip(runs, d)]) for d in draws]
    r = [[np.corrcoef(Y[i, v], pred[i, v])[0, 1] for v in range(3)] for i in rows]
    low, high = bootstrap_correlation(Y, pred, run_onsets=onsets, n_bootstrap=200, ci=0.9, rng=4)
    np.testing.assert_allclose([low, high], np.quantile(r, [0.05, 0.95], axis=0), atol=1e-12)


def test_interval_over_listeners_is_that_of_a_mean():
    values = np.random.default_rng(0).standard_normal((27, 300)) + 1
    low, high = bootstrap_mean(values)
    covered = ((low < 1) & (high > 1)).mean()
    assert 0.88 < covered < 0.98
    values[3, 0] = np.nan
    assert np.isnan(bootstrap_mean(values)[0][0])


def test_too_little_to_draw_from_is_refused():
    with pytest.raises(InputError, match=r"at least 3 to be drawn from; got 1. Give block_trs for a single run"):
        bootstrap_correlation(np.zeros((50, 1)), np.zeros((50, 1)))
    with pytest.raises(InputError, match="at least 3 subjects"):
        bootstrap_mean(np.zeros((2, 4)))
