from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.encoding.held_out import held_out_scores, nested_folds, nested_ridge
from neurolm.encoding.penalty_grid import START, penalty_grid

FOLDS = nested_folds([0], 300)


def planted(scale, n_targets=40, seed=0):
    """Features of unequal variance and targets that follow them: the best penalty is about 50 * scale^2."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, 100)) / np.sqrt(np.arange(1, 101))
    Y = X @ rng.standard_normal((100, n_targets)) / np.sqrt(5.2) + 3 * rng.standard_normal((300, n_targets))
    return (scale * X).astype("f4"), Y.astype("f4")


def make(X):
    return lambda alphas: nested_ridge(X, FOLDS, alphas, standardize=False, device="cpu")


@pytest.mark.parametrize(("scale", "end"), [(0.03, "low"), (10.0, "inside"), (3e3, "high")])
def test_the_grid_reaches_the_best_penalty_whatever_the_unit_of_the_features(scale, end):
    X, Y = planted(scale)
    grid = penalty_grid(make(X), Y)
    assert (grid[0] < START[0]) == (end == "low")
    assert (grid[-1] > START[-1]) == (end == "high")
    wide = held_out_scores(make(X)(tuple(np.logspace(-9, 12, 43))), Y)  # the truth: a grid that is wide enough for all three
    assert held_out_scores(make(X)(grid), Y).inner_scores.mean() == pytest.approx(wide.inner_scores.mean(), abs=2e-3)


def test_a_grid_that_contains_the_best_penalties_stays_as_it_is():
    X, Y = planted(10.0)
    assert penalty_grid(make(X), Y) == START


def test_steps_of_an_extended_grid_are_those_of_its_start():
    X, Y = planted(3e3)
    grid = np.array(penalty_grid(make(X), Y))
    np.testing.assert_allclose(grid[1:] / grid[:-1], np.sqrt(10), rtol=1e-6)
    assert set(START) <= set(grid)


def test_targets_that_nothing_predicts_do_not_extend_the_grid_without_end():
    X, Y = planted(1.0)
    noise = np.random.default_rng(1).standard_normal(Y.shape).astype("f4")
    assert len(penalty_grid(make(X), noise)) <= len(START) + 8


def test_a_grid_is_not_extended_to_penalties_that_cannot_be_computed():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.standard_normal((300, 900)), axis=0)  # more columns than rows, of eigenvalues over many decades
    Y = smooth[:, :20] + 0.01 * rng.standard_normal((300, 20))  # small penalties are best
    grid = penalty_grid(partial(nested_ridge, smooth, FOLDS, device="cpu"), Y, (1.0, 10.0, 100.0))
    assert grid[0] >= 1e-7 * 300 * 900
    assert np.isfinite(held_out_scores(nested_ridge(smooth, FOLDS, grid, device="cpu"), Y).scores).all()


def test_evaluate_extends_its_grid_unless_one_is_given(rng_runs):
    features, runs = rng_runs
    settings = EvaluationSettings(n_permutations=0, n_subject_permutations=0, n_bootstrap=10, device="cpu")
    small = [replace(f, values=1e-4 * f.values) for f in features]  # z-scored by the design: the unit does not matter there
    free = evaluate({"a": features}, runs, settings=settings)
    assert free.settings["alphas"] is None
    np.testing.assert_allclose(evaluate({"a": small}, runs, settings=settings).alphas, free.alphas)
    given = evaluate({"a": features}, runs, settings=replace(settings, alphas=(1.0, 10.0)))
    assert given.alphas.tolist() == [1.0, 10.0]


@pytest.fixture
def rng_runs():
    from neurolm.brain import BoldRun, Regions
    from neurolm.features import Features

    rng = np.random.default_rng(0)
    times = 2.0 * np.arange(200)
    features = [Features(rng.standard_normal((600, 3)), np.sort(rng.uniform(0, 400, 600)))]
    run = BoldRun(rng.standard_normal((200, 2)), times, Regions(("x", "y")), "s1", "story")
    return features, {"s1": [run]}
