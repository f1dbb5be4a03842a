import numpy as np
import pytest
from scipy.stats import ttest_ind

from neurolm.checks import InputError
from neurolm.encoding import Design, EncodingModel
from neurolm.timescales.contrast import Contrast
from neurolm.timescales.contrast_items import item_responses, match_items
from neurolm.timescales.responder import EncodingResponder
from neurolm.timescales.story_bootstrap import _MomentDraws, _RowDraws, story_bootstrap

from .planted import DELAYS, Bank, listen, tell

RNG = np.random.default_rng(0)


def test_t_is_that_of_students_test():
    a, b = RNG.normal(size=(12, 5)) + 0.5, RNG.normal(size=(9, 5))
    result = Contrast(200).run(a, b)
    np.testing.assert_allclose(result.t, ttest_ind(a, b).statistic, rtol=1e-9)
    np.testing.assert_allclose(result.difference, a.mean(0) - b.mean(0))


def test_p_agrees_with_students_where_its_assumptions_hold():
    a, b = RNG.normal(size=(20, 40)) + 0.3, RNG.normal(size=(20, 40))
    result = Contrast(4000).run(a, b)
    np.testing.assert_allclose(result.p, ttest_ind(a, b).pvalue, atol=0.03)


def test_planted_preferences_keep_their_sign_and_none_is_found_elsewhere():
    gamma = np.repeat([1.5, -1.5, 0.0], 20)
    noise = RNG.normal(size=(60, 60))
    result = Contrast(2000).run(noise[:30] + gamma, noise[30:])
    found = result.map()
    assert (found[:20] > 0).all()
    assert (found[20:40] < 0).all()
    assert np.isfinite(found[40:]).sum() <= 3


def test_p_is_uniform_without_a_preference():
    noise = RNG.normal(size=(40, 800))
    p = Contrast(500).run(noise[:20], noise[20:]).p
    shares = [np.mean(p <= level) for level in (0.05, 0.25, 0.5)]
    np.testing.assert_allclose(shares, [0.05, 0.25, 0.5], atol=0.06)


def test_the_largest_statistic_keeps_the_familywise_error():
    wrong = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(24, 50))
        wrong += (Contrast(200, seed=seed).run(noise[:12], noise[12:]).p_max <= 0.05).any()
    assert wrong / 60 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_a_confound_vanishes_when_it_is_given():
    label = np.repeat([1.0, 0.0], 40)
    frequency = label + 0.7 * RNG.normal(size=80)
    responses = frequency[:, None] * 2 + RNG.normal(size=(80, 200))
    raw = Contrast(500).run(responses[:40], responses[40:])
    freed = Contrast(500).run(responses[:40], responses[40:], covariates=frequency[:, None])
    assert np.mean(raw.p < 0.05) > 0.95
    assert np.mean(freed.p < 0.05) < 0.11


def test_t_with_covariates_is_that_of_the_linear_model():
    a, b, covariates = RNG.normal(size=(10, 1)), RNG.normal(size=(11, 1)), RNG.normal(size=(21, 2))
    X = np.column_stack([np.repeat([1.0, 0.0], [10, 11]), np.ones(21), covariates])
    y = np.concatenate([a, b])[:, 0]
    beta, residual = np.linalg.lstsq(X, y, rcond=None)[:2]
    t = beta[0] / np.sqrt(residual[0] / 17 * np.linalg.inv(X.T @ X)[0, 0])
    assert Contrast(50).run(a, b, covariates=covariates).t[0] == pytest.approx(t)


def test_voxels_that_are_not_predicted_are_left_out_of_the_map():
    a, b = RNG.normal(size=(20, 2)) + 3, RNG.normal(size=(20, 2))
    result = Contrast(1000).run(a, b, prediction_p=np.array([0.001, 0.4]))
    assert np.isfinite(result.map()).tolist() == [True, False]


def test_nan_voxels_stay_nan():
    a, b = RNG.normal(size=(10, 2)), RNG.normal(size=(10, 2))
    a[0, 1] = np.nan
    result = Contrast(100).run(a, b)
    assert np.isnan(result.p[1])
    assert np.isfinite(result.p[0])


def test_too_few_items_for_the_permutations_are_refused():
    with pytest.raises(InputError, match="allow 10,000 permutations"):
        Contrast().run(np.ones((5, 1)), np.ones((5, 1)))


def test_covariates_that_are_the_condition_are_refused():
    a, b = RNG.normal(size=(2, 10, 1))
    with pytest.raises(InputError, match="neither determine the condition"):
        Contrast(10).run(a, b, covariates=np.repeat([1.0, 0.0], 10)[:, None])


def test_matched_items_differ_in_the_rating_alone():
    covariates = RNG.normal(size=(400, 3))
    ratings = covariates[:, 0] + RNG.normal(size=400)
    items = [f"item {i}" for i in range(400)]
    chosen = match_items(items, ratings, covariates, 30)
    assert chosen.ratings[0].min() > chosen.ratings[1].max()
    assert (np.abs(chosen.balance) < 0.25).all()
    top, bottom = ratings > np.quantile(ratings, 0.75), ratings < np.quantile(ratings, 0.25)
    assert covariates[top, 0].mean() - covariates[bottom, 0].mean() > 1
    assert len({*chosen.first, *chosen.second}) == 60


def test_an_item_is_heard_where_its_sentence_has_a_place():
    class Positions:
        space = None

        def respond(self, transcript):
            return np.array([[float(word == "gold")] for word in transcript.words])

    assert item_responses(Positions(), ["gold", "old gold"], "they sold {} here").tolist() == [[1.0], [0.5]]
    with pytest.raises(InputError, match="once"):
        item_responses(Positions(), ["gold"], "no place")


def test_the_story_bootstrap_holds_the_difference_of_the_fit():
    stories = [tell(500, seed) for seed in range(5)]
    bank = Bank((1.5, 8.0))
    features, runs = [bank.extract(s) for s in stories], listen(stories, np.array([1.5, 8.0]), 0.9)
    model = EncodingModel(tuple(10.0 ** np.arange(-2, 7)), n_folds=3).fit(features, runs)
    responder = EncodingResponder(model, bank)
    first, second = (item_responses(responder, [f"w{i}" for i in part]) for part in (range(20), range(20, 40)))
    values = [np.mean([bank.extract(_alone(i)).values[0] for i in part], axis=0) for part in (range(20), range(20, 40))]
    result = Contrast(100).run(first, second)
    result = story_bootstrap(result, model, features, runs, values[0] - values[1], n_bootstrap=40)
    low, high = result.interval
    assert (low < result.difference).all()
    assert (result.difference < high).all()
    assert ((high - low) < 2 * np.abs(first).mean()).all()


def test_draws_among_rows_are_those_of_products():
    stories = [tell(150, seed) for seed in range(4)]
    bank = Bank((1.5, 8.0), per_scale=30)  # 240 delayed columns
    features, runs = [bank.extract(s) for s in stories], listen(stories, np.array([1.5, 8.0]), 0.9)
    data = Design.from_training(features, runs, DELAYS).stack(features, runs)
    direction, alphas = np.random.default_rng(0).normal(size=data.X.shape[1]), np.array([10.0, 1000.0])
    for counts in (np.ones(4), np.array([2, 0, 1, 1])):
        ways = [kind(data, data.run_slices).contrast(counts, direction, alphas) for kind in (_RowDraws, _MomentDraws)]
        np.testing.assert_allclose(*ways, rtol=1e-6)


def _alone(i):
    return tell(1).with_words([f"w{i}"])
