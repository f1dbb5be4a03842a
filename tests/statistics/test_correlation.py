import numpy as np
import pytest
import torch

from neurolm.statistics import columnwise_correlation, correlation_of_sums, power_of_two, unit_columns

UNITS = [1e-30, 1e-12, 1.0, 1e9, 1e25]


def pair(dtype=np.float64, n_columns=4):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, n_columns))
    return a.astype(dtype), (a + rng.standard_normal((50, n_columns))).astype(dtype)


def test_correlation_agrees_with_numpy_and_torch():
    a, b = pair()
    expected = [np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(columnwise_correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(columnwise_correlation(torch.tensor(a), torch.tensor(b)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_float32_correlation_is_the_same_in_every_unit(kind, unit):
    a, b = pair(np.float32)
    expected = [np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(4)]
    r = columnwise_correlation(kind(a * np.float32(unit)), kind(b / np.float32(unit)))
    np.testing.assert_allclose(np.asarray(r), expected, atol=5e-7)


@pytest.mark.parametrize("value", [0.0, 3.7, np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_constant_and_unknown_columns_correlate_as_nan_never_as_zero(kind, value):
    a, b = pair()
    a[:, 1] = value
    r = columnwise_correlation(kind(a), kind(b))
    assert np.isnan(np.asarray(r)).tolist() == [False, True, False, False]


def test_unit_columns_are_centred_and_of_length_one():
    a, _ = pair()
    unit = unit_columns(a + 7)
    np.testing.assert_allclose(unit.mean(0), 0, atol=1e-15)
    np.testing.assert_allclose((unit**2).sum(0), 1, atol=1e-12)


def test_correlation_of_sums_does_not_multiply_sums_of_squares():
    sums = np.array([1e-24, 4e-24, 1e-24], dtype=np.float32)  # the product of the last two is 0 in float32
    assert correlation_of_sums(*sums) == pytest.approx(0.5)
    assert np.isnan(correlation_of_sums(np.zeros(1), np.zeros(1), np.ones(1)))[0]


def test_scaling_by_a_power_of_two_changes_no_digit():
    for largest in (np.array([3e-30, 5.0, 2e20], dtype=np.float32), torch.tensor([3e-30, 5.0, 2e20])):
        scale = np.asarray(power_of_two(largest))
        mantissa, _ = np.frexp(scale)
        assert (mantissa == 0.5).all()
        assert ((np.asarray(largest) * scale >= 0.5) & (np.asarray(largest) * scale < 1)).all()
    assert power_of_two(np.zeros(1)) == 1
