import numpy as np
import pytest

from neurolm.arrays import batches, constant_columns, zscore

rng = np.random.default_rng(0)


@pytest.mark.parametrize("value", [0.0, 3.7, np.nan])
def test_columns_that_never_change_or_hold_nan_are_constant(value):
    x = rng.standard_normal((20, 2))
    x[:, 1] = value
    assert constant_columns(x).tolist() == [False, True]


def test_zscore_gives_unit_columns_and_only_centres_constant_ones():
    x = rng.standard_normal((30, 3)) * 5 + 2
    x[:, 1] = 4.0
    z = zscore(x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), [1, 0, 1], atol=1e-12)


def test_batches_cover_in_order():
    assert [list(range(10))[s] for s in batches(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
