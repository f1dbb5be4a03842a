import numpy as np
import pytest
import sklearn.metrics
import torch

from neurolm.checks import InputError
from neurolm.encoding.scores import correlation_score, r2_score, score


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    Y = rng.standard_normal((50, 4)) + 3
    return Y.astype(dtype), (Y + rng.standard_normal((50, 4))).astype(dtype)


def test_correlation_agrees_with_numpy():
    Y, pred = data()
    expected = [np.corrcoef(Y[:, j], pred[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(correlation_score(Y, pred), expected, atol=1e-12)


def test_r2_agrees_with_scikit_learn():
    Y, pred = data()
    expected = sklearn.metrics.r2_score(Y, pred, multioutput="raw_values")
    np.testing.assert_allclose(r2_score(Y, pred), expected, atol=1e-12)


@pytest.mark.parametrize("function", [correlation_score, r2_score])
def test_torch_in_torch_out_with_the_same_numbers(function):
    Y, pred = data(np.float32)
    scored = function(torch.tensor(Y), torch.tensor(pred))
    assert isinstance(scored, torch.Tensor)
    np.testing.assert_allclose(scored.numpy(), function(Y, pred), atol=1e-5)


def test_constant_and_nan_voxels_score_nan():
    Y, pred = data()
    Y[:, 0] = 5
    Y[7, 1] = np.nan
    pred[:, 2] = 1
    assert np.isnan(correlation_score(Y, pred)).tolist() == [True, True, True, False]
    assert np.isnan(r2_score(Y, pred)).tolist() == [True, True, False, False]


def test_one_voxel_without_a_second_axis_scores_a_scalar():
    Y, pred = data()
    assert correlation_score(Y[:, 0], pred[:, 0]) == pytest.approx(correlation_score(Y, pred)[0], abs=1e-12)


def test_shapes_and_names_that_do_not_fit_are_refused():
    Y, pred = data()
    with pytest.raises(InputError, match="Y and Y_pred must have the same shape"):
        correlation_score(Y, pred[:, :2])
    with pytest.raises(InputError, match="scoring must be one of 'correlation', 'r2'; got corelation"):
        score(Y, pred, "corelation")
