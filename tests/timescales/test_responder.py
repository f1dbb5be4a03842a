import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.encoding import EncodingModel
from neurolm.features import LMStates
from neurolm.lm import ToyModel
from neurolm.stimuli import ContextWindow
from neurolm.timescales import EncodingResponder, FitSettings, ScrambleWindow, SwapWindow, UnitResponder, prediction_test

from .planted import DELAYS, Bank, listen, tell

ALPHAS = tuple(10.0 ** np.arange(-2, 7))
BANK = Bank((1.5, 12.0))
STORIES = [tell(700, seed) for seed in range(4)]


@pytest.fixture(scope="module")
def fitted():
    features, runs = [BANK.extract(s) for s in STORIES[:3]], listen(STORIES[:3], np.array([1.5, 12.0, 1.5]), 0.9)
    rng = np.random.default_rng(0)
    runs = [run.with_data(np.column_stack([run.data[:, :2], rng.normal(size=run.n_trs)])) for run in runs]
    return EncodingModel(ALPHAS, delays=DELAYS, n_folds=3).fit(features, runs), features, runs


def test_one_words_response_is_what_it_adds_to_the_bold_of_all_trs(fitted):
    model, features, _ = fitted
    responder = EncodingResponder(model, BANK)
    times = np.arange(0, 400, 2.0)
    word = features[0].times.searchsorted(100)
    without = features[0].values.copy()
    without[word] = 0
    from dataclasses import replace

    added = model.predict(features[0], times) - model.predict(replace(features[0], values=without), times)
    weight = model.design_.matrix(features[0].times, times)[0, :, word].sum()
    np.testing.assert_allclose(added.sum(0), weight * responder.respond(STORIES[0])[word], rtol=1e-2, atol=1e-3)


def test_only_the_noise_voxel_is_not_predicted(fitted):
    model, features, runs = fitted
    settings = FitSettings(n_permutations=99, n_inner_folds=2, min_shift=15)
    p = prediction_test(model, features, runs, settings).p_values
    assert (p[:2] == 0.01).all()
    assert p[2] > 0.05


def test_windows_of_voxels_and_of_the_model_stand_beside_each_other(fitted):
    model, _, _ = fitted
    experiment = ScrambleWindow((1, 2, 4, 8, 16, 32, 64), n_scrambles=1)
    units = experiment.simulate(UnitResponder(BANK), STORIES[3:])
    voxels = experiment.simulate(EncodingResponder(model, BANK), STORIES[3:], np.array([0.001, 0.001, 0.9])).beside(units)
    assert voxels.index[0] < voxels.index[1]
    assert np.isnan(voxels.index[2])
    assert voxels.model is units
    assert len(voxels.model.index) == 8


def test_a_story_of_the_fit_is_warned_about(fitted):
    with pytest.warns(UserWarning, match="fitted on 'story0'"):
        SwapWindow(8, n_swaps=3, n_bootstrap=2).run(EncodingResponder(fitted[0], BANK), STORIES[:1])


def test_other_features_than_those_of_the_fit_are_refused(fitted):
    with pytest.raises(InputError, match="give the 8 features"):
        EncodingResponder(fitted[0], Bank((1.5,))).respond(STORIES[3])
    with pytest.raises(InputError, match="be fitted first"):
        EncodingResponder(EncodingModel(), BANK)


def test_a_language_models_units_are_swapped_through_its_own_extractor():
    story = tell(200)
    model = ToyModel.for_words(story.words, (2.0, 10.0), width=4)
    responder = UnitResponder(LMStates(model, (1, 2), ContextWindow(None, "story")))
    index = SwapWindow(60, n_swaps=6, n_bootstrap=3).run(responder, [story]).index
    np.testing.assert_allclose(index[:4], 2 * np.log(4), rtol=0.1)
    assert index[4:].min() > 3 * index[:4].max()


def test_a_limited_context_ends_every_influence():
    story = tell(200)
    model = ToyModel.for_words(story.words, (50.0,), width=4)
    responder = UnitResponder(LMStates(model, 1, ContextWindow(6)))
    result = SwapWindow(20, n_swaps=4, n_bootstrap=2).run(responder, [story])
    assert (result.curve[:6] > 0.5).all()
    np.testing.assert_allclose(result.curve[6:], 0, atol=1e-6)
