"""All eight estimators: voxels, the language model's own units, and those of an untrained one, in one result."""

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.encoding import Design, EncodingModel
from neurolm.features import LMStates
from neurolm.lm import LSTM, WordTokenizer
from neurolm.lm.untrained import untrained
from neurolm.stimuli import ContextWindow, scramble
from neurolm.timescales import (
    ContextWindowSweep,
    Contrast,
    EncodingResponder,
    FitSettings,
    ForecastGain,
    ScrambleWindow,
    SwapWindow,
    SwitchWindow,
    UnitResponder,
    UnitTimescale,
    item_responses,
    load_windows,
    prediction_test,
    save_windows,
    scramble_isc,
    spectral_bands,
    unscramble_bold,
)

from .planted import DELAYS, N_WORD_TYPES, TR, tell

pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")

N_UNITS, N_VOXELS, CONTEXTS, CONSTANTS = 12, 3, (1, 4, 16), (2.0, 8.0, 32.0)
STORIES, HEARD = [tell(400, seed) for seed in range(3)], [tell(300, 9)]
SETTINGS = FitSettings(
    alphas=(1.0, 100.0, 10_000.0), n_folds=3, n_inner_folds=3, n_permutations=99, n_bootstrap=10, min_shift=20, level=0.05
)
ITEMS = [f"w{i}" for i in range(10)], [f"w{i}" for i in range(20, 30)]


class Heard:
    """A language model, an untrained one, and voxels that follow the first one's units."""

    def __init__(self):
        lm = LSTM(WordTokenizer.from_words([f"w{i}" for i in range(N_WORD_TYPES)]), N_UNITS, 1, seed=0)
        self.spaces = [LMStates(one, 1, ContextWindow(32, "sliding")) for one in (lm, untrained(lm, seed=5))]
        self.features, self.new_features = ([space.extract(story) for story in STORIES] for space in self.spaces)
        self.runs = self.bold(self.features, STORIES, np.random.default_rng(0))
        self.model = EncodingModel(SETTINGS.alphas, delays=DELAYS, n_folds=3).fit(self.features, self.runs)
        self.p = prediction_test(self.model, self.features, self.runs, SETTINGS).p_values
        self.responder = EncodingResponder(self.model, self.spaces[0])
        self.units = [UnitResponder(space) for space in self.spaces]

    def bold(self, features, stories, rng):
        """Runs of N_VOXELS that follow fixed mixtures of the features."""
        times = [np.arange(0, story.offsets[-1] + 8, TR) for story in stories]
        design = Design.from_training(self.features, [np.arange(0, s.offsets[-1] + 8, TR) for s in STORIES], DELAYS)
        weights = np.random.default_rng(1).normal(size=(len(DELAYS) * N_UNITS, N_VOXELS))
        signals = [design.transform(f, t) @ weights for f, t in zip(features, times)]
        space = Regions(tuple(f"v{i}" for i in range(N_VOXELS)))
        noisy = [s / s.std() + 0.7 * rng.normal(size=s.shape) for s in signals]
        return [BoldRun(y.astype(np.float32), t, space, "planted", s.name) for y, t, s in zip(noisy, times, stories)]


@pytest.fixture(scope="module")
def heard():
    return Heard()


def context(heard):
    sweep = ContextWindowSweep(settings=SETTINGS)
    swept, new = ([space.sweep(story, CONTEXTS) for story in STORIES] for space in heard.spaces)
    return sweep.run(swept, heard.runs).beside(sweep.units(swept), sweep.units(new))


def bands(heard):
    timescale = UnitTimescale(settings=SETTINGS)
    voxels = timescale.run([spectral_bands(story, CONSTANTS) for story in heard.features], heard.runs)
    return voxels.beside(*(timescale.units(f, CONSTANTS) for f in (heard.features, heard.new_features)))


def in_silico(run):
    def estimate(heard):
        return run(heard.responder, HEARD, heard.p).beside(*(run(units, HEARD) for units in heard.units))

    return estimate


def contrast(heard):
    test = Contrast(99)

    def of(responder, **more):
        return test.run(*(item_responses(responder, items) for items in ITEMS), **more)

    return of(heard.responder, prediction_p=heard.p).beside(*(of(units) for units in heard.units))


def isc(heard):
    """Four listeners to an intact and to scrambled stories; beside them the r_SI of the model's units."""
    story, levels, rng = HEARD[0], (1, 16), np.random.default_rng(2)

    def listeners(told):
        return np.stack([heard.bold([heard.spaces[0].extract(told)], [told], rng)[0].data for _ in range(4)])

    intact = listeners(story)
    to_times = TR * np.arange(intact.shape[1])
    groups = {}
    for size in levels:
        changed = scramble(story, size, rng)
        data = listeners(changed.transcript)
        groups[size] = unscramble_bold(data, changed, story, TR * np.arange(data.shape[1]), to_times)
    people = scramble_isc(intact, groups, n_null=99, n_bootstrap=20)
    return people.beside(*(ScrambleWindow(levels, settings=SETTINGS).simulate(units, [story]) for units in heard.units))


def forecast(heard):
    gain = ForecastGain((2, 6), width=3, n_components=5, n_null=39, settings=SETTINGS)
    units = [gain.units(features) for features in (heard.features, heard.new_features)]
    return gain.run(heard.features, heard.runs).beside(*units)


EIGHT = {
    "ContextWindowSweep": context,
    "UnitTimescale": bands,
    "SwapWindow": in_silico(SwapWindow(10, n_swaps=8, past=16, n_bootstrap=5).run),
    "ScrambleWindow": in_silico(ScrambleWindow((1, 4, 16, 64), n_scrambles=1, settings=SETTINGS).simulate),
    "SwitchWindow": in_silico(SwitchWindow(12, past=16, n_words=12, n_bootstrap=3).run),
    "Contrast": contrast,
    "intersubject_correlation": isc,
    "ForecastGain": forecast,
}


@pytest.mark.parametrize("name", EIGHT)
def test_each_estimator_shows_voxels_beside_the_models_units_and_an_untrained_models(heard, name, tmp_path):
    result = EIGHT[name](heard)
    assert len(result.valid) == N_VOXELS
    for beside in (result.model, result.untrained):
        assert len(beside.valid) == N_UNITS
        assert beside.model is None
    if name == "Contrast":
        assert result.valid.any()
        assert not np.allclose(result.model.t, result.untrained.t)
        return
    assert name == "ForecastGain" or result.valid.any()
    assert not np.allclose(result.model.curve, result.untrained.curve, equal_nan=True)
    assert np.array_equal(result.model.scales, result.untrained.scales)
    save_windows(tmp_path / "windows.h5", result)
    again, _ = load_windows(tmp_path / "windows.h5")
    for kept, one in ((again.model, result.model), (again.untrained, result.untrained)):
        np.testing.assert_array_equal(kept.index, one.index)
