"""Real fMRI: which half minute of Alice was heard, told for listeners whom the model never saw."""

import os
from pathlib import Path

import numpy as np
import pytest

from neurolm.brain.preprocess import detrend_legendre, zscore_run
from neurolm.datasets import load_dataset
from neurolm.decoding import NoiseModel, identify
from neurolm.decoding.identification import group_test
from neurolm.encoding import Design, held_out_scores, nested_folds
from neurolm.encoding.held_out import nested_ridge
from neurolm.features import WordLength, WordRate, join


@pytest.mark.parametrize("by", ["likelihood", "correlation"])
def test_windows_are_identified_in_listeners_held_out_above_chance(by):
    if not (Path(os.environ.get("NEUROLM_DATA", "nowhere")) / "alice2016").is_dir():
        pytest.skip("Alice is not in NEUROLM_DATA")
    alice = load_dataset("alice")
    story = alice.transcript("alice")
    runs = [zscore_run(detrend_legendre(alice.bold(subject, "alice"), 6)) for subject in alice.subjects()]
    features = join({"rate": WordRate().extract(story), "length": WordLength().extract(story)})
    times, n = runs[0].tr_times, runs[0].n_trs
    X = Design.from_training([features], [times]).transform(features, times).astype(np.float32)
    data = np.stack([run.data for run in runs])  # (n_listeners, n_trs, n_regions)
    n_listeners = len(data)
    others = (data.sum(0) - data) / (n_listeners - 1)  # of each listener: the mean of all others
    Y = np.concatenate(list(others), axis=1).astype(np.float32)
    ridge = nested_ridge(X, nested_folds(np.array([0]), n, 6, 5, 5), np.logspace(-1, 7, 17), scoring="r2", n_targets=Y.shape[1])
    predicted = np.split(held_out_scores(ridge, Y, keep_predictions=True).predictions, n_listeners, axis=1)
    found = []
    for i in range(n_listeners):
        residuals = np.concatenate([data[j] - predicted[i] for j in range(n_listeners) if j != i])
        noise = NoiseModel(0.3).fit_residuals(residuals, run_onsets=np.arange(n_listeners - 1) * n)
        found.append(identify(data[i], predicted[i], window_trs=15, by=by, noise=noise, n_permutations=500, rng=0))
    mean, p = group_test(found)
    assert len(found) == 27
    assert mean > 0.54
    assert p < 0.05
