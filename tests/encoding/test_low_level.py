"""The joint test "language model beyond low-level features": planted gains are found, confounded features gain nothing."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
from neurolm.encoding.held_out import held_out_scores, nested_folds
from neurolm.encoding.low_level import LowLevel, joint_ridge
from neurolm.features import Features
from neurolm.statistics import ar1_noise, difference_p
from neurolm.temporal import delay_run, lanczos_matrix

N, TR = 150, 2.0
TIMES = TR * np.arange(N)
SETTINGS = EvaluationSettings(
    alphas=(10.0, 100.0, 1000.0),
    n_folds=3,
    n_inner_folds=3,
    n_permutations=39,
    n_subject_permutations=19,
    n_bootstrap=20,
    n_content_free=0,
)
REGIONS = Regions(("beyond", "low only", "noise"))


def delayed(values, times):
    grid = TR * np.arange(-4, N) + TR / 2
    return delay_run(lanczos_matrix(times, grid) @ values, [1, 2, 3, 4])[4:]


def signal(rng, X):
    made = X @ rng.standard_normal(X.shape[1])
    return (made - made.mean()) / made.std()


class Study:
    """One run of words: two low-level columns, a sound regressor, and a model that knows low-level values and content."""

    def __init__(self, seed=0, subjects=("a",)):
        rng = np.random.default_rng(seed)
        times = np.sort(rng.uniform(0, N * TR, 500))
        low = np.stack([np.ones(500), rng.standard_normal(500)], axis=1)
        content = ar1_noise(rng.standard_normal((500, 4)), 0.5)
        self.sound = ar1_noise(rng.standard_normal((N, 1)), 0.7)
        confounded = low @ rng.standard_normal((2, 4)) + 0.5 * rng.standard_normal((500, 4))
        self.sets = {
            "layer 0": [Features(confounded, times)],
            "layer 1": [Features(np.concatenate([confounded, content], axis=1), times)],
        }
        plain, sound = signal(rng, delayed(low, times)), self.sound[:, 0] / self.sound.std()
        both = plain + sound
        mean = np.stack([both + 1.2 * signal(rng, delayed(content, times)), both, 0 * both], axis=1)
        self.runs = {}
        for name in subjects:
            data = mean + ar1_noise(rng.standard_normal((N, 3)), 0.5)
            self.runs[name] = [BoldRun((data - data.mean(0)) / data.std(0), TIMES, REGIONS, name, "story")]
        self.low = LowLevel([Features(low, times)], ("word rate", "length", "sound power"), [self.sound])

    def evaluate(self, settings=SETTINGS, **more):
        return evaluate(self.sets, self.runs, settings=settings, low_level=self.low, **more)


@pytest.fixture(scope="module")
def found():
    return Study(subjects=("a", "b", "c")).evaluate()


def test_content_beyond_low_level_is_found_where_it_was_planted_and_nowhere_else(found):
    for scored in found.scored:
        beyond, floor = scored.beyond, 1 / (1 + scored.n_null)
        assert beyond.p[0] == pytest.approx(floor)
        assert beyond.p_max[0] == pytest.approx(floor)
        assert (beyond.p[1:] > 0.05).all()
        assert beyond.interval[0, 0] > 0.1
        assert beyond.low_level[1] > 0.5  # what the model's own features predict too
        assert scored.chosen.r[1] > 0.3
        np.testing.assert_allclose(beyond.difference, beyond.joint - beyond.low_level, atol=1e-6)
    assert [one.beyond.p[0] for one in found.each] == [1 / 20] * 3
    assert found.low_level == ("word rate", "length", "sound power")


def test_the_joint_fit_is_ridge_on_scaled_columns_refitted_with_scikit_learn():
    """Nested cross-validation written out with scikit-learn's Ridge in float64: correlations agree to 1e-4."""
    rng = np.random.default_rng(0)
    low, X, Y = rng.standard_normal((N, 5)) * 3 + 1, rng.standard_normal((N, 40)), rng.standard_normal((N, 2))
    Y += low[:, :2] / 3 + X[:, :2]
    folds = nested_folds([0], N, 3, 3)
    got = held_out_scores(joint_ridge(low, X, folds, SETTINGS), Y)
    both = np.concatenate([low, X], axis=1)
    weight = np.where(np.arange(45) < 5, np.sqrt(40 / 5), 1.0)
    for f, fold in enumerate(folds):
        scaled = (both - both[fold.train].mean(0)) / both[fold.train].std(0) * weight

        def r(train, test, alpha, v, scaled=scaled):
            predicted = Ridge(alpha).fit(scaled[train], Y[train, v]).predict(scaled[test])
            return np.corrcoef(predicted, Y[test, v])[0, 1]

        for v in range(2):
            inner = [np.mean([r(*pair, alpha, v) for pair in fold.inner]) for alpha in SETTINGS.alphas]
            best = SETTINGS.alphas[int(np.argmax(inner))]
            assert got.best_alphas[f, v] == best
            assert got.fold_scores[f, v] == pytest.approx(r(fold.train, fold.test, best, v), abs=1e-4)


def test_features_that_know_only_low_level_values_gain_nothing_over_many_designs():
    """p at or below .05 in at most 3 of 24 (chance of more: .03); benchmarks/calibration.py has 400 designs."""
    settings = replace(SETTINGS, n_permutations=19, n_bootstrap=0, n_folds=2, n_inner_folds=2)
    hits = []
    for seed in range(12):
        study = Study(seed)
        study.sets = {"layer 0": study.sets["layer 0"]}
        hits += list(study.evaluate(settings).scored[0].beyond.p[1:] <= 0.05)
    assert sum(hits) <= 3


def test_runs_that_are_only_predicted_are_tested_with_the_fit_kept():
    one, two = Study(0), Study(1)
    sets = {name: [*one.sets[name], *two.sets[name]] for name in one.sets}
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((3, 16))
    runs = []
    for study in (one, two):
        content = delayed(study.sets["layer 1"][0].values[:, 4:], study.sets["layer 1"][0].times)
        rate = delayed(study.low.words[0].values, study.low.words[0].times)[:, :3].sum(1)
        y = np.stack([content @ w for w in weights], axis=1) * [1, 0, 0] / 4 + 0.5 * rate[:, None] * [1, 1, 0]
        runs.append(BoldRun(y + ar1_noise(rng.standard_normal((N, 3)), 0.5), TIMES, REGIONS, "a", "story"))
    low = LowLevel([*one.low.words, *two.low.words], one.low.names, [one.sound, two.sound])
    settings = replace(SETTINGS, test_runs=(1,), n_permutations=99)
    beyond = evaluate(sets, {"a": runs}, settings=settings, low_level=low).scored[0].beyond
    assert beyond.p[0] == 1 / 100
    assert (beyond.p[1:] > 0.02).all()


def test_the_result_is_kept_in_its_file_with_the_columns(found, tmp_path):
    found.save(tmp_path / "scores.h5")
    again = Evaluation.load(tmp_path / "scores.h5")
    assert again.low_level == found.low_level
    np.testing.assert_array_equal(again.scored[1].beyond.interval, found.scored[1].beyond.interval)
    np.testing.assert_array_equal(again.each[2].beyond.p, found.each[2].beyond.p)


def test_regressors_must_have_a_row_for_each_tr():
    study = Study()
    study.low = replace(study.low, regressors=[study.sound[1:]])
    with pytest.raises(InputError, match=r"regressors of story must have one row for each of its 150 TRs; got \(149, 1\)"):
        study.evaluate()


def test_a_gain_is_judged_against_a_null_that_need_not_lie_around_zero():
    """A larger model that pays for idle columns loses .1 on surrogates: no loss is then a gain."""
    rng = np.random.default_rng(0)
    null = -0.1 + 0.02 * rng.standard_normal((199, 3))
    p, p_max = difference_p(np.array([0.0, -0.1, -0.3]), null, alternative="greater")
    assert p[0] == p_max[0] == 1 / 200
    assert p[1] > 0.2
    assert p[2] == p_max[2] == 1.0
