import numpy as np
import pytest
from scipy import stats

from neurolm.checks import InputError
from neurolm.statistics import ar1_noise, draw_counts, mean_interval, percentile_interval


def test_every_draw_holds_as_many_units_as_there_are():
    counts = draw_counts(7, 500, 3)
    assert (counts.sum(1) == 7).all()
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.15)


def test_percentiles_leave_out_nan_and_agree_with_numpy():
    draws = np.random.default_rng(0).standard_normal((400, 3))
    np.testing.assert_allclose(percentile_interval(draws, 0.9), np.quantile(draws, [0.05, 0.95], axis=0), atol=1e-12)
    draws[::4, 0], draws[:, 1] = np.nan, np.nan
    low, high = percentile_interval(draws)
    np.testing.assert_allclose([low[0], high[0]], np.nanquantile(draws[:, 0], [0.025, 0.975]), atol=1e-12)
    assert np.isnan([low[1], high[1]]).all()
    with pytest.raises(InputError, match="ci must lie between 0 and 1; got 95"):
        percentile_interval(draws, 95)


@pytest.mark.parametrize("n", [3, 8, 27])
def test_t_interval_agrees_with_scipy_and_covers_the_mean_of_few_subjects(n):
    values = np.random.default_rng(0).normal(0.1, 0.05, (n, 20_000))
    low, high = mean_interval(values)
    expected = stats.t.interval(0.95, n - 1, values[:, 0].mean(), stats.sem(values[:, 0]))
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-12)
    assert ((low <= 0.1) & (high >= 0.1)).mean() == pytest.approx(0.95, abs=0.006)


def test_ar1_noise_has_its_variance_from_the_first_row_and_its_autocorrelation():
    noise = ar1_noise(np.random.default_rng(0).standard_normal((40, 20_000)), 0.7)
    np.testing.assert_allclose(noise.std(1), 1, atol=0.03)
    assert np.mean(noise[1:] * noise[:-1]) == pytest.approx(0.7, abs=0.01)
