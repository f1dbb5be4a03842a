"""Every exact way to cross-validate ridge, on both kinds of arrays, gives the result of refitting."""

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
from sklearn.linear_model import Ridge

from neurolm.checks import InputError
from neurolm.encoding.crossval import contiguous_blocks
from neurolm.encoding.nested import NestedRidge
from neurolm.encoding.ridge import blocked_cholesky, onednn_algebra
from neurolm.encoding.ridge.banded_search import fit_banded_cv
from neurolm.encoding.ridge.cost_model import METHODS, cheapest, ridge_costs
from neurolm.encoding.ridge.fold_hats import FoldHats
from neurolm.encoding.ridge.linear_algebra import CpuAlgebra, TorchAlgebra, as_slices, largest_eigenvalue
from neurolm.encoding.ridge.onednn_algebra import MIN_WORK, OneDnnAlgebra, suited_to
from neurolm.encoding.ridge.ridge_search import fit_ridge_cv
from neurolm.encoding.scores import r2_score
from neurolm.statistics import columnwise_correlation

ALPHAS = np.logspace(-1, 4, 6)
SCORES = {"correlation": columnwise_correlation, "r2": r2_score}
ALGEBRAS = {"cpu": CpuAlgebra, "torch": lambda: TorchAlgebra("cpu"), "onednn": OneDnnAlgebra}


def problem(n, p, v=4):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) + 2
    return X, X @ rng.standard_normal((p, v)) * 0.3 + 3 * rng.standard_normal((n, v)) + 5


def scattered_folds(n):
    """Folds that are neither contiguous nor complementary: every other row is not used at all in fold 0."""
    rows = np.arange(n)
    return [
        (rows[(rows % 4 != 1) & (rows % 2 == 0)], rows[rows % 4 == 1]),
        (rows[: n // 2], rows[-n // 5 :]),
        (rows[5:], rows[:5]),
    ]


@pytest.mark.parametrize("algebra", ALGEBRAS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(("n", "p"), [(90, 12), (60, 75)])
def test_all_methods_give_the_scores_and_weights_of_refitting(n, p, fit_intercept, method, algebra):
    X, Y = problem(n, p)
    for folds in (contiguous_blocks(n, 4), contiguous_blocks(n, 4, gap=3), scattered_folds(n)):
        for scoring, score in SCORES.items():
            expected = np.array([
                np.mean([score(Y[te], Ridge(a, fit_intercept=fit_intercept).fit(X[tr], Y[tr]).predict(X[te])) for tr, te in folds], 0)
                for a in ALPHAS
            ])  # fmt: skip
            hats = FoldHats(
                X,
                folds,
                ALPHAS,
                centred=scoring == "correlation",
                fit_intercept=fit_intercept,
                dtype="float64",
                algebra=ALGEBRAS[algebra](),
                n_targets=4,
                method=method,
            )
            found = fit_ridge_cv(hats, Y, scoring=scoring)
            scale = np.maximum(1, np.abs(expected))
            np.testing.assert_allclose(found.scores / scale, expected / scale, rtol=0, atol=1e-9)
            np.testing.assert_array_equal(found.chosen, expected.argmax(0))
        for j, a in enumerate(found.chosen):
            exact = Ridge(ALPHAS[a], fit_intercept=fit_intercept).fit(X, Y[:, j])
            np.testing.assert_allclose(hats.algebra.numpy(found.weights)[j], exact.coef_, atol=1e-8)
            assert found.intercept[j] == pytest.approx(exact.intercept_, abs=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(("n", "p"), [(90, 12), (60, 75)])
def test_penalties_beyond_all_eigenvalues_are_ranked_by_every_method(n, p, fit_intercept, method, dtype):
    """logspace(1, 20) is himalaya's habit: predictions of 1e-20 must not drown beside an intercept."""
    X, Y = problem(n, p)
    X, Y = X - 2, Y - 5 * (not fit_intercept)
    alphas, folds = np.logspace(1, 30, 12), contiguous_blocks(n, 4)
    hats = FoldHats(
        X, folds, alphas, centred=True, fit_intercept=fit_intercept, dtype=dtype, algebra=CpuAlgebra(), n_targets=4, method=method
    )
    found = fit_ridge_cv(hats, Y, scoring="correlation")
    expected = np.mean([ranked_by_axes(X[tr], Y[tr], X[te], Y[te], alphas, fit_intercept) for tr, te in folds], 0)
    np.testing.assert_allclose(found.scores, expected, rtol=0, atol={"float32": 5e-5, "float64": 1e-9}[dtype])


def ranked_by_axes(X, Y, X_test, Y_test, alphas, fit_intercept):
    """Correlations by the singular vectors of the centred training rows: no sum of large and small numbers."""
    mean = X.mean(0) if fit_intercept else 0
    U, s, V = np.linalg.svd(X - mean, full_matrices=False)
    Y = Y - Y.mean(0) if fit_intercept else Y
    weights = [V.T @ ((s / (s**2 / a + 1))[:, None] * (U.T @ Y)) for a in alphas]
    return np.array([columnwise_correlation(Y_test, (X_test - X_test.mean(0)) @ w) for w in weights])


@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_groups_of_folds_give_the_same_as_all_at_once(algebra, monkeypatch):
    X, Y = problem(90, 12)
    settings = {"centred": True, "fit_intercept": True, "dtype": "float64", "algebra": ALGEBRAS[algebra](), "n_targets": 4}
    whole = fit_ridge_cv(FoldHats(X, contiguous_blocks(90, 5), ALPHAS, **settings), Y, scoring="correlation")
    monkeypatch.setattr(FoldHats.groups, "__defaults__", (1,))
    parts = fit_ridge_cv(FoldHats(X, contiguous_blocks(90, 5), ALPHAS, **settings), Y, scoring="correlation")
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-12)
    np.testing.assert_allclose(hats_numpy(parts.weights), hats_numpy(whole.weights), atol=1e-12)


def hats_numpy(x):
    return x if isinstance(x, np.ndarray) else x.numpy()


def test_torch_algebra_serves_banded_and_nested_too(monkeypatch):
    X, Y = problem(90, 12)
    gammas = np.array([[0.5, 0.5], [0.1, 0.9]])
    found = []
    for algebra in ALGEBRAS.values():
        hats = FoldHats(
            X, contiguous_blocks(90, 5), ALPHAS, centred=False, fit_intercept=True, dtype="float64", algebra=algebra(),
            n_targets=4, bands=[slice(0, 5), slice(5, 12)],
        )  # fmt: skip
        banded = fit_banded_cv(hats, Y, gammas, scoring="r2", n_targets_batch=3)
        monkeypatch.setattr("neurolm.encoding.nested.algebra_for", lambda device, X, algebra=algebra: algebra())
        nested = NestedRidge(X, ALPHAS, 4, 3, dtype="float64").score(Y)
        found.append((banded.scores, hats_numpy(banded.weights), banded.intercept, nested.scores, nested.best_alphas))
    for cpu, *others in zip(*found):
        for other in others:
            np.testing.assert_allclose(other, cpu, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_factorisations_agree_with_scipy(algebra, dtype):
    a, rng = ALGEBRAS[algebra](), np.random.default_rng(0)
    X = rng.standard_normal((700, 300))
    gram, right = X.T @ X, rng.standard_normal((300, 11))
    factor = a.cholesky(a.array(gram, dtype), 3.0)
    exact = scipy.linalg.inv(gram + 3 * np.eye(300))
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(a.numpy(a.divide_right(a.array(right.T.copy(), dtype), factor)), right.T @ exact, atol=tolerance)
    np.testing.assert_allclose(a.numpy(a.inverse_of(a.array(gram.copy(), dtype), 3.0)), exact, atol=tolerance)
    np.testing.assert_allclose(a.numpy(a.gram(a.array(X, dtype))), gram, rtol=1e-4, atol=1e-2)
    values, _ = a.eigh(a.array(gram, dtype))
    np.testing.assert_allclose(a.numpy(values), scipy.linalg.eigvalsh(gram), rtol=1e-4)
    assert largest_eigenvalue(a.array(gram, dtype)) == pytest.approx(float(values[-1]), rel=0.05)
    with pytest.raises(InputError, match="alphas must be large enough"):
        a.cholesky(a.array(-gram, dtype), 1.0)


@pytest.mark.parametrize("algebra", [CpuAlgebra, OneDnnAlgebra])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("block", [50, 170])
def test_a_large_inverse_in_blocks_is_as_exact_as_one_by_lapack(block, dtype, algebra, monkeypatch):
    monkeypatch.setattr(algebra, "blocked_from", 2)
    monkeypatch.setattr(blocked_cholesky, "BLOCK", block)
    a, X = algebra(), np.random.default_rng(0).standard_normal((330, 320))
    gram = X @ X.T
    exact = scipy.linalg.inv(gram + np.eye(330))
    condition = np.linalg.cond(gram + np.eye(330))
    found = a.inverse_of(gram.astype(dtype), 1.0)
    assert np.abs(found - exact).max() / np.abs(exact).max() < condition * np.finfo(dtype).eps
    np.testing.assert_array_equal(found, found.T)
    scaled = a.inverse_of(gram.astype(dtype), 0.5, 0.5, out=np.empty((330, 330), dtype))
    np.testing.assert_allclose(scaled / 2, found, atol=condition * np.finfo(dtype).eps * np.abs(exact).max())
    right = np.random.default_rng(1).standard_normal((7, 330)).astype(dtype)
    solved = a.divide_right(right.copy(), a.cholesky(gram.astype(dtype), np.ones(330)))
    assert np.abs(solved - right @ exact).max() / np.abs(right @ exact).max() < condition * np.finfo(dtype).eps
    with pytest.raises(InputError, match="alphas must be large enough"):
        a.inverse_of(-gram, 1.0)
    with pytest.raises(InputError, match="alphas must be large enough"):
        a.cholesky(-gram, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_same_in_blocks(method, monkeypatch):
    X, Y = problem(60, 45)
    settings = {"centred": True, "fit_intercept": True, "dtype": "float64", "n_targets": 4, "method": method}
    found = []
    for blocked_from in (CpuAlgebra.blocked_from, 2):
        monkeypatch.setattr(CpuAlgebra, "blocked_from", blocked_from)
        monkeypatch.setattr(blocked_cholesky, "BLOCK", 7)
        hats = FoldHats(X, contiguous_blocks(60, 4), ALPHAS, algebra=CpuAlgebra(), **settings)
        found.append(fit_ridge_cv(hats, Y, scoring="correlation"))
    np.testing.assert_allclose(found[1].scores, found[0].scores, atol=1e-10)
    np.testing.assert_allclose(found[1].weights, found[0].weights, atol=1e-9)


@pytest.mark.parametrize("algebra", ALGEBRAS)
def test_products_of_any_layout_agree_with_numpy(algebra):
    a, rng = ALGEBRAS[algebra](), np.random.default_rng(0)
    layouts = [lambda x: x, lambda x: a.copy(x.T).T, lambda x: a.array(np.repeat(hats_numpy(x), 2, axis=1), "float64")[:, ::2]]
    left, right = a.array(rng.standard_normal((7, 5)), "float64"), a.array(rng.standard_normal((5, 3)), "float64")
    expected = hats_numpy(left) @ hats_numpy(right)
    for one in layouts:
        for other in layouts:
            np.testing.assert_allclose(hats_numpy(a.multiply(one(left), other(right))), expected, atol=1e-12)
            out = a.empty((7, 3), "float64")
            assert a.multiply(one(left), other(right), out=out) is out
            np.testing.assert_allclose(hats_numpy(out), expected, atol=1e-12)


def test_rows_become_the_fewest_slices():
    assert as_slices(np.array([0, 1, 2, 5, 6, 9])) == [slice(0, 3), slice(5, 7), slice(9, 10)]


# -- which method -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "p", "n_folds", "n_targets", "expected"),
    [
        (3000, 200, 5, 5000, "primal_downdate"),  # long folds: a p x p factor is cheaper than one of the held-out rows
        (3000, 1024, 60, 5000, "primal_leave_out"),  # many short folds: one eigendecomposition serves them all
        (3000, 9000, 5, 5000, "dual_leave_out"),
        (3000, 9000, 2, 5000, "dual_downdate"),
    ],
)
def test_the_cheapest_method_is_chosen(n, p, n_folds, n_targets, expected):
    costs = ridge_costs(n, p, n_targets, 10, contiguous_blocks(n, n_folds))
    assert cheapest(costs).method == expected


def test_costs_are_those_counted_by_hand():
    n, p, v, A, K = 3000, 1024, 5000, 10, 5
    cost = ridge_costs(n, p, v, A, contiguous_blocks(n, K))["primal_downdate"]
    n_out = n // K
    assert cost.scoring == pytest.approx(2 * n * p * v + 2 * n * p * v * A)
    assert cost.setup == pytest.approx(n * p**2 + K * n_out * p**2 + A * K * (p**3 / 3 + 2 * n_out * p**2))
    assert cost.refit == pytest.approx(A * p**3 / 3 + 2 * p**2 * v)


def test_float32_avoids_the_primal_with_hardly_more_rows_than_features():
    X, _ = problem(100, 78)
    settings = {"centred": True, "fit_intercept": False, "algebra": CpuAlgebra(), "n_targets": 10**6}
    single = FoldHats(X, contiguous_blocks(100, 5), ALPHAS, dtype="float32", **settings)
    double = FoldHats(X, contiguous_blocks(100, 5), ALPHAS, dtype="float64", **settings)
    assert not single.is_primal
    assert double.is_primal


def test_precision_of_each_penalty_follows_the_condition():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 600)).astype(np.float32)
    d_max = np.linalg.eigvalsh(X.T @ X)[-1]
    alphas = d_max / np.array([1e5, 1.3e4, 1e4 / 1.3, 10])
    hats = FoldHats(
        X,
        contiguous_blocks(3000, 5),
        alphas,
        centred=True,
        fit_intercept=False,
        dtype="float32",
        algebra=CpuAlgebra(),
        n_targets=10,
    )
    assert hats.design.wide.tolist() == [True, True, False, False]
    assert [hats.design.setup_dtype(a) for a in range(4)] == ["float64", "float64", "float32", "float32"]


@pytest.mark.parametrize("algebra", [CpuAlgebra, OneDnnAlgebra])
@pytest.mark.parametrize("decay", [0.5, 1.0])
@pytest.mark.parametrize(("n", "p"), [(900, 350), (500, 800)])
def test_float32_keeps_its_promise_where_factors_are_float32_too(n, p, decay, algebra):
    """Smooth features with power-law spectra, penalties on both sides of the limit."""
    rng = np.random.default_rng(0)
    A = scipy.signal.lfilter([1], [1, -0.7], rng.standard_normal((n, p)), axis=0)
    X = (A * np.arange(1, p + 1) ** -decay) @ np.linalg.qr(rng.standard_normal((p, p)))[0]
    X /= X.std(0)
    Y = X @ rng.standard_normal((p, 60)) / np.sqrt(p) * 0.5 + rng.standard_normal((n, 60))
    alphas = np.linalg.eigvalsh(X.T @ X)[-1] / np.array([1e6, 1e5, 1e4, 3.9e3, 1e3, 1e2])
    found = []
    for dtype in ("float32", "float64"):
        hats = FoldHats(
            X, contiguous_blocks(n, 5), alphas, centred=True, fit_intercept=True, dtype=dtype, algebra=algebra(), n_targets=60
        )
        found.append(fit_ridge_cv(hats, Y, scoring="correlation"))
        assert dtype == "float64" or 0 < hats.design.wide.sum() < 6  # some of either kind
    np.testing.assert_allclose(found[0].scores, found[1].scores, rtol=0, atol=5e-5)
    assert (found[0].chosen == found[1].chosen).mean() > 0.98


def test_only_large_fits_in_float32_go_to_onednn_and_only_where_it_is_faster(monkeypatch):
    cpu, gpu = CpuAlgebra(), TorchAlgebra("cpu")
    monkeypatch.setattr("neurolm.products._enabled", True)
    assert isinstance(suited_to(cpu, "float32", MIN_WORK), OneDnnAlgebra)
    assert suited_to(cpu, "float32", MIN_WORK * 0.99) is cpu
    assert suited_to(cpu, "float64", MIN_WORK) is cpu
    assert suited_to(gpu, "float32", MIN_WORK) is gpu
    monkeypatch.setattr("neurolm.products._enabled", False)
    assert suited_to(cpu, "float32", MIN_WORK) is cpu


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_same_scores_by_onednn(method, monkeypatch):
    """Sizes at which factors are float32 and go in blocks; a design that may not be written to."""
    X, Y = (a.astype(np.float32) for a in problem(700, 300))
    X.flags.writeable = False
    settings = {"centred": True, "fit_intercept": True, "dtype": "float32", "n_targets": 4, "method": method}
    alphas, found = np.logspace(2, 5, 4), []
    for least in (MIN_WORK, 0.0):
        monkeypatch.setattr(onednn_algebra, "MIN_WORK", least)
        hats = FoldHats(X, contiguous_blocks(700, 2), alphas, algebra=CpuAlgebra(), **settings)
        found.append(fit_ridge_cv(hats, Y, scoring="correlation"))
    np.testing.assert_allclose(found[1].scores, found[0].scores, atol=2e-6)
    np.testing.assert_allclose(found[1].weights, found[0].weights, atol=2e-6)
