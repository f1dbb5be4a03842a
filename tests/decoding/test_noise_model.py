"""Residual covariance: against refits, against plain inverses, and a planted truth."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neurolm.checks import InputError
from neurolm.decoding.noise_model import NoiseModel, leave_one_run_out_residuals, select_voxels

ONSETS = np.array([0, 30, 75])


def problem(rng, n_features=20, n_voxels=8, n_trs=110):
    X = rng.normal(size=(n_trs, n_features))
    Y = X @ rng.normal(size=(n_features, n_voxels)) + rng.normal(size=(n_trs, n_voxels))
    return X, Y, rng.choice([1.0, 30.0, 900.0], size=n_voxels)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_features", [20, 110, 300], ids=["tall", "square", "wide"])
def test_left_out_residuals_equal_refits(rng, n_features, fit_intercept):
    X, Y, alphas = problem(rng, n_features)
    X, Y = X + 0.3, Y + 2.0
    want = np.empty_like(Y)
    for start, stop in zip(ONSETS, [*ONSETS[1:], len(X)]):
        rest = np.r_[0:start, stop : len(X)]
        fit = Ridge(alpha=alphas, fit_intercept=fit_intercept).fit(X[rest], Y[rest])
        want[start:stop] = Y[start:stop] - fit.predict(X[start:stop])
    got = leave_one_run_out_residuals(X, Y, run_onsets=ONSETS, alphas=alphas, fit_intercept=fit_intercept)
    assert np.abs(got - want).max() < 1e-10


def published_covariance(residuals, shrinkage):
    """Mean over runs of E'E / mean(diag E'E), shrunk: the formula, in full."""
    parts = [residuals[a:b] for a, b in zip(ONSETS, [*ONSETS[1:], len(residuals)])]
    products = [e.T @ e for e in parts]
    mean = np.mean([s / np.diag(s).mean() for s in products], axis=0)
    return (1 - shrinkage) * mean + shrinkage * np.eye(len(mean))


@pytest.mark.parametrize("n_voxels", [8, 110, 250], ids=["fewer voxels than TRs", "as many", "more"])
def test_precision_is_the_inverse_of_the_published_covariance(rng, n_voxels):
    residuals = rng.normal(size=(110, n_voxels)) @ rng.normal(size=(n_voxels, n_voxels))
    noise = NoiseModel().fit_residuals(residuals, run_onsets=ONSETS)
    covariance = published_covariance(residuals, 2 / 3)
    rows = rng.normal(size=(5, n_voxels))
    assert np.abs(noise.covariance_ - covariance).max() < 1e-12
    assert np.abs(noise.multiply_precision(rows) - rows @ np.linalg.inv(covariance)).max() < 1e-9
    assert np.diag(noise.covariance_).mean() == pytest.approx(1)
    assert noise.variance_ == pytest.approx((residuals**2).mean())


def test_fit_recovers_a_planted_covariance(rng):
    factors = rng.normal(size=(3, 30))
    planted = factors.T @ factors + np.eye(30)
    X = rng.normal(size=(6000, 10))
    Y = X @ rng.normal(size=(10, 30)) + rng.multivariate_normal(np.zeros(30), planted, size=6000)
    noise = NoiseModel(shrinkage=0).fit(X, Y, run_onsets=[0, 2000, 4000], alphas=np.ones(30))
    got = noise.covariance_ * np.diag(planted).mean()
    assert np.linalg.norm(got - planted) < 0.06 * np.linalg.norm(planted)
    assert noise.variance_ == pytest.approx(np.diag(planted).mean(), rel=0.05)


def test_low_rank_plus_diagonal_is_exact_for_such_a_covariance(rng):
    residuals = rng.normal(size=(110, 40))
    factored = NoiseModel(shrinkage=0.5, n_factors=4).fit_residuals(residuals, run_onsets=ONSETS)
    full = NoiseModel(shrinkage=0.5).fit_residuals(residuals, run_onsets=ONSETS)
    assert factored.factors_.shape == (4, 40)
    assert np.allclose(np.diag(factored.covariance_), np.diag(full.covariance_))
    values, vectors = np.linalg.eigh(published_covariance(residuals, 0.0))
    leading = (vectors[:, -4:] * values[-4:]) @ vectors[:, -4:].T
    off = ~np.eye(40, dtype=bool)
    assert np.allclose(factored.covariance_[off], 0.5 * leading[off])
    rows = rng.normal(size=(3, 40))
    assert np.allclose(factored.multiply_precision(rows), rows @ np.linalg.inv(factored.covariance_))


def test_low_rank_works_without_shrinkage_where_the_full_covariance_cannot(rng):
    residuals = rng.normal(size=(110, 200))
    with pytest.raises(InputError, match="noise covariance must be positive definite; got a smallest eigenvalue of"):
        NoiseModel(shrinkage=0).fit_residuals(residuals, run_onsets=ONSETS).multiply_precision(residuals)
    factored = NoiseModel(shrinkage=0, n_factors=10).fit_residuals(residuals, run_onsets=ONSETS)
    assert np.allclose(factored.multiply_precision(residuals) @ factored.covariance_, residuals)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_a_given_covariance_is_used_as_it_is(rng, shrinkage):
    factors = rng.normal(size=(50, 12))
    covariance = factors.T @ factors / 50
    noise = NoiseModel.from_covariance(covariance, shrinkage)
    assert np.allclose(noise.covariance_, (1 - shrinkage) * covariance + shrinkage * np.eye(12))
    assert np.allclose(noise.multiply_precision(np.eye(12)), np.linalg.inv(noise.covariance_))


def test_a_covariance_that_is_not_positive_definite_is_refused(rng):
    singular = np.ones((4, 4))
    with pytest.raises(InputError, match=r"positive definite.*Shrink it"):
        NoiseModel.from_covariance(singular)
    with pytest.raises(InputError, match="have no negative eigenvalue; got -1"):
        NoiseModel.from_covariance(np.diag([1.0, 2.0, -1.0]), 0.1)
    with pytest.raises(InputError, match="be symmetric"):
        NoiseModel.from_covariance(np.triu(np.ones((3, 3))))


def test_arrays_hold_the_whole_model(rng):
    noise = NoiseModel(0.4, 3).fit_residuals(rng.normal(size=(110, 9)), run_onsets=ONSETS)
    again = NoiseModel.from_arrays(*noise.to_arrays())
    assert np.array_equal(again.covariance_, noise.covariance_)
    assert (again.shrinkage, again.n_factors, again.variance_) == (0.4, 3, noise.variance_)


def test_one_run_is_refused(rng):
    with pytest.raises(InputError, match="name at least two runs; got \\[0\\]"):
        NoiseModel().fit_residuals(rng.normal(size=(20, 3)), run_onsets=[0])


def test_selected_voxels_are_the_best_and_sorted_and_never_nan():
    scores = np.array([0.1, np.nan, 0.5, 0.4, -0.2])
    assert select_voxels(scores, 3).tolist() == [0, 2, 3]
    with pytest.raises(InputError, match=r"lie in 1..4, the voxels that have a score; got 5"):
        select_voxels(scores, 5)
