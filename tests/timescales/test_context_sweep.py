from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from neurolm.checks import InputError
from neurolm.features import LMStates
from neurolm.lm import ToyModel
from neurolm.statistics import columnwise_correlation
from neurolm.stimuli import ContextWindow
from neurolm.timescales.context_sweep import ContextWindowSweep
from neurolm.timescales.held_out_fit import FitSettings, folds_of, held_out_fit, stack

from .planted import Bank, listen, tell

QUICK = FitSettings(
    alphas=tuple(10.0 ** np.arange(-2, 7)), n_permutations=60, n_bootstrap=40, min_shift=15, n_folds=3, n_inner_folds=3
)
CONTEXTS = (1, 2, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def found():
    stories = [tell(900, seed) for seed in range(3)]
    taus = np.array([1.5, 3.0, 6.0, 12.0, 24.0, 6.0])
    runs = listen(stories, taus, 0.8)
    noise = np.random.default_rng(0).normal(size=runs[0].data.shape[0])
    runs = [run.with_data(np.where(np.arange(6) == 5, np.resize(noise, run.n_trs)[:, None], run.data)) for run in runs]
    swept = [Bank((1.5, 4.0, 10.0, 25.0)).sweep(story, CONTEXTS) for story in stories]
    return taus, ContextWindowSweep(settings=QUICK).run(swept, runs)


def test_longer_memories_need_longer_contexts(found):
    taus, result = found
    assert result.valid[:5].all()
    assert spearmanr(result.index[:5], taus[:5]).statistic > 0.85


def test_a_noise_voxel_has_no_window(found):
    assert np.isnan(found[1].index[5])


def test_intervals_hold_the_index(found):
    _, result = found
    low, high = result.interval[:, :5]
    assert (low <= high).all()
    assert np.mean((low <= result.index[:5] * 1.05) & (result.index[:5] <= high * 1.05)) >= 0.8


def test_units_of_a_toy_model_keep_the_order_of_their_timescales():
    story = tell(300)
    model = ToyModel.for_words(story.words, (1.0, 20.0), width=8)
    swept = LMStates(model, "all", ContextWindow(64)).sweep(story, CONTEXTS)
    result = ContextWindowSweep().units([swept])
    windows = result.index.reshape(3, 8)
    assert (windows[0] == 1).all()  # embeddings see one word
    assert windows[1].max() < windows[2].min()


def test_every_fold_counts_by_its_rows_and_not_by_the_size_of_its_predictions():
    story = tell(600)
    run = listen([story], np.array([3.0, 8.0]), 0.6)[0]
    data = stack([Bank((3.0, 8.0)).extract(story)], [run], QUICK)
    fit = held_out_fit(data.X, data, replace(QUICK, n_permutations=1))
    folds = [fold.test for fold in folds_of(data, QUICK)]
    each = np.stack([columnwise_correlation(fit.responses[rows], fit.predictions[rows]) for rows in folds])
    weights = np.array([len(rows) for rows in folds])
    np.testing.assert_allclose(fit.scores, weights @ each / weights.sum())


def test_contexts_longer_than_the_story_are_refused():
    story = tell(40)
    swept = Bank((4.0,)).sweep(story, (1, 64))
    with pytest.raises(InputError, match="not be longer than the shortest story, 40 words"):
        ContextWindowSweep().run([swept], listen([story], np.array([3.0]), 0.5))
