import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from neurolm.checks import InputError
from neurolm.encoding.held_out import held_out_scores, mean_over_folds, nested_folds, nested_ridge
from neurolm.encoding.scores import correlation_score, r2_score

ALPHAS = [1.0, 30.0, 1000.0]


def problem(n_trs=120, n_columns=10, n_targets=6):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_trs, n_columns))
    noise = rng.standard_normal((n_trs, n_targets)) * np.linspace(0.5, 8, n_targets)
    return X, X @ rng.standard_normal((n_columns, n_targets)) + noise + 3


def test_one_run_is_cut_into_blocks_with_gaps_outside_and_inside():
    folds = nested_folds([0], 120, n_folds=4, n_inner_folds=3, gap=5)
    np.testing.assert_array_equal(np.concatenate([f.test for f in folds]), np.arange(120))
    for fold in folds:
        assert np.abs(fold.train[:, None] - fold.test).min() == 6
        assert len(fold.inner) == 3
        for train, test in fold.inner:
            assert np.abs(train[:, None] - test).min() == 6


def test_several_runs_are_held_out_whole_and_neighbours_together_when_there_are_many():
    onsets = np.arange(0, 120, 10)
    folds = nested_folds(onsets, 120, n_folds=5, n_inner_folds=3)
    assert len(folds) == 5
    run = np.repeat(np.arange(12), 10)
    for fold in folds:
        assert not set(run[fold.train]) & set(run[fold.test])
        for train, test in fold.inner:
            assert not set(run[train]) & set(run[test])
            assert set(train) | set(test) <= set(fold.train)
    two = nested_folds([0, 60], 120, n_folds=5, n_inner_folds=5, gap=2)
    assert [len(f.test) for f in two] == [60, 60]
    assert [len(f.inner) for f in two] == [5, 5]  # one training run left: blocks of it


@pytest.mark.parametrize(("scoring", "function"), [("correlation", correlation_score), ("r2", r2_score)])
@pytest.mark.parametrize("standardize", [True, False])
def test_agrees_with_nested_refits_by_scikit_learn(scoring, function, standardize):
    given, Y = problem()
    X = given
    folds = nested_folds([0], len(X), n_folds=4, n_inner_folds=3, gap=2)
    ridge = nested_ridge(given, folds, ALPHAS, scoring=scoring, standardize=standardize, dtype="float64")
    held = held_out_scores(ridge, Y, keep_predictions=True)
    for k, fold in enumerate(folds):
        if standardize:
            X = StandardScaler().fit(given[fold.train]).transform(given)
        inner = []
        for alpha in ALPHAS:
            fits = [(Ridge(alpha).fit(X[a], Y[a]), b) for a, b in fold.inner]
            inner.append(np.mean([function(Y[b], m.predict(X[b])) for m, b in fits], axis=0))
        best = np.argmax(inner, axis=0)
        predicted = np.stack([Ridge(a).fit(X[fold.train], Y[fold.train]).predict(X[fold.test]) for a in ALPHAS])
        chosen = np.stack([predicted[b, :, v] for v, b in enumerate(best)], axis=1)
        np.testing.assert_allclose(held.best_alphas[k], np.array(ALPHAS)[best])
        np.testing.assert_allclose(held.inner_scores[k], np.max(inner, axis=0), atol=1e-9)
        np.testing.assert_allclose(held.fold_scores[k], function(Y[fold.test], chosen), atol=1e-9)
        np.testing.assert_allclose(held.predictions[fold.test], chosen, atol=1e-9)


def test_held_out_rows_do_not_enter_their_own_prediction():
    X, Y = problem()
    folds = nested_folds([0], len(X), n_folds=4, gap=2)
    ridge = nested_ridge(X, folds, ALPHAS, dtype="float64")
    before = held_out_scores(ridge, Y, keep_predictions=True)
    Y[folds[1].test] += 100 * np.random.default_rng(1).standard_normal(Y[folds[1].test].shape)
    after = held_out_scores(ridge, Y, keep_predictions=True)
    np.testing.assert_allclose(before.predictions[folds[1].test], after.predictions[folds[1].test], atol=1e-9)


def test_held_out_rows_of_the_features_do_not_enter_the_fit():
    X, Y = problem()
    folds = nested_folds([0], len(X), n_folds=4, gap=2)
    changed = X.copy()
    changed[folds[1].test] *= 50  # changes the mean and variance of the whole run, not those of the training rows
    before, after = (held_out_scores(nested_ridge(x, folds, ALPHAS, dtype="float64"), Y) for x in (X, changed))
    np.testing.assert_allclose(after.inner_scores[1], before.inner_scores[1], atol=1e-12)


def test_constant_targets_are_nan_and_the_others_as_without_them():
    X, Y = problem()
    folds = nested_folds([0], len(X), n_folds=4, gap=2)
    ridge = nested_ridge(X, folds, ALPHAS)
    alone = held_out_scores(ridge, Y[:, 1:])
    Y[:, 0] = 2
    held = held_out_scores(ridge, Y)
    assert np.isnan(held.scores[0])
    np.testing.assert_allclose(held.scores[1:], alone.scores, atol=1e-6)


def test_correlations_are_averaged_as_fisher_z():
    folds = np.array([[0.2], [0.9]])
    assert mean_over_folds(folds)[0] == pytest.approx(np.tanh((np.arctanh(0.2) + np.arctanh(0.9)) / 2))
    assert mean_over_folds(folds, "r2")[0] == pytest.approx(0.55)


def test_a_single_fold_is_refused():
    with pytest.raises(InputError, match="n_folds must be >= 2"):
        nested_folds([0], 100, n_folds=1)
