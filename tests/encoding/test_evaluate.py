from dataclasses import replace

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions, subject_ceilings
from neurolm.checks import InputError
from neurolm.encoding.crossval import leave_one_run_out
from neurolm.encoding.design import Design
from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
from neurolm.encoding.ridge.ridge_cv import RidgeCV
from neurolm.encoding.scores import correlation_score
from neurolm.features import Features

N_TRS, TR, SUBJECTS = 240, 2.0, ("a", "b", "c", "d", "e")
REGIONS = Regions(("strong", "weak", "none"))
SIGNAL = np.array([1.0, 0.6, 0.0])  # planted standard deviation over noise of 1
SETTINGS = EvaluationSettings(
    alphas=(10.0, 100.0, 1000.0), n_permutations=59, n_subject_permutations=19, n_bootstrap=200, n_content_free=0
)


def features(rng, n_features=6):
    times = np.sort(rng.uniform(0, N_TRS * TR, 1200))
    return Features(rng.standard_normal((1200, n_features)), times)


def slow_noise(rng, n_trs=N_TRS):
    raw = rng.standard_normal((n_trs + 2, 3))
    return (raw[2:] + raw[1:-1] + raw[:-2]) / np.sqrt(3)


def listeners(rng, driver, tr_times=None):
    times = TR * np.arange(N_TRS) if tr_times is None else tr_times
    X = Design.from_training([driver], [times]).transform(driver, times)
    signal = X @ rng.standard_normal((X.shape[1], 3))
    signal = (signal - signal.mean(0)) / signal.std(0) * SIGNAL
    runs = {}
    for name in SUBJECTS:
        data = signal + slow_noise(rng)
        runs[name] = [BoldRun((data - data.mean(0)) / data.std(0), times, REGIONS, name, "story")]
    return runs


@pytest.fixture(scope="module")
def evaluation():
    rng = np.random.default_rng(0)
    truth, other = features(rng), features(rng)
    rate = Features(np.ones((1200, 1)), truth.times)
    sets = {"other": [other], "truth": [truth]}
    return evaluate(sets, listeners(rng, truth), baselines={"word rate": [rate]}, settings=SETTINGS)


def test_planted_regions_reach_near_the_ceiling_that_belongs_to_them(evaluation):
    mean, single = evaluation.scored
    assert (mean.who, single.who) == ("mean listener", "single listeners")
    n = len(SUBJECTS)
    share = SIGNAL**2 / (1 + SIGNAL**2)
    expected = {"mean listener": np.sqrt(n * share / (1 + (n - 1) * share)), "single listeners": np.sqrt(share)}
    for scored in (mean, single):
        np.testing.assert_allclose(scored.ceiling[:2], expected[scored.who][:2], atol=0.08)
        assert (scored.r[1, :2] > 0.75 * scored.ceiling[:2]).all()
        assert (scored.r[1, :2] < scored.ceiling[:2] + 0.02).all()
        assert "ρ_N" in scored.ceiling_name if scored is mean else "r̄" in scored.ceiling_name


def test_what_was_not_planted_stays_at_chance(evaluation):
    for scored in evaluation.scored:
        assert (np.abs(scored.r[:, 2]) < 0.2).all()
        assert (scored.p[:, 2] > 0.05).all()
        assert (scored.p[0] > 0.05).all()
        assert (np.abs(scored.baselines) < 0.25).all()
        assert (scored.null[0] < 0).all()
        assert (scored.null[1] > 0).all()


def test_the_difference_from_a_baseline_is_found_where_it_was_planted_and_nowhere_else(evaluation):
    for scored in evaluation.scored:
        found = scored.against
        np.testing.assert_allclose(found.difference[0], scored.chosen.r - scored.baselines[0], atol=0.02)  # of means
        smallest = 1 / (1 + scored.n_null)
        np.testing.assert_allclose(found.p[0, :2], smallest)
        np.testing.assert_allclose(found.p_max[0, :2], smallest)
        assert found.p[0, 2] > 0.05
        assert (found.interval[0, 0, :2] > 0).all()
        assert found.interval[0, 0, 2] < 0 < found.interval[1, 0, 2]
        assert (found.baseline_p[0] > 0.05).all()
    for one in evaluation.each:
        assert one.against.p[0, 0] == 1 / 20
        assert one.against.interval[0, 0, 0] > 0


def test_features_that_only_repeat_word_rate_are_not_higher_than_it():
    """Word rate was planted; a model that knows it beside noise must not be called better."""
    higher = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        noisy = features(rng)
        noisy = Features(noisy.values + 1, noisy.times)  # the sum over a TR follows the number of words
        rate = Features(np.ones((1200, 1)), noisy.times)
        runs = {"a": listeners(rng, rate)["a"]}
        settings = replace(SETTINGS, n_permutations=39, n_bootstrap=0)
        found = evaluate({"noisy": [noisy]}, runs, baselines={"word rate": [rate]}, settings=settings).scored[0]
        assert found.against.baseline_p[0, 0] <= 0.05
        higher += list((found.against.p[0] <= 0.05) & (found.against.difference[0] > 0))
    assert sum(higher) <= 1


def test_planted_regions_have_the_smallest_p_that_the_surrogates_allow(evaluation):
    mean, single = evaluation.scored
    assert (mean.n_null, single.n_null) == (59, 19)
    np.testing.assert_allclose(mean.p[1, :2], 1 / 60)
    np.testing.assert_allclose(single.p[1, :2], 1 / 20)
    np.testing.assert_allclose(evaluation.listeners_p[:, 1, 0], 1 / 20)


def test_the_true_set_is_chosen_inside_the_folds_and_scores_as_by_itself(evaluation):
    for scored in evaluation.scored:
        assert scored.chosen.index[:2].tolist() == [1, 1]
        np.testing.assert_allclose(scored.chosen.r[:2], scored.r[1, :2], atol=0.03)
        assert (scored.chosen.p[:2] <= 1 / 20).all()
        assert scored.chosen.p[2] > 0.05


def test_intervals_hold_the_score_and_leave_chance_out_where_signal_was_planted(evaluation):
    for scored in evaluation.scored:
        low, high = scored.interval
        assert ((low[1, :2] < scored.r[1, :2]) & (scored.r[1, :2] < high[1, :2])).all()
        assert (low[1, :2] > 0).all()
        assert (high > low).all()


def test_the_mean_of_listeners_is_the_score_of_single_listeners(evaluation):
    np.testing.assert_allclose(evaluation.listeners.mean(0), evaluation.scored[1].r)
    np.testing.assert_allclose(evaluation.listener_baselines.mean(0), evaluation.scored[1].baselines)
    assert evaluation.best_alphas.shape == (2, 5, 3 + 15)
    assert set(np.unique(evaluation.best_alphas)) <= set(SETTINGS.alphas)


def test_each_listener_of_a_group_is_scored_as_if_he_were_alone(evaluation):
    rng = np.random.default_rng(0)
    truth, other = features(rng), features(rng)
    runs = listeners(rng, truth)
    settings = replace(SETTINGS, n_permutations=19)
    rate = [Features(np.ones((1200, 1)), truth.times)]
    alone = evaluate({"other": [other], "truth": [truth]}, {"c": runs["c"]}, baselines={"word rate": rate}, settings=settings)
    one, by_himself = evaluation.each[2], alone.scored[0]
    assert [scored.who for scored in evaluation.each] == list(SUBJECTS)
    assert alone.each == ()
    for name in ("r", "interval", "baselines", "baseline_interval"):
        np.testing.assert_allclose(getattr(one, name), getattr(by_himself, name), atol=1e-5)
    np.testing.assert_allclose(one.chosen.r, by_himself.chosen.r, atol=1e-5)
    np.testing.assert_allclose(one.chosen.interval, by_himself.chosen.interval, atol=1e-5)
    np.testing.assert_array_equal(one.p, evaluation.listeners_p[2])
    assert one.interval_name == by_himself.interval_name
    data = np.stack([runs[name][0].data for name in SUBJECTS])
    np.testing.assert_allclose(one.ceiling, subject_ceilings(data.astype(np.float32))[2], rtol=1e-6)


def test_a_saved_evaluation_is_the_same_after_loading(evaluation, tmp_path):
    evaluation.save(tmp_path / "scores.h5", {"made_by": "a test"})
    loaded = Evaluation.load(tmp_path / "scores.h5")
    assert (loaded.sets, loaded.baselines, loaded.subjects) == (evaluation.sets, evaluation.baselines, evaluation.subjects)
    assert loaded.space.names == REGIONS.names
    assert loaded.settings["alphas"] == [10.0, 100.0, 1000.0]
    np.testing.assert_array_equal(loaded.listeners, evaluation.listeners)
    for one, again in zip(evaluation.scored, loaded.scored):
        assert (one.who, one.n_null, one.ceiling_name) == (again.who, again.n_null, again.ceiling_name)
        np.testing.assert_array_equal(one.interval, again.interval)
        np.testing.assert_array_equal(one.chosen.p, again.chosen.p)
    assert [one.who for one in loaded.each] == list(SUBJECTS)
    np.testing.assert_array_equal(loaded.each[4].null, evaluation.each[4].null)


def test_the_same_seed_gives_the_same_numbers_and_the_null_can_be_left_out():
    rng = np.random.default_rng(0)
    truth = features(rng)
    runs = {"a": listeners(rng, truth)["a"]}
    settings = EvaluationSettings(alphas=(10.0, 100.0), n_permutations=5, n_bootstrap=50, n_content_free=0)
    first, again = (evaluate({"t": [truth]}, runs, settings=settings, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.scored[0].p, again.scored[0].p)
    np.testing.assert_array_equal(first.scored[0].interval, again.scored[0].interval)
    assert [s.who for s in first.scored] == ["a"]
    assert np.isnan(first.scored[0].ceiling).all()
    plain = evaluate({"t": [truth]}, runs, settings=EvaluationSettings(alphas=(10.0, 100.0), n_permutations=0, n_content_free=0))
    assert np.isnan(plain.scored[0].p).all()
    np.testing.assert_array_equal(plain.scored[0].r, first.scored[0].r)


@pytest.mark.filterwarnings("ignore:.*extend alphas in that direction:UserWarning")
def test_test_runs_are_predicted_once_by_a_fit_of_the_others():
    rng = np.random.default_rng(0)
    stories = [features(rng) for _ in range(4)]
    times = TR * np.arange(N_TRS)
    design = Design.from_training(stories[:3], [times] * 3)
    weights = rng.standard_normal((24, 3))
    runs = []
    for story in stories:
        signal = design.transform(story, times) @ weights
        data = signal / signal.std(0) * SIGNAL + slow_noise(rng)
        runs.append(BoldRun(data.astype(np.float32), times, REGIONS, "a"))
    settings = EvaluationSettings(
        alphas=(10.0, 100.0, 1000.0), n_permutations=150, n_bootstrap=200, test_runs=(3,), n_content_free=0
    )
    scored = evaluate({"t": stories}, {"a": runs}, settings=settings).scored[0]
    data = design.stack(stories, runs)
    folds = leave_one_run_out(data.run_onsets[:3], 3 * N_TRS)
    model = RidgeCV(settings.alphas, cv=folds, scoring="correlation", fit_intercept=True).fit(
        data.X[: 3 * N_TRS], data.Y[: 3 * N_TRS]
    )
    np.testing.assert_allclose(scored.r[0], correlation_score(data.Y[3 * N_TRS :], model.predict(data.X[3 * N_TRS :])), atol=1e-4)
    np.testing.assert_allclose(scored.p[0, :2], 1 / 151)
    assert scored.p[0, 2] > 0.05
    with pytest.raises(InputError, match="test_runs must be some of the 4 runs"):
        evaluate({"t": stories}, {"a": runs}, settings=replace(settings, test_runs=(4,)))


def test_a_dead_voxel_of_one_listener_is_nan_and_leaves_the_rest_as_it_was():
    rng = np.random.default_rng(0)
    truth = features(rng)
    runs = listeners(rng, truth)
    settings = EvaluationSettings(
        alphas=(10.0, 1000.0), n_permutations=5, n_subject_permutations=5, n_bootstrap=50, n_content_free=0
    )
    whole = evaluate({"t": [truth]}, runs, settings=settings)
    data = runs["b"][0].data.copy()
    data[:, 1] = 0
    runs["b"] = [runs["b"][0].with_data(data)]
    part = evaluate({"t": [truth]}, runs, settings=settings)
    for one, other in zip(part.scored, whole.scored):
        for values in (one.r[0], one.p[0], one.q[0], one.chosen.r, one.chosen.p, one.interval[0, 0]):
            assert np.isnan(values).tolist() == [False, True, False]
        assert np.isnan(one.ceiling[:2]).tolist() == [False, True]
        np.testing.assert_allclose(one.r[0, [0, 2]], other.r[0, [0, 2]], atol=1e-5)
    assert np.isnan(part.listeners[:, 0, 1]).tolist() == [False, True, False, False, False]


def test_stories_that_are_fewer_than_the_runs_are_refused():
    rng = np.random.default_rng(0)
    truth = features(rng)
    runs = listeners(rng, truth)["a"] * 2
    with pytest.raises(InputError, match="features of 't' must be one story for each of the 2 runs; got 1"):
        evaluate({"t": [truth]}, {"a": runs})


def test_listeners_who_do_not_go_together_are_refused():
    rng = np.random.default_rng(0)
    truth = features(rng)
    runs = listeners(rng, truth)
    later = listeners(rng, truth, TR * np.arange(N_TRS) + 4)["a"]
    with pytest.raises(InputError, match="tr_times of b must be those of a, 240 rows from 0 s; got 240 rows from 4 s"):
        evaluate({"t": [truth]}, {"a": runs["a"], "b": later})
    with pytest.raises(InputError, match="runs of b must be as many as those of a, 1; got 2"):
        evaluate({"t": [truth]}, {"a": runs["a"], "b": runs["b"] * 2})
    other = BoldRun(runs["b"][0].data, runs["b"][0].tr_times, Regions(("x", "y", "z")))
    with pytest.raises(InputError, match="Evaluate native spaces one by one"):
        evaluate({"t": [truth]}, {"a": runs["a"], "b": [other]})
    with pytest.raises(InputError, match="names of feature sets and baselines must all differ; got t"):
        evaluate({"t": [truth]}, runs, baselines={"t": [truth]})


def test_blocks_of_the_null_that_a_killed_run_had_scored_are_not_fitted_again(tmp_path, monkeypatch):
    from neurolm.encoding import surrogate_scores

    rng = np.random.default_rng(0)
    truth = features(rng)
    runs = listeners(rng, truth)
    settings = replace(SETTINGS, n_permutations=12, n_subject_permutations=4, n_targets_batch=15, n_bootstrap=0)
    score, fitted = surrogate_scores.held_out_scores, []

    def run(keep, kill_at=None):
        fitted.clear()

        def counted(ridge, Y, **options):
            fitted.append(Y.shape[1])
            if len(fitted) == kill_at:
                raise KeyboardInterrupt
            return score(ridge, Y, **options)

        monkeypatch.setattr(surrogate_scores, "held_out_scores", counted)
        return evaluate({"truth": [truth]}, runs, settings=settings, keep=keep)

    whole = run(None)
    assert fitted == [15, 15, 6] + 4 * [15]  # five shifts of the mean listener at once, one of all listeners
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, kill_at=5)
    resumed = run(tmp_path)
    assert fitted == 3 * [15]
    for one, other in zip(whole.scored, resumed.scored, strict=True):
        np.testing.assert_array_equal(one.p, other.p)
        np.testing.assert_array_equal(one.null, other.null)
    settings = replace(settings, alphas=(10.0, 100.0))
    run(tmp_path)
    assert len(fitted) == 7  # another grid of penalties: nothing of it stands


def test_p_of_the_largest_score_belongs_to_shifts_of_all_subjects_by_the_same_lag(evaluation):
    for scored in evaluation.scored:
        assert (scored.p_max[1, :2] <= 2 / (1 + scored.n_null)).all()
        assert (scored.p_max >= scored.p - 1e-12).all()
        assert (scored.p_max[:, 2] > 0.05).all()


def test_a_sequential_null_gives_its_p_from_the_first_draws_of_the_whole_one():
    rng = np.random.default_rng(0)
    truth, other = features(rng), features(rng)
    runs, sets = listeners(rng, truth), {"truth": [truth], "other": [other]}
    settings = replace(SETTINGS, n_permutations=199, n_subject_permutations=99, n_bootstrap=0)
    whole, short = (evaluate(sets, runs, settings=replace(settings, sequential=s)) for s in (False, True))
    for one, other in zip(whole.scored, short.scored):
        assert (one.p[0, :2] == other.p[0, :2]).all()  # never reached: the same p as with all draws
        assert (one.p[0, :2] == 1 / (1 + one.n_null)).all()
        assert np.isnan(other.p_max).all()
        clear = one.p > 0.3
        assert (other.p[clear] > 0.08).all()
        np.testing.assert_array_equal(one.r, other.r)
    assert short.scored[0].chosen.p[0] == 1 / 200


def test_more_than_a_hundred_voxels_are_tested_sequentially_unless_the_settings_say_otherwise():
    from neurolm.encoding.held_out import nested_folds
    from neurolm.encoding.surrogate_scores import SurrogateScores

    Y, folds = np.random.default_rng(0).standard_normal((60, 101)), nested_folds([0], 60)
    for n_voxels, sequential, stop in ((101, None, 10), (100, None, None), (101, False, None), (3, True, 10)):
        settings = replace(SETTINGS, sequential=sequential)
        assert SurrogateScores(Y[:, :n_voxels], 1, [0], folds, settings, n=5, seed=0).stop_after == stop


def test_interval_of_a_choice_and_of_the_ceiling_hold_what_they_are_of(evaluation):
    for scored in (*evaluation.scored, *evaluation.each):
        low, high = scored.chosen.interval[:, :2]
        assert ((low < scored.chosen.r[:2]) & (scored.chosen.r[:2] < high)).all()
    for scored in evaluation.scored:
        low, high = scored.ceiling_interval[:, :2]
        assert ((low < scored.ceiling[:2]) & (scored.ceiling[:2] < high)).all()
