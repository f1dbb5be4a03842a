import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neurolm.checks import InputError
from neurolm.encoding.crossval import blocks_of_rows, contiguous_blocks, leave_one_run_out
from neurolm.encoding.nested import NestedRidge, nested_cv_scores
from neurolm.encoding.scores import r2_score
from neurolm.statistics import columnwise_correlation

ALPHAS = np.logspace(0, 4, 5)
SCORES = {"correlation": columnwise_correlation, "r2": r2_score}


def problem(n=90, p=12, v=6, noise=3.0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    return X, X @ rng.standard_normal((p, v)) + noise * rng.standard_normal((n, v)) + 4


def by_refitting(X, Y, outer, inner, scoring, fit_intercept):
    """Every fold and penalty fitted by scikit-learn."""
    predictions, best = np.full(Y.shape, np.nan), []
    for train, test in outer:
        scores = np.zeros((len(ALPHAS), Y.shape[1]))
        for fit, held in inner(train):
            for a, alpha in enumerate(ALPHAS):
                model = Ridge(alpha, fit_intercept=fit_intercept).fit(X[fit], Y[fit])
                scores[a] += SCORES[scoring](Y[held], model.predict(X[held]))
        best.append(ALPHAS[scores.argmax(0)])
        for j, alpha in enumerate(best[-1]):
            model = Ridge(alpha, fit_intercept=fit_intercept).fit(X[train], Y[train, j])
            predictions[test, j] = model.predict(X[test])
    return predictions, np.array(best)


@pytest.mark.parametrize("scoring", ["correlation", "r2"])
@pytest.mark.parametrize(("p", "fit_intercept"), [(12, True), (12, False), (150, True), (150, False)])
def test_nested_scores_are_those_of_refitting_everything(p, fit_intercept, scoring):
    X, Y = problem(p=p)
    outer = contiguous_blocks(len(X), 4, gap=3)
    found = nested_cv_scores(
        X, Y, ALPHAS, outer, 3, gap=2, scoring=scoring, fit_intercept=fit_intercept, keep_predictions=True, dtype="float64"
    )
    predictions, best = by_refitting(X, Y, outer, lambda rows: blocks_of_rows(rows, 3, 2), scoring, fit_intercept)
    np.testing.assert_array_equal(found.best_alphas, best)
    np.testing.assert_allclose(found.predictions, predictions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.scores, SCORES[scoring](Y, predictions), atol=1e-9)
    for score, (_, test) in zip(found.fold_scores, outer):
        np.testing.assert_allclose(score, SCORES[scoring](Y[test], predictions[test]), atol=1e-9)


def test_float32_gives_the_same_to_5e_5():
    X, Y = problem()
    single, double = (nested_cv_scores(X, Y, ALPHAS, 4, 3, dtype=d) for d in ("float32", "float64"))
    np.testing.assert_allclose(single.scores, double.scores, atol=5e-5)
    np.testing.assert_array_equal(single.best_alphas, double.best_alphas)


def test_hats_serve_shifted_targets_as_a_new_fit_would():
    X, Y = problem()
    ridge = NestedRidge(X, ALPHAS, 5, 3, gap=2)
    shifted = np.concatenate([np.roll(Y, s, axis=0) for s in (20, 41)], axis=1)
    together = ridge.score(shifted).scores
    np.testing.assert_allclose(together[:6], nested_cv_scores(X, np.roll(Y, 20, axis=0), ALPHAS, 5, 3, gap=2).scores, atol=1e-6)
    np.testing.assert_allclose(together[6:], nested_cv_scores(X, np.roll(Y, 41, axis=0), ALPHAS, 5, 3, gap=2).scores, atol=1e-6)


def test_inner_folds_may_be_a_function_of_the_outer_training_rows():
    X, Y = problem()
    seen = []

    def inner(rows):
        seen.append(rows)
        return blocks_of_rows(rows, 3)

    outer = leave_one_run_out([0, 30, 60])
    a = nested_cv_scores(X, Y, ALPHAS, outer, inner)
    b = nested_cv_scores(X, Y, ALPHAS, outer, 3)
    np.testing.assert_array_equal(a.scores, b.scores)
    assert [len(rows) for rows in seen] == [60, 60, 60]


def test_bad_voxels_are_nan_and_leave_the_others_alone():
    X, Y = problem()
    clean = nested_cv_scores(X, Y, ALPHAS, 5, 3)
    Y[3, 1] = np.nan
    Y[:, 4] = 7
    found = nested_cv_scores(X, Y, ALPHAS, 5, 3, keep_predictions=True)
    bad = np.isin(np.arange(6), [1, 4])
    for name in ("scores", "fold_scores", "inner_scores", "best_alphas", "predictions"):
        value = getattr(found, name)
        assert np.isnan(value[..., bad]).all(), name
        assert np.isfinite(value[..., ~bad]).all(), name
    np.testing.assert_allclose(found.scores[~bad], clean.scores[~bad], rtol=0, atol=1e-6)


def test_noise_scores_about_zero():
    rng = np.random.default_rng(0)
    found = nested_cv_scores(rng.standard_normal((400, 20)), rng.standard_normal((400, 300)), ALPHAS, 5, 4)
    assert abs(found.scores.mean()) < 3 / np.sqrt(300 * 400) + 0.03  # pooled scores of noise lie a little below zero
    assert found.scores.mean() < 0.01


def test_inner_rows_outside_the_training_set_are_refused():
    X, Y = problem()
    with pytest.raises(InputError, match="inner must hold only rows of its outer training set"):
        nested_cv_scores(X, Y, ALPHAS, 3, lambda rows: [(np.arange(45), np.arange(45, 90))])


@pytest.mark.parametrize("scoring", ["correlation", "r2"])
def test_without_room_for_all_hats_the_result_is_the_same(monkeypatch, scoring):
    from neurolm.encoding import nested
    from neurolm.encoding.ridge import fold_hats

    X, Y = problem()
    Y[3, 1] = np.nan
    kept = nested_cv_scores(X, Y, ALPHAS, 4, 3, scoring=scoring, keep_predictions=True)
    monkeypatch.setattr(nested, "NESTED_BYTES", 0)
    monkeypatch.setattr(fold_hats.FoldHats.groups, "__defaults__", (1,))
    lean = nested_cv_scores(X, Y, ALPHAS, 4, 3, scoring=scoring, keep_predictions=True, n_targets_batch=4)
    for name in ("scores", "fold_scores", "inner_scores", "predictions"):
        np.testing.assert_allclose(getattr(lean, name), getattr(kept, name), atol=1e-5)
    np.testing.assert_array_equal(lean.best_alphas, kept.best_alphas)
