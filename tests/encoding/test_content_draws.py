"""Content-free draws: planted content is found, signal of word rate alone is not, and scores are those of nested ridge."""

from dataclasses import replace

import numpy as np

from neurolm.brain import BoldRun, Regions
from neurolm.encoding.content_draws import WordKernels, content_scores, n_content_draws, word_lags
from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
from neurolm.encoding.held_out import held_out_scores, nested_folds, nested_ridge
from neurolm.encoding.kernel_scores import KernelFolds
from neurolm.features import Features
from neurolm.statistics import ar1_noise
from neurolm.temporal import delay_run, lanczos_matrix

N, TR = 150, 2.0
TIMES = TR * np.arange(N)
SETTINGS = EvaluationSettings(
    alphas=(1.0, 10.0, 100.0, 1000.0, 1e4), n_folds=3, n_inner_folds=3, n_permutations=0, n_bootstrap=0, n_content_free=39
)
FOLDS = nested_folds([0], N, 3, 3)


def story(seed=0, n_words=500, n_features=4):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, N * TR, n_words))
    return Features(ar1_noise(rng.standard_normal((n_words, n_features)), 0.5) + 2.0, times)


def delayed(values, times):
    grid = TR * np.arange(-4, N) + TR / 2
    return delay_run(lanczos_matrix(times, grid) @ values, [1, 2, 3, 4])[4:]


def driven(values, times, rng, strength=1.5):
    X = delayed(values, times)
    signal = X @ rng.standard_normal((X.shape[1], 1))
    return strength * (signal - signal.mean(0)) / signal.std(0) + ar1_noise(rng.standard_normal((N, 1)), 0.5)


def scores(features, Y, n_draws=39, seed=0):
    return content_scores(["one"], lambda _: [features], [TIMES], Y, FOLDS, SETTINGS, n_draws=n_draws, seed=seed)


def test_planted_content_lies_above_every_draw_and_word_rate_above_few():
    rng = np.random.default_rng(0)
    features = story()
    content = features.values - features.values.mean(0)
    Y = np.concatenate([driven(content, features.times, rng), driven(np.ones((500, 1)), features.times, rng)], axis=1)
    found = scores(features, Y)
    assert found.p_values[0] == found.smallest_p == 1 / 40
    assert found.p_values[1] > 0.05
    assert found.r[0] > 0.5
    assert abs(found.r[1]) < 0.3  # of the signal's .7 or so: word rate is in no feature


def test_scores_are_those_of_nested_ridge_on_the_delayed_features():
    """The same folds, penalties and features through `nested_ridge`, in float64: correlations agree to 1e-4."""
    rng = np.random.default_rng(0)
    for features, Y in ((story(), rng.standard_normal((N, 3))), (story(n_features=60), 5 * rng.standard_normal((N, 2)) + 3)):
        kernels, lag = WordKernels([features], [TIMES], SETTINGS), 123
        values = (features.values - features.values.mean(0)) / features.values.std(0)
        scale = np.sqrt(np.square(lanczos_matrix(features.times, TR * np.arange(-4, N) + TR / 2)).sum() / (N + 4))
        X = delayed(np.roll(values, lag, axis=0) / scale, features.times)
        expected = held_out_scores(nested_ridge(X, FOLDS, SETTINGS.alphas, standardize=False, dtype="float64"), Y)
        inner, outer = KernelFolds(FOLDS, SETTINGS.alphas, N).scores(kernels.at(np.array([lag])), Y)
        np.testing.assert_allclose(inner, expected.inner_scores, atol=1e-4)
        np.testing.assert_allclose(outer, expected.fold_scores, atol=1e-4)


def test_each_fold_takes_the_set_that_does_best_inside_it_in_the_draws_too():
    rng = np.random.default_rng(0)
    features, other = story(), story(1)
    other = Features(other.values, features.times)
    Y = driven(features.values - features.values.mean(0), features.times, rng)
    sets = {"other": [other], "true": [features]}
    both = content_scores(list(sets), sets.__getitem__, [TIMES], Y, FOLDS, SETTINGS, n_draws=20)
    alone = scores(features, Y, 20)
    np.testing.assert_allclose(both.r, alone.r, atol=1e-6)
    assert not np.allclose(both.draws, alone.draws)


def test_lags_leave_out_the_measured_words_and_their_neighbours_and_stories_move_by_their_own():
    lags = word_lags([story(), story(1, 300)], [TIMES, TIMES], 50, 0)
    least = int(np.ceil(800 / (np.ptp(story().times) + np.ptp(story(1, 300).times)) * TR * 5))
    assert not lags[0].any()
    near = np.minimum(lags[1:], np.array([500, 300]) - lags[1:])
    assert (near.max(1) >= least).all()
    assert len(np.unique(lags, axis=0)) == 51


def test_voxels_that_are_constant_or_nan_have_no_score_and_no_p():
    Y = np.random.default_rng(0).standard_normal((N, 3))
    Y[:, 1], Y[3, 2] = 4.0, np.nan
    found = scores(story(), Y, 19)
    assert np.isfinite(found.p_values).tolist() == [True, False, False]


def test_long_runs_and_whole_brains_get_draws_only_when_asked():
    assert n_content_draws(replace(SETTINGS, n_content_free=None), 362, 6) == 0
    tested = replace(SETTINGS, n_content_free=None, n_permutations=99)
    assert n_content_draws(tested, 362, 6) == 199
    assert n_content_draws(tested, 3000, 6) == 0
    assert n_content_draws(tested, 362, 50_000) == 0
    assert n_content_draws(replace(SETTINGS, n_content_free=50), 3000, 50_000) == 50


def test_an_evaluation_keeps_its_draws_in_its_file_and_reads_files_without_them(tmp_path):
    rng = np.random.default_rng(0)
    features = story()
    content = features.values - features.values.mean(0)
    run = BoldRun(driven(content, features.times, rng), TIMES, Regions(("one",)), "a", "story")
    found = evaluate({"layer 0": [features]}, {"a": [run]}, settings=SETTINGS)
    found.save(tmp_path / "scores.h5")
    again = Evaluation.load(tmp_path / "scores.h5").scored[0].content_free
    np.testing.assert_array_equal(again.draws, found.scored[0].content_free.draws)
    assert again.p_values[0] == 1 / 40
    none = evaluate({"layer 0": [features]}, {"a": [run]}, settings=replace(SETTINGS, n_content_free=0))
    none.save(tmp_path / "none.h5")
    assert Evaluation.load(tmp_path / "none.h5").scored[0].content_free is None


def test_feature_sets_that_a_killed_run_had_drawn_are_not_drawn_again(tmp_path, monkeypatch):
    from neurolm.encoding import content_draws

    features, Y = story(), np.random.default_rng(0).standard_normal((N, 2))
    sets = {"a": [features], "b": [Features(features.values[::-1].copy(), features.times)]}
    counted, made = [], content_draws.WordKernels
    monkeypatch.setattr(content_draws, "WordKernels", lambda *args: counted.append(1) or made(*args))
    draw = lambda names: content_scores(names, sets.__getitem__, [TIMES], Y, FOLDS, SETTINGS, n_draws=9, keep=tmp_path)  # noqa: E731
    draw(["a"])
    both = draw(["a", "b"])
    assert len(counted) == 2
    np.testing.assert_array_equal(draw(["a", "b"]).draws, both.draws)
    assert len(counted) == 2
