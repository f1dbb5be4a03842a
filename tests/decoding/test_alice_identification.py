"""Real fMRI: which half minute of Alice was heard, told for listeners whom the model never saw."""

import os
from pathlib import Path

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.decoding.held_out_listeners import identify_held_out
from neurolm.encoding import Design
from neurolm.workflows.decoding_config import read_decode_config
from neurolm.workflows.identification import make_identification_plan, open_listeners, word_features

CONFIG = Path(__file__).parents[2] / "configs" / "identify_alice.yaml"


def test_windows_are_identified_in_listeners_held_out_above_chance_and_not_in_rolled_bold():
    if not (Path(os.environ.get("NEUROLM_DATA", "nowhere")) / "alice2016").is_dir():
        pytest.skip("Alice is not in NEUROLM_DATA")
    plan = make_identification_plan(read_decode_config(CONFIG))
    story, runs = open_listeners(plan)
    features = word_features(plan.config, story)
    times = runs[0].tr_times
    X = Design.from_training([features], [times]).transform(features, times)
    found = identify_held_out(X, runs, n_permutations=500)
    for one in found.values():
        assert len(one.listeners) == 27
        assert one.mean > 0.57
        assert one.p < 0.01
        assert one.null.mean() == pytest.approx(0.5, abs=0.01)
    rolled = [run.with_data(np.roll(run.data, run.n_trs // 2, axis=0)) for run in runs]
    for one in identify_held_out(X, rolled, n_permutations=500).values():
        assert one.p > 0.05


def test_a_shared_signal_is_identified_and_noise_is_not(rng):
    X = rng.normal(size=(160, 4)).astype(np.float32)
    weights = rng.normal(size=(4, 3))
    space = Regions(("a", "b", "c"))
    for strength, expected in ((1.0, True), (0.0, False)):
        noise = rng.normal(size=(5, 160, 3))
        runs = [BoldRun(strength * X @ weights + own, np.arange(160) * 2.0, space, f"s{i}") for i, own in enumerate(noise)]
        found = identify_held_out(X, runs, window_trs=8, n_permutations=200)
        for one in found.values():
            assert one.subjects == ("s0", "s1", "s2", "s3", "s4")
            assert (one.mean > 0.9) == expected
            assert (one.p < 0.02) == expected


def test_too_few_listeners_or_other_lengths_are_refused(rng):
    X = rng.normal(size=(60, 2))
    runs = [BoldRun(rng.normal(size=(60, 2)), np.arange(60) * 2.0, Regions(("a", "b")), f"s{i}") for i in range(3)]
    with pytest.raises(InputError, match="runs must be of at least three listeners; got 2"):
        identify_held_out(X, runs[:2])
    with pytest.raises(InputError, match="TRs of s0 and rows of X must have the same length"):
        identify_held_out(X[:50], runs)
