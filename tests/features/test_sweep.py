"""Left-edge sharing: every context at once, equal to each context by itself, for the price of the longest."""

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.features import FeatureCache, LMStates, Surprisal
from neurolm.stimuli import ContextWindow


@pytest.mark.parametrize("contexts", [range(1, 13), [1, 3, 40], [200]], ids=str)
def test_a_sweep_equals_separate_windows(lm, story, contexts):
    swept = LMStates(lm, [0, 3], ContextWindow(1), "mean").sweep(story, contexts)
    assert list(swept) == sorted(contexts)
    for n in contexts:
        alone = LMStates(lm, [0, 3], ContextWindow(n), "mean").extract(story)
        assert np.abs(swept[n].values - alone.values).max() <= 1e-5 * np.abs(alone.values).max()
        np.testing.assert_array_equal(swept[n].context, alone.context)
        np.testing.assert_array_equal(swept[n].shortened, alone.shortened)
        assert swept[n].slices == alone.slices
        assert swept[n].settings["context"] == alone.settings["context"]


def test_surprisal_swept_equals_separate_windows(lm, story):
    swept = Surprisal(lm, ContextWindow(1), entropy=True).sweep(story, [1, 2, 5, 30])
    for n, features in swept.items():
        alone = Surprisal(lm, ContextWindow(n), entropy=True).extract(story)
        assert np.abs(features.values - alone.values).max() <= 1e-5 * np.abs(alone.values).max()
        np.testing.assert_array_equal(features.context, alone.context)


def test_a_dense_sweep_reads_no_more_tokens_than_its_longest_context(models, make_story, count_tokens):
    lm = models["toy"]
    story = make_story(np.random.default_rng(0).choice(make_story().words, 300).tolist())
    swept = count_tokens(lm, lambda counting: LMStates(counting, 1, ContextWindow(1)).sweep(story, range(1, 21)))
    alone = count_tokens(lm, lambda counting: LMStates(counting, 1, ContextWindow(20)).extract(story))
    separate = sum(
        count_tokens(lm, lambda counting, n=n: LMStates(counting, 1, ContextWindow(n)).extract(story)) for n in range(1, 21)
    )
    assert swept <= 1.1 * alone
    assert separate >= 8 * swept


def test_a_cached_sweep_stays_on_disk_and_holds_only_what_was_asked(models, story, tmp_path):
    lm = models["toy"]
    states = LMStates(lm, [2], ContextWindow(1), cache=FeatureCache(tmp_path))
    first = states.sweep(story, [1, 5, 9])
    (path,) = tmp_path.glob("*.h5")
    assert path.stat().st_size < 3 * len(story) * 24 * 4 + 16384
    again = states.sweep(story, [9, 5, 1, 5])
    np.testing.assert_array_equal(again[5].values, first[5].values)
    np.testing.assert_array_equal(first[5].values, LMStates(lm, [2], ContextWindow(1)).sweep(story, [1, 5, 9])[5].values)


def test_a_swept_layer_and_context_that_were_not_asked_for_are_named(models, story):
    swept = LMStates(models["toy"], [2], ContextWindow(1)).sweep(story, [1, 5])
    with pytest.raises(InputError, match=r"context must be one that was swept \(1, 5\); got 4"):
        swept[4]
    with pytest.raises(InputError, match=r"layer must be one that was swept \(2\); got 1"):
        swept.layer(5, 1)


@pytest.mark.parametrize("contexts", [[], [0, 3], [2.5]])
def test_contexts_that_are_none_are_refused(models, story, contexts):
    with pytest.raises(InputError, match=r"contexts must hold at least one|n must be an integer >= 1"):
        LMStates(models["toy"], 1, ContextWindow(1)).sweep(story, contexts)


def test_a_sweep_too_large_for_memory_asks_for_a_cache(models, story, monkeypatch):
    monkeypatch.setattr("neurolm.features.lm_states.free_memory", lambda device: 1000)
    with pytest.raises(InputError, match=r"fit in the 0\.0 GB of free memory where there is no cache.*Give `cache`"):
        LMStates(models["toy"], 1, ContextWindow(1)).sweep(story, [1, 2])
