import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score

from neurolm.checks import InputError
from neurolm.encoding import BandedRidgeCV, RidgeCV, contiguous_blocks, r2_score
from neurolm.encoding.ridge.banded_ridge_cv import product_measure
from neurolm.encoding.ridge.banded_search import dirichlet_gammas

ALPHAS = np.logspace(0, 4, 5)
BANDS = {"sound": slice(0, 8), "words": slice(8, 30)}

pytestmark = pytest.mark.filterwarnings("ignore:.*extend alphas:UserWarning")


def problem(n=120, widths=(8, 22), v=6, noise=3.0, offset=0.0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, sum(widths))) + offset
    W = rng.standard_normal((sum(widths), v))
    W[: widths[0], : v // 2] = 0  # half of the targets know nothing of the first space
    return X, X @ W + noise * rng.standard_normal((n, v)) + offset


def himalaya_fit(X, Y, kind, scoring, n_iter, fit_intercept=False):
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from himalaya.ridge import GroupRidgeCV
    from himalaya.scoring import correlation_score
    from himalaya.scoring import r2_score as himalaya_r2

    set_backend("numpy")
    params = {"alphas": ALPHAS, "n_iter": n_iter, "score_func": {"correlation": correlation_score, "r2": himalaya_r2}[scoring]}
    params["progress_bar"] = False
    if kind == "group":
        groups = np.repeat([0, 1], [8, X.shape[1] - 8])
        model = GroupRidgeCV(
            groups, solver_params=params | {"warn": False}, cv=KFold(5), random_state=3, fit_intercept=fit_intercept
        )
        return model.fit(X, Y)
    K = np.stack([X[:, band] @ X[:, band].T for band in (slice(0, 8), slice(8, None))])
    model = MultipleKernelRidgeCV("precomputed", solver_params=params, cv=KFold(5), random_state=3, fit_intercept=fit_intercept)
    return model.fit(K, Y)


@pytest.mark.parametrize("n_bands", [2, 3, 5])
@pytest.mark.parametrize("n_draws", [1, 7, 20])
def test_draws_are_those_of_himalaya(n_draws, n_bands):
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import generate_dirichlet_samples

    set_backend("numpy")
    theirs = generate_dirichlet_samples(n_draws, n_bands, [0.1, 1.0], random_state=11)
    theirs[0] = 1 / n_bands
    np.testing.assert_array_equal(dirichlet_gammas(n_draws, n_bands, (0.1, 1.0), seed=11), theirs)


@pytest.mark.parametrize("least_work", [1e10, 0])
@pytest.mark.parametrize("scoring", ["correlation", "r2"])
@pytest.mark.parametrize(("widths", "kind"), [((8, 22), "group"), ((8, 300), "kernel")])
def test_same_result_as_himalaya(widths, kind, scoring, least_work, monkeypatch):
    monkeypatch.setattr("neurolm.encoding.ridge.onednn_algebra.MIN_WORK", least_work)
    X, Y = problem(widths=widths)
    bands = {"sound": slice(0, 8), "words": slice(8, sum(widths))}
    peer = himalaya_fit(X, Y, kind, scoring, n_iter=12)
    for dtype, atol in (("float64", 1e-8), ("float32", 5e-5)):
        ours = BandedRidgeCV(bands, ALPHAS, n_iter=12, cv=5, scoring=scoring, random_state=3, dtype=dtype).fit(X, Y)
        scale = max(1, np.abs(peer.cv_scores_).max())
        np.testing.assert_allclose(ours.cv_scores_, peer.cv_scores_, rtol=0, atol=atol * scale)  # theirs carry 1e-10 log(alpha)
        np.testing.assert_allclose(ours.deltas_, peer.deltas_, rtol=1e-5)
        np.testing.assert_allclose(ours.best_alphas_, peer.best_alphas_, rtol=1e-5)
        coef = peer.coef_ if kind == "group" else None
        if coef is not None:
            np.testing.assert_allclose(ours.coef_, coef, rtol=0, atol=10 * atol)
    assert ours.method_.startswith("primal" if kind == "group" else "dual")


@pytest.mark.parametrize("widths", [(8, 22), (8, 300)])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_weights_are_those_of_ridge_on_weighted_features(widths, fit_intercept):
    X, Y = problem(widths=widths, offset=2.0 * fit_intercept)
    bands = [slice(0, 8), slice(8, sum(widths))]
    model = BandedRidgeCV(bands, ALPHAS, n_iter=8, fit_intercept=fit_intercept, dtype="float64").fit(X, Y)
    for j in range(Y.shape[1]):
        root = np.sqrt(np.repeat(model.best_gammas_[:, j], widths))
        exact = Ridge(model.best_alphas_[j], fit_intercept=fit_intercept).fit(X * root, Y[:, j])
        np.testing.assert_allclose(model.coef_[:, j], exact.coef_ * root, rtol=0, atol=1e-8)
        np.testing.assert_allclose(model.intercept_[j], exact.intercept_, rtol=0, atol=1e-7)
        scores = [
            r2_score(Y[te, j], Ridge(model.best_alphas_[j], fit_intercept=fit_intercept).fit(X[tr] * root, Y[tr, j]).predict(X[te] * root))
            for tr, te in contiguous_blocks(len(X), 5)
        ]  # fmt: skip
        assert model.cv_scores_[:, j].max() == pytest.approx(np.mean(scores), abs=1e-9)


@pytest.mark.parametrize("widths", [(8, 22), (8, 300)])
def test_tiny_weights_and_huge_penalties_stay_finite(widths):
    X, Y = problem(widths=widths)
    bands = [slice(0, 8), slice(8, sum(widths))]
    gammas = [[1 - 1e-12, 1e-12], [1e-30, 1.0]]
    found = [
        BandedRidgeCV(bands, np.logspace(1, 20, 8), n_iter=gammas, scoring="correlation", dtype=dtype).fit(X, Y)
        for dtype in ("float32", "float64")
    ]
    np.testing.assert_allclose(found[0].cv_scores_, found[1].cv_scores_, atol=5e-5)
    assert np.isfinite(found[0].coef_).all()


def test_one_band_is_ridge():
    X, Y = problem()
    banded = BandedRidgeCV(None, ALPHAS, n_iter=1, dtype="float64").fit(X, Y)
    plain = RidgeCV(ALPHAS, dtype="float64").fit(X, Y)
    np.testing.assert_allclose(banded.coef_, plain.coef_, atol=1e-10)
    np.testing.assert_array_equal(banded.best_alphas_, plain.best_alphas_)


def test_a_space_that_explains_nothing_loses_its_weight():
    X, Y = problem(n=400, v=20, noise=6.0)
    model = BandedRidgeCV(BANDS, ALPHAS, n_iter=30).fit(X, Y)
    knows_nothing, knows_both = model.best_gammas_[0, :10], model.best_gammas_[0, 10:]
    assert np.median(knows_nothing) < 0.05 < np.median(knows_both)


def test_product_measure_sums_to_the_joint_r2_and_finds_the_planted_shares():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 30))
    W = rng.standard_normal((30, 4)) * np.repeat([2.0, 1.0], [8, 22])[:, None]
    Y = X @ W + 8 * rng.standard_normal((6000, 4)) + 1
    model = BandedRidgeCV(BANDS, ALPHAS, n_iter=10, fit_intercept=True).fit(X[:4000], Y[:4000])
    split = model.product_measure(X[4000:], Y[4000:])
    joint = r2_score(Y[4000:], model.predict(X[4000:]))
    np.testing.assert_allclose(sum(split.values()), joint, atol=1e-6)
    planted = {name: (W[band] ** 2).sum(0) / ((W**2).sum(0) + 64) for name, band in BANDS.items()}
    for name in BANDS:
        np.testing.assert_allclose(split[name], planted[name], atol=0.05)


def test_product_measure_agrees_with_himalaya_on_centred_targets():
    from himalaya.backend import set_backend
    from himalaya.scoring import r2_score_split

    set_backend("numpy")
    rng = np.random.default_rng(0)
    Y, parts = rng.standard_normal((50, 3)), rng.standard_normal((4, 50, 3))
    Y -= Y.mean(0)
    np.testing.assert_allclose(product_measure(Y, parts), r2_score_split(Y, parts), atol=1e-12)


def test_an_exact_zero_weight_switches_a_space_off():
    X, Y = problem()
    model = BandedRidgeCV(BANDS, ALPHAS, n_iter=[[0.0, 1.0]], dtype="float64").fit(X, Y)
    alone = RidgeCV(ALPHAS, dtype="float64").fit(X[:, 8:], Y)
    assert (model.coef_[:8] == 0).all()
    np.testing.assert_allclose(model.coef_[8:], alone.coef_, atol=1e-9)
    np.testing.assert_allclose(model.cv_scores_[0], alone.cv_scores_.max(0), atol=1e-9)


def test_targets_in_batches_give_the_same():
    X, Y = problem(v=10)
    whole = BandedRidgeCV(BANDS, ALPHAS, n_iter=6).fit(X, Y)
    parts = BandedRidgeCV(BANDS, ALPHAS, n_iter=6, n_targets_batch=3).fit(X, Y)
    np.testing.assert_allclose(whole.cv_scores_, parts.cv_scores_, atol=1e-6)
    np.testing.assert_array_equal(whole.deltas_, parts.deltas_)


def test_targets_searched_one_share_after_the_other_give_the_same(monkeypatch):
    from neurolm.encoding.ridge import banded_search

    X, Y = problem(v=10)
    whole = BandedRidgeCV(BANDS, ALPHAS, n_iter=6).fit(X, Y)
    monkeypatch.setattr(banded_search, "STATISTICS_BYTES", 1)
    parts = BandedRidgeCV(BANDS, ALPHAS, n_iter=6, n_targets_batch=4).fit(X, Y)
    np.testing.assert_allclose(whole.coef_, parts.coef_, atol=1e-5)
    np.testing.assert_array_equal(whole.best_alphas_, parts.best_alphas_)


def test_kernels_made_anew_for_each_draw_give_the_same(monkeypatch):
    from neurolm.encoding.ridge import prepared_design

    X, Y = problem(widths=(8, 300))
    bands = [slice(0, 8), slice(8, 308)]
    kept = BandedRidgeCV(bands, ALPHAS, n_iter=4).fit(X, Y)
    monkeypatch.setattr(prepared_design, "BANDS_BYTES", 0)
    np.testing.assert_allclose(BandedRidgeCV(bands, ALPHAS, n_iter=4).fit(X, Y).cv_scores_, kept.cv_scores_, atol=1e-6)


def test_torch_in_torch_out():
    X, Y = (a.astype(np.float32) for a in problem())
    ours = BandedRidgeCV(BANDS, ALPHAS, n_iter=4).fit(X, Y)
    theirs = BandedRidgeCV(BANDS, ALPHAS, n_iter=4).fit(torch.from_numpy(X), torch.from_numpy(Y))
    for name in ("coef_", "deltas_", "cv_scores_"):
        np.testing.assert_array_equal(getattr(theirs, name).numpy(), getattr(ours, name))
    assert theirs.predict(torch.from_numpy(X)).shape == (120, 6)


def test_bad_voxels_are_nan_and_named():
    X, Y = problem()
    clean = BandedRidgeCV(BANDS, ALPHAS, n_iter=4).fit(X, Y)
    Y[7, 2] = np.nan
    with pytest.warns(UserWarning, match=r"1 of 6 targets \(columns 2\) are constant or hold NaN"):
        model = BandedRidgeCV(BANDS, ALPHAS, n_iter=4).fit(X, Y)
    bad = np.arange(6) == 2
    for name in ("coef_", "deltas_", "best_gammas_", "cv_scores_", "best_alphas_"):
        value = getattr(model, name)
        assert np.isnan(value[..., bad]).all(), name
        np.testing.assert_allclose(value[..., ~bad], getattr(clean, name)[..., ~bad], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_slices": {"a": slice(0, 8)}}, "feature_slices must be slices that cover each of the 30 features once"),
        ({"feature_slices": [slice(0, 10), slice(8, 30)]}, "cover each of the 30 features once"),
        ({"feature_slices": [[0, 1], slice(2, 30)]}, "cover each of the 30 features once"),
        ({"n_iter": 0}, "n_iter must be >= 1 draws"),
        ({"n_iter": [[0.5, 0.2, 0.3]]}, r"n_iter must be an int or weights >= 0 of shape \(n_draws, 2\)"),
        ({"n_iter": [[-0.5, 1.5]]}, "n_iter must be an int or weights >= 0"),
        ({"concentration": 0.0}, "concentration must be positive"),
        ({"alphas": [0.0]}, "alphas must be positive numbers"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    X, Y = problem()
    with pytest.raises(InputError, match=message):
        BandedRidgeCV(**{"feature_slices": BANDS, "alphas": ALPHAS, "n_iter": 3, **settings}).fit(X, Y)


def test_clone_and_cross_val_score():
    X, Y = problem()
    model = BandedRidgeCV(BANDS, ALPHAS, n_iter=3, fit_intercept=True)
    assert (cross_val_score(clone(model), X, Y, cv=3) > 0.3).all()
