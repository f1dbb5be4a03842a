import numpy as np
import pytest
import torch

from neurolm.arrays import batches, columnwise_correlation, constant_columns, zscore

rng = np.random.default_rng(0)


def test_correlation_agrees_with_numpy_and_torch():
    a, b = rng.standard_normal((50, 4)), rng.standard_normal((50, 4))
    expected = [np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(columnwise_correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(columnwise_correlation(torch.tensor(a), torch.tensor(b)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 3.7, np.nan])
def test_constant_and_nan_columns_correlate_as_nan_never_as_zero(value):
    a, b = rng.standard_normal((20, 2)), rng.standard_normal((20, 2))
    a[:, 1] = value
    assert constant_columns(a).tolist() == [False, True]
    r = columnwise_correlation(a, b)
    assert np.isfinite(r[0])
    assert np.isnan(r[1])


def test_zscore_gives_unit_columns_and_only_centres_constant_ones():
    x = rng.standard_normal((30, 3)) * 5 + 2
    x[:, 1] = 4.0
    z = zscore(x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), [1, 0, 1], atol=1e-12)


def test_batches_cover_in_order():
    assert [list(range(10))[s] for s in batches(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
