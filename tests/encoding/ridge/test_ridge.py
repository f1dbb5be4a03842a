import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.linear_model import RidgeCV as SklearnRidgeCV
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neurolm.checks import InputError
from neurolm.encoding import RidgeCV, contiguous_blocks, leave_one_run_out
from neurolm.encoding.scores import r2_score
from neurolm.statistics import columnwise_correlation

ALPHAS = np.logspace(0, 4, 6)
SCORES = {"correlation": columnwise_correlation, "r2": r2_score}
SHAPES = {
    "tall": (150, 20, 7),
    "wide": (60, 200, 5),
    "square": (80, 80, 4),
    "one target": (90, 15, 1),
    "few long folds": (300, 8, 5),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")


@pytest.fixture(params=["few operations", "many operations"])
def size(request, monkeypatch):
    """Small problems, as they are fitted and as large ones are."""
    if request.param == "many operations":
        monkeypatch.setattr("neurolm.encoding.ridge.onednn_algebra.MIN_WORK", 0)


def problem(n=120, p=20, v=6, noise=3.0, offset=0.0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) + offset
    return X, X @ rng.standard_normal((p, v)) / np.sqrt(p) * 3 + noise * rng.standard_normal((n, v)) + offset


def by_refitting(X, Y, folds, scoring, fit_intercept):
    """(n_alphas, n_targets), every fold and penalty fitted by scikit-learn in float64."""
    scores = np.zeros((len(ALPHAS), Y.shape[1]))
    for train, test in folds:
        for a, alpha in enumerate(ALPHAS):
            model = Ridge(alpha, fit_intercept=fit_intercept).fit(X[train], Y[train])
            scores[a] += SCORES[scoring](Y[test], model.predict(X[test]).reshape(Y[test].shape)) / len(folds)
    return scores


@pytest.mark.parametrize("scoring", ["correlation", "r2"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("gap", [0, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_and_penalties_are_those_of_scikit_learn_refits(size, shape, gap, fit_intercept, scoring):
    X, Y = problem(*SHAPES[shape], offset=2.0 * fit_intercept)
    folds = contiguous_blocks(len(X), 3 if shape == "few long folds" else 5, gap)
    expected = by_refitting(X, Y, folds, scoring, fit_intercept)
    best = ALPHAS[expected.argmax(0)]
    for dtype, atol in (("float64", 1e-9), ("float32", 5e-5)):
        model = RidgeCV(ALPHAS, cv=folds, scoring=scoring, fit_intercept=fit_intercept, dtype=dtype).fit(X, Y)
        np.testing.assert_allclose(model.cv_scores_, expected, rtol=0, atol=atol * max(1, np.abs(expected).max()))
        np.testing.assert_array_equal(model.best_alphas_, best.astype(dtype))
        for j, alpha in enumerate(best):
            exact = Ridge(alpha, fit_intercept=fit_intercept).fit(X, Y[:, j])
            np.testing.assert_allclose(model.coef_[:, j], exact.coef_, rtol=0, atol=10 * atol)
            np.testing.assert_allclose(model.predict(X)[:, j], exact.predict(X), rtol=0, atol=100 * atol)


@pytest.mark.parametrize("scoring", ["correlation", "r2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_same_penalties_and_scores_as_himalaya(size, shape, scoring):
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV
    from himalaya.scoring import correlation_score as himalaya_correlation
    from himalaya.scoring import r2_score as himalaya_r2

    set_backend("numpy")
    X, Y = problem(*SHAPES[shape])
    score_func = {"correlation": himalaya_correlation, "r2": himalaya_r2}[scoring]
    peer = HimalayaRidgeCV(ALPHAS, cv=KFold(5), solver_params={"score_func": score_func, "warn": False}).fit(X, Y)
    for dtype, atol in (("float64", 1e-9), ("float32", 5e-5)):
        ours = RidgeCV(ALPHAS, cv=5, scoring=scoring, dtype=dtype).fit(X, Y)
        np.testing.assert_allclose(ours.best_alphas_, peer.best_alphas_, rtol=1e-6)
        scale = max(1, np.abs(peer.cv_scores_).max())
        np.testing.assert_allclose(ours.cv_scores_.max(0), peer.cv_scores_, rtol=0, atol=atol * scale)
        np.testing.assert_allclose(ours.coef_, peer.coef_.reshape(ours.coef_.shape), rtol=0, atol=10 * atol)


def test_leave_one_out_agrees_with_scikit_learn():
    X, Y = problem(50, 8, 3)
    ours = RidgeCV(ALPHAS, cv=[(np.delete(np.arange(50), i), [i]) for i in range(50)], fit_intercept=True, dtype="float64")
    with pytest.warns(UserWarning, match="no defined score in any fold"):
        ours.fit(X, Y)  # one row has no variance: R2 is not defined there
    pooled = RidgeCV(ALPHAS, cv=KFold(25), scoring="r2", fit_intercept=True, dtype="float64").fit(X, Y)
    peer = SklearnRidgeCV(ALPHAS, cv=LeaveOneOut(), scoring="neg_mean_squared_error").fit(X, Y)
    assert np.isnan(ours.best_alphas_).all()
    assert peer.alpha_ in pooled.best_alphas_


def test_planted_weights_come_back():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 30))
    W = rng.standard_normal((30, 10))
    model = RidgeCV(np.logspace(-2, 3, 6), scoring="correlation").fit(X, X @ W + 0.5 * rng.standard_normal((2000, 10)))
    assert np.abs(model.coef_ - W).max() < 5 * 0.5 / np.sqrt(2000)


def test_each_target_gets_its_own_penalty():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 100))
    Y = X @ rng.standard_normal((100, 2)) + np.array([0.1, 30.0]) * rng.standard_normal((200, 2))
    model = RidgeCV(np.logspace(-1, 5, 13)).fit(X, Y)
    assert model.best_alphas_[0] < 10 < 100 < model.best_alphas_[1]
    shared = RidgeCV(np.logspace(-1, 5, 13), alpha_per_target=False).fit(X, Y)
    best = model.cv_scores_.mean(1).argmax()
    np.testing.assert_allclose(shared.best_alphas_, np.logspace(-1, 5, 13)[best], rtol=1e-6)


def test_one_target_alone_scores_as_among_others():
    X, Y = problem()
    together = RidgeCV(ALPHAS).fit(X, Y)
    alone = RidgeCV(ALPHAS).fit(X, Y[:, 2])
    np.testing.assert_allclose(alone.cv_scores_[:, 0], together.cv_scores_[:, 2], atol=1e-6)
    assert alone.predict(X).shape == (120,)
    assert alone.coef_.shape == (20, 1)


@pytest.mark.parametrize("n_targets_batch", [1, 4, 100])
def test_batches_of_targets_change_nothing(n_targets_batch):
    X, Y = problem()
    whole, parts = RidgeCV(ALPHAS).fit(X, Y), RidgeCV(ALPHAS, n_targets_batch=n_targets_batch).fit(X, Y)
    np.testing.assert_allclose(parts.cv_scores_, whole.cv_scores_, atol=1e-6)
    np.testing.assert_allclose(parts.coef_, whole.coef_, atol=1e-6)


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_torch_in_torch_out(shape):
    X, Y = (a.astype(np.float32) for a in problem(*SHAPES[shape]))
    ours = RidgeCV(ALPHAS).fit(X, Y)
    theirs = RidgeCV(ALPHAS).fit(torch.from_numpy(X), torch.from_numpy(Y))
    for name in ("coef_", "best_alphas_", "cv_scores_", "intercept_"):
        assert isinstance(getattr(theirs, name), torch.Tensor), name
        np.testing.assert_array_equal(getattr(theirs, name).numpy(), getattr(ours, name))
    predicted = theirs.predict(torch.from_numpy(X))
    assert predicted.dtype == torch.float32
    np.testing.assert_allclose(predicted.numpy(), ours.predict(X), atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", SHAPES)
def test_gpu_agrees_with_cpu(shape):
    X, Y = problem(*SHAPES[shape])
    cpu = RidgeCV(ALPHAS, device="cpu", fit_intercept=True).fit(X, Y)
    gpu = RidgeCV(ALPHAS, fit_intercept=True).fit(torch.from_numpy(X).cuda(), torch.from_numpy(Y).cuda())
    np.testing.assert_allclose(gpu.cv_scores_.cpu().numpy(), cpu.cv_scores_, atol=5e-5)
    np.testing.assert_allclose(gpu.coef_.cpu().numpy(), cpu.coef_, atol=1e-4)


@pytest.mark.parametrize("form", ["tensor", "bfloat16", "float16", "integers"])
def test_a_fit_on_numpy_predicts_tensors_and_the_other_way_round(form):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 5)).astype(np.float32), rng.standard_normal((60, 3)).astype(np.float32)
    dtype = {"tensor": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "integers": torch.int32}[form]
    given = (torch.as_tensor(X) * 8).to(dtype)
    same = given.float().numpy()  # what the tensor holds
    fitted = RidgeCV((1.0, 10.0), device="cpu", fit_intercept=True).fit(same, Y)
    predicted = fitted.predict(given)
    assert isinstance(predicted, torch.Tensor)
    assert predicted.dtype == (dtype if dtype.is_floating_point else torch.float32)
    np.testing.assert_allclose(predicted.float().numpy(), fitted.predict(same), rtol=2e-2, atol=2e-2)
    back = RidgeCV((1.0, 10.0), device="cpu", fit_intercept=True).fit(given, torch.as_tensor(Y))
    np.testing.assert_allclose(back.coef_.numpy(), fitted.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(back.predict(same), fitted.predict(same), rtol=1e-4, atol=1e-5)


def test_targets_in_bfloat16_are_fitted_and_complex_ones_refused():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 5)), torch.as_tensor(rng.standard_normal((60, 3))).bfloat16()
    model, same = (RidgeCV((1.0, 10.0), device="cpu").fit(X, y) for y in (Y, Y.double().numpy()))
    np.testing.assert_allclose(model.coef_, same.coef_, rtol=1e-5)
    for x, y in ((X, Y.to(torch.complex64)), (torch.as_tensor(X).to(torch.complex64), Y)):
        with pytest.raises(InputError, match=r"must hold real numbers; got torch\.complex64"):
            model.fit(x, y)


def test_predictions_have_the_dtype_of_x():
    X, Y = problem()
    model = RidgeCV(ALPHAS).fit(X, Y)
    assert model.predict(X).dtype == np.float64
    assert model.predict(X.astype(np.float32)).dtype == np.float32


def test_order_of_penalties_does_not_matter():
    X, Y = problem()
    order = [3, 0, 5, 1, 4, 2]
    a, b = RidgeCV(ALPHAS).fit(X, Y), RidgeCV(ALPHAS[order]).fit(X, Y)
    np.testing.assert_array_equal(a.best_alphas_, b.best_alphas_)
    np.testing.assert_allclose(a.cv_scores_[order], b.cv_scores_, atol=1e-6)


def test_exact_ties_go_to_the_larger_penalty():
    X, Y = problem()
    tied = RidgeCV([1.0, 10.0, 10.0, 2.0], dtype="float64").fit(np.zeros_like(X) + np.eye(1, 20), Y)
    assert set(tied.best_alphas_) <= {1.0, 2.0, 10.0}
    blind = np.zeros((120, 20))
    blind[:, 0] = np.tile([1.0, -1.0], 60)
    Y[:, 0] = 0
    Y[::2, 0] = 1  # predictions differ in size alone: every penalty has the same correlation
    model = RidgeCV(ALPHAS, scoring="correlation", dtype="float64").fit(blind, Y[:, :1])
    assert model.best_alphas_[0] == ALPHAS[np.flatnonzero(np.isclose(model.cv_scores_[:, 0], model.cv_scores_.max(), atol=0))[-1]]


@pytest.mark.parametrize("shape", SHAPES)
def test_penalties_beyond_all_reason_are_still_ranked_by_correlation(shape):
    """logspace(1, 20) is himalaya's habit: predictions of 1e-20 must not drown in float32."""
    X, Y = problem(*SHAPES[shape])
    alphas = np.logspace(1, 30, 12)
    single, double = (RidgeCV(alphas, scoring="correlation", dtype=d).fit(X, Y) for d in ("float32", "float64"))
    assert np.isfinite(single.cv_scores_).all()
    np.testing.assert_allclose(single.cv_scores_, double.cv_scores_, atol=5e-5)


@pytest.mark.parametrize("p", [3, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fold_without_a_varying_feature_has_no_correlation(p, dtype):
    X, Y = problem(p=p)
    X[:24] = 0.1 * np.arange(1, p + 1)
    Y[48:72, 2] = 0.1
    with pytest.warns(UserWarning, match="6 of 6 targets .* do not vary in some fold"):
        model = RidgeCV(ALPHAS, scoring="correlation", dtype=dtype, fit_intercept=True).fit(X, Y)
    folds = contiguous_blocks(120, 5)
    expected = by_refitting(X, Y[:, :2], folds[1:], "correlation", True)
    np.testing.assert_allclose(model.cv_scores_[:, :2], expected, atol=5e-5)
    expected = by_refitting(X, Y[:, 2:3], [folds[1], *folds[3:]], "correlation", True)
    np.testing.assert_allclose(model.cv_scores_[:, 2:3], expected, atol=5e-5)


# -- voxels and features that cannot be fitted ------------------------------------------------


def test_bad_voxels_are_nan_counted_and_named_and_the_others_untouched():
    X, Y = problem()
    clean = RidgeCV(ALPHAS).fit(X, Y)
    Y[5, 1], Y[:, 3] = np.nan, 4.2
    model = RidgeCV(ALPHAS)
    with pytest.warns(UserWarning, match=r"2 of 6 targets \(columns 1, 3\) are constant or hold NaN: their weights"):
        model.fit(X, Y)
    bad = np.isin(np.arange(6), [1, 3])
    for name in ("coef_", "best_alphas_", "cv_scores_", "intercept_"):
        value = getattr(model, name)
        assert np.isnan(value[..., bad]).all(), name
        np.testing.assert_allclose(value[..., ~bad], getattr(clean, name)[..., ~bad], rtol=0, atol=1e-6)
    assert np.isnan(model.predict(X)[:, bad]).all()


def test_a_voxel_silent_in_one_fold_is_scored_on_the_others_and_named():
    X, Y = problem()
    Y[:24, 2] = 1
    with pytest.warns(UserWarning, match=r"1 of 6 targets \(columns 2\) do not vary in some fold"):
        model = RidgeCV(ALPHAS).fit(X, Y)
    expected = np.mean([SCORES["r2"](Y[te, 2], Ridge(ALPHAS[0], fit_intercept=False).fit(X[tr], Y[tr, 2]).predict(X[te]))
                        for tr, te in contiguous_blocks(120, 5)[1:]])  # fmt: skip
    assert model.cv_scores_[0, 2] == pytest.approx(expected, abs=5e-5)


def test_duplicated_and_constant_columns_share_and_keep_their_meaning():
    X, Y = problem()
    doubled = np.concatenate([X, X, np.ones((120, 1))], axis=1)
    ours = RidgeCV(ALPHAS, dtype="float64").fit(doubled, Y)
    for j, alpha in enumerate(ours.best_alphas_):
        exact = Ridge(alpha, fit_intercept=False).fit(doubled, Y[:, j])
        np.testing.assert_allclose(ours.coef_[:, j], exact.coef_, atol=1e-9)
    np.testing.assert_allclose(ours.coef_[:20], ours.coef_[20:40], atol=1e-9)


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e7, 1e10])
@pytest.mark.parametrize("shape", ["tall", "wide", "few long folds"])
def test_float32_keeps_its_promise_on_badly_conditioned_features(size, shape, condition):
    n, p, v = SHAPES[shape]
    rng = np.random.default_rng(0)
    U, _, Vt = np.linalg.svd(rng.standard_normal((n, p)), full_matrices=False)
    d = np.geomspace(1, condition**-0.5, len(Vt))
    X = (U * d) @ Vt * np.sqrt(condition)  # eigenvalues of X'X from 1 to `condition`; penalties begin at 1
    Y = X @ (Vt.T / d[None] ** 0.5 / condition**0.25) @ rng.standard_normal((len(d), v)) + rng.standard_normal((n, v))
    folds = contiguous_blocks(n, 3, 2)
    single, double = (RidgeCV(ALPHAS, cv=folds, scoring="correlation", dtype=d).fit(X, Y) for d in ("float32", "float64"))
    np.testing.assert_allclose(single.cv_scores_, double.cv_scores_, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alphas": [1, 0]}, "alphas must be positive numbers, at least one; got .* A penalty of zero is not ridge regression"),
        ({"alphas": [-1.0]}, "alphas must be positive numbers"),
        ({"alphas": [np.nan]}, "alphas must be positive numbers"),
        ({"alphas": []}, "alphas must be positive numbers"),
        ({"cv": 500}, "n_folds must be at most the number of TRs, here 120; got 500"),
        ({"scoring": "corelation"}, "scoring must be one of 'r2', 'correlation'; got corelation. Did you mean 'correlation'?"),
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'float64'"),
        ({"device": "tpu"}, "device must be one of 'auto', 'cpu', 'cuda'"),
        ({"n_targets_batch": 0}, "n_targets_batch must be None or a whole number >= 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    X, Y = problem()
    with pytest.raises(InputError, match=message):
        RidgeCV(**{"alphas": ALPHAS, **settings}).fit(X, Y)


def test_impossible_data_are_refused():
    X, Y = problem()
    with pytest.raises(InputError, match=r"X and y must have the same length; got 120 and 119\. Both have one row per TR"):
        RidgeCV(ALPHAS).fit(X, Y[:-1])
    X_nan, Y_inf = X.copy(), Y.copy()
    X_nan[3, 4], Y_inf[5, 0] = np.nan, np.inf
    with pytest.raises(
        InputError, match=r"X must be finite everywhere; got 1 NaN or infinite value\(s\), the first at index \(3, 4\)"
    ):
        RidgeCV(ALPHAS).fit(X_nan, Y)
    with pytest.raises(InputError, match="Y must hold no infinite values"):
        RidgeCV(ALPHAS).fit(X, Y_inf)
    with pytest.raises(InputError, match="y must hold at least one target that varies and is finite"):
        RidgeCV(ALPHAS).fit(X, np.full_like(Y, np.nan))
    with pytest.raises(InputError, match="X must have 20 features, as in fit; got 3"):
        RidgeCV(ALPHAS).fit(torch.from_numpy(X), torch.from_numpy(Y)).predict(torch.from_numpy(X[:, :3]))


def test_penalties_at_the_edge_are_warned_of_with_their_share():
    X, Y = problem(noise=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="100% of the targets chose the smallest penalty, 1: extend alphas"):
            RidgeCV(ALPHAS).fit(X, Y)


# -- a scikit-learn citizen -------------------------------------------------------------------


def test_works_in_pipeline_grid_search_and_cross_val_score():
    X, Y = problem()
    pipeline = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, fit_intercept=True))
    scores = cross_val_score(pipeline, X, Y, cv=leave_one_run_out([0, 40, 80]))
    assert (scores > 0.2).all()
    search = GridSearchCV(pipeline, {"ridgecv__scoring": ["r2", "correlation"]}, cv=3).fit(X, Y)
    assert search.best_score_ > 0.2
    assert clone(pipeline[-1]).alphas is not None
    np.testing.assert_array_equal(clone(pipeline[-1]).fit(X, Y).coef_, RidgeCV(ALPHAS, fit_intercept=True).fit(X, Y).coef_)


@pytest.mark.parametrize("scoring", ["correlation", "r2"])
def test_float32_scores_and_penalties_do_not_depend_on_the_unit_of_the_targets(scoring):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 10))
    Y = X @ rng.standard_normal((10, 6)) + 3 * rng.standard_normal((120, 6))
    units = np.array([1e-25, 1e-12, 3e-11, 1.0, 1e9, 1e15])
    fits = [RidgeCV([1.0, 30.0, 1000.0], scoring=scoring, device="cpu").fit(X, y) for y in (Y, Y * units)]
    np.testing.assert_allclose(fits[1].cv_scores_, fits[0].cv_scores_, atol=1e-6)
    np.testing.assert_array_equal(fits[1].best_alphas_, fits[0].best_alphas_)
    np.testing.assert_allclose(fits[1].coef_ / units, fits[0].coef_, atol=1e-5)
