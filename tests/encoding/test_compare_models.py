import itertools

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.encoding.compare_models import best_layers, compare_models, paired_tests, shift_tests
from neurolm.encoding.design import Design
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.encoding.model_comparison import ModelComparison
from neurolm.features import Features

N_TRS, TR, N_WORDS = 240, 2.0, 1000
REGIONS = Regions(("strong", "weak"))
SIGNAL = np.array([1.0, 0.6])  # planted standard deviation over noise of 1
SUBJECTS = tuple("abcdefgh")
SETTINGS = EvaluationSettings(alphas=(10.0, 100.0, 1000.0), n_subject_permutations=39)


def features(rng, times, n_features=5):
    return Features(rng.standard_normal((len(times), n_features)), times)


def listeners(rng, driver):
    times = TR * np.arange(N_TRS)
    X = Design.from_training([driver], [times]).transform(driver, times)
    signal = X @ rng.standard_normal((X.shape[1], 2))
    signal = (signal - signal.mean(0)) / signal.std(0) * SIGNAL
    runs = {}
    for name in SUBJECTS:
        data = signal + rng.standard_normal(signal.shape)
        runs[name] = [BoldRun((data - data.mean(0)) / data.std(0), times, REGIONS, name, "story")]
    return runs


@pytest.fixture(scope="module")
def planted():
    """A model that holds the truth in its second layer, one that holds it blurred, one of many empty layers."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, N_TRS * TR, N_WORDS))
    truth = features(rng, times)
    blurred = Features(truth.values + 1.2 * rng.standard_normal(truth.values.shape), times)
    models = {
        "exact": {"layer 0": [features(rng, times)], "layer 1": [truth], "layer 2": [features(rng, times)]},
        "blurred": {"layer 0": [features(rng, times)], "layer 1": [blurred]},
        "empty": {f"layer {i}": [features(rng, times)] for i in range(10)},
    }
    return models, listeners(rng, truth)


@pytest.fixture(scope="module")
def comparison(planted):
    models, subjects = planted
    return compare_models(models, subjects, settings=SETTINGS, bits_per_byte={"exact": 1.5, "blurred": 2.0})


def test_the_planted_layer_is_found_and_reaches_nearly_the_ceiling(comparison):
    exact = comparison.models[0]
    assert (exact.name, exact.best_layer, set(exact.taken)) == ("exact", "layer 1", {"layer 1"})
    assert 0.8 < exact.score < 1.02
    assert exact.interval[0] < exact.score < exact.interval[1]
    np.testing.assert_allclose(exact.score, exact.layer_scores[1])
    np.testing.assert_allclose(comparison.ceiling, np.sqrt(SIGNAL**2 / (1 + SIGNAL**2)), atol=0.06)


def test_a_model_of_many_empty_layers_gains_nothing_from_having_many(comparison):
    empty = comparison.models[2]
    assert len(empty.layers) == 10
    assert abs(empty.score) < 0.1
    assert empty.layer_scores.max() > empty.score  # what looking at the scored rows would have given


def test_models_that_differ_are_told_apart_and_ranked(comparison):
    order = [model.name for model in sorted(comparison.models, key=lambda model: -model.score)]
    assert order == ["exact", "blurred", "empty"]
    assert [(pair.first, pair.second) for pair in comparison.pairs] == list(
        itertools.combinations(["exact", "blurred", "empty"], 2)
    )
    for pair in comparison.pairs:
        assert (pair.p, pair.by) == (1 / 40, "shifts")  # the smallest that 39 shifts allow
        assert pair.smallest_p == 1 / 40
        assert pair.p <= pair.p_corrected <= 0.05
        assert 0 < pair.interval[0] < pair.difference < pair.interval[1]


def test_scores_are_those_of_an_evaluation_of_the_same_layer(planted, comparison):
    from dataclasses import replace

    from neurolm.encoding.evaluate import evaluate

    models, subjects = planted
    settings = replace(SETTINGS, n_permutations=0, n_subject_permutations=0)
    alone = evaluate({"layer 1": models["exact"]["layer 1"]}, subjects, settings=settings)
    np.testing.assert_allclose(comparison.models[0].r, alone.listeners[:, 0], atol=1e-6)
    np.testing.assert_allclose(comparison.ceiling, alone.scored[1].ceiling)


def test_the_layer_is_chosen_without_the_held_out_rows(planted):
    models, subjects = planted
    changed = {}
    for name, (run,) in subjects.items():
        data = run.data.copy()
        data[-48:] = np.random.default_rng(1).standard_normal((48, 2))  # all of the last fold
        changed[name] = [BoldRun(data, run.tr_times, REGIONS, name, "story")]
    before, after = (compare_models({"empty": models["empty"]}, s, settings=SETTINGS).models[0] for s in (subjects, changed))
    assert before.taken[-1] == after.taken[-1]


def test_a_saved_comparison_is_the_same_after_loading(comparison, tmp_path):
    comparison.save(tmp_path / "comparison.h5")
    again = ModelComparison.load(tmp_path / "comparison.h5")
    assert again.pairs == comparison.pairs
    assert again.subjects == SUBJECTS
    assert again.space.names == REGIONS.names
    for one, two in zip(again.models, comparison.models):
        assert (one.name, one.layers, one.taken, one.score, one.interval) == (
            two.name,
            two.layers,
            two.taken,
            two.score,
            two.interval,
        )
        np.testing.assert_array_equal(one.r, two.r)
        np.testing.assert_array_equal(one.bits_per_byte, two.bits_per_byte)


def test_equal_models_differ_significantly_as_often_as_chance_has_it():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((400, 3, 12)) + rng.standard_normal((400, 1, 12))  # listeners differ more than models
    tests = [paired_tests(dict(zip("abc", one)), settings=EvaluationSettings(n_bootstrap=50)) for one in scores]
    single = np.mean([pair.p <= 0.05 for test in tests for pair in test])
    family = np.mean([min(pair.p_corrected for pair in test) <= 0.05 for test in tests])
    assert 0.03 < single < 0.07
    assert 0.025 < family < 0.075  # binomial spread of 400 families


def test_the_best_layer_is_taken_fold_by_fold_whatever_is_dead():
    inner = np.array([[[0.5, np.nan], [0.1, 0.3]], [[0.2, 0.4], [0.4, 0.4]]])  # (2 layers, 2 folds, 2 voxels)
    assert best_layers(inner).tolist() == [0, 1]
    inner[0, 1] = np.nan
    with pytest.raises(InputError, match="hold a voxel that varies"):
        best_layers(inner)


def test_too_few_listeners_or_no_model_are_refused(planted):
    models, subjects = planted
    with pytest.raises(InputError, match="subjects must be at least 5 listeners; got 3"):
        compare_models(models, dict(list(subjects.items())[:3]), settings=SETTINGS)
    with pytest.raises(InputError, match="models must hold at least one"):
        compare_models({}, subjects, settings=SETTINGS)
    with pytest.raises(InputError, match="layers of 'x' must hold at least one"):
        compare_models({"x": {}}, subjects, settings=SETTINGS)


def test_sign_flips_are_made_where_no_shifts_are_asked_for_and_say_so(planted):
    models, subjects = planted
    two = {name: models[name] for name in ("exact", "blurred")}
    found = compare_models(two, subjects, settings=EvaluationSettings(alphas=(10.0, 1000.0), n_subject_permutations=0))
    assert [(pair.by, pair.p) for pair in found.pairs] == [("sign flips", pytest.approx(2 / 2 ** len(SUBJECTS)))]


def test_shifts_hold_their_size_where_subjects_share_what_is_not_in_the_features():
    rng = np.random.default_rng(0)
    alike, single, flips = 3.0, [], []
    for _ in range(400):
        shared = alike * rng.standard_normal((100, 2))  # one row each for the data and 99 shifts: all subjects move together
        scores = shared[:, None] + rng.standard_normal((100, 12, 2))
        data, null = scores[0], scores[1:].mean(1)
        pair = shift_tests(dict(zip("ab", data.T)), dict(zip("ab", null.T)))[0]
        single.append(pair.p <= 0.05)
        flips.append(paired_tests(dict(zip("ab", data.T)))[0].p <= 0.05)
    assert 0.03 < np.mean(single) < 0.075
    assert np.mean(flips) > 0.5
