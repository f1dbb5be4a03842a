from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from neurolm.brain import VolumeMask, VoxelMap
from neurolm.checks import InputError
from neurolm.datasets import Dataset
from neurolm.encoding.encoding_model import EncodingModel
from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.features import Features, join
from neurolm.simulation.cortex import SimulatedCortex, cortical_noise, map_correlation, plant_gradients
from neurolm.stimuli import Transcript

AFFINE = np.array([[12.0, 0, 0, -72], [0, 12, 0, -106], [0, 0, 12, -60], [0, 0, 0, 1]])
SPACE = VolumeMask(np.ones((13, 15, 12), dtype=bool), AFFINE)
TIMESCALES = (1.0, 6.0, 40.0)


class Averaged:
    """Random word vectors (the same for the same word), averaged over the past with a time constant in words."""

    def __init__(self, tau):
        self.tau = tau

    def extract(self, transcript):
        vectors = np.array([np.random.default_rng(int(w)).standard_normal(10) for w in transcript.words])
        decay = np.exp(-1 / self.tau)
        values = lfilter([np.sqrt(1 - decay**2)], [1, -decay], vectors, axis=0)
        return Features(values.astype(np.float32), transcript.mid_times)

    def settings(self):
        return {"tau": self.tau}


class Concreteness:
    def extract(self, transcript):
        values = np.array([[np.random.default_rng(int(w) + 10_000).standard_normal()] for w in transcript.words])
        return Features(values, transcript.mid_times, ("concreteness",))

    def settings(self):
        return {}


def transcript(seed, n_words=1100):
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.uniform(0.2, 0.5, n_words))
    return Transcript([str(w) for w in rng.integers(0, 300, n_words)], onsets, onsets + 0.15)


@pytest.fixture(scope="module")
def cortex():
    stories = {f"story{i}": transcript(i) for i in range(4)}
    return SimulatedCortex(stories, SPACE, {t: Averaged(t) for t in TIMESCALES}, Concreteness(), max_share=0.6)


def test_it_is_a_data_set_whose_runs_are_the_same_again(cortex):
    assert isinstance(cortex, Dataset)
    assert cortex.info.is_simulated
    run = cortex.bold("sim01", "story1")
    np.testing.assert_array_equal(run.data, cortex.bold("sim01", "story1").data)
    assert not np.array_equal(run.data[:100], cortex.bold("sim01", "story2").data[:100])
    assert run.tr_times[-1] - cortex.transcript("story1").offsets[-1] < 12
    with pytest.raises(InputError, match="story must be one of"):
        cortex.bold("sim01", "story9")


def test_signal_and_noise_have_their_planted_shares(cortex):
    signal = np.concatenate([cortex.signal(s) for s in cortex.stories()])
    bold = np.concatenate([cortex.bold("sim01", s).data for s in cortex.stories()])
    np.testing.assert_allclose(signal.std(0), 1, atol=1e-3)
    np.testing.assert_allclose(bold.std(0).mean(), 1, atol=0.03)
    r = np.array([np.corrcoef(signal[:, v], bold[:, v])[0, 1] for v in range(SPACE.n_voxels)])
    np.testing.assert_allclose(r, np.sqrt(cortex.truth.share), atol=0.25)
    assert abs((r - np.sqrt(cortex.truth.share)).mean()) < 0.01


def test_noise_is_smooth_slow_and_of_unit_variance():
    fine = VolumeMask(np.ones((14, 14, 14), bool), np.diag([4.0, 4, 4, 1]))
    noise = cortical_noise(fine, 1500, 2.0, np.random.default_rng(0))
    np.testing.assert_allclose(noise.var(0).mean(), 1, atol=0.05)
    grid = noise.reshape(1500, 14, 14, 14)
    neighbours = np.corrcoef(grid[:, 6, 6, 6], grid[:, 7, 6, 6])[0, 1]
    np.testing.assert_allclose(neighbours, np.exp(-(4**2) / (4 * (8 / 2.3548) ** 2)), atol=0.1)
    lag1 = np.mean([np.corrcoef(noise[1:, v], noise[:-1, v])[0, 1] for v in range(0, fine.n_voxels, 50)])
    np.testing.assert_allclose(lag1, 0.5 * 0.5 + 0.2, atol=0.06)


@pytest.mark.filterwarnings("ignore:.*extend alphas in that direction:UserWarning")
def test_planted_maps_are_found_by_the_ordinary_analysis(cortex):
    stories = cortex.stories()
    transcripts = [cortex.transcript(s) for s in stories]
    runs = [cortex.bold("sim01", s) for s in stories]
    sets = {
        f"{t:g} words": [join({"words": cortex.drivers[t].extract(s), "about": Concreteness().extract(s)}) for s in transcripts]
        for t in TIMESCALES
    }
    settings = EvaluationSettings(alphas=(10.0, 100.0, 1e3, 1e4), n_permutations=0, n_bootstrap=10)
    chosen = evaluate(sets, {"sim01": runs}, settings=settings).scored[0].chosen
    tested = evaluate(sets, {"sim01": runs}, settings=replace(settings, n_permutations=120, test_runs=(3,))).scored[0].chosen
    planted = cortex.planted()
    found = VoxelMap(chosen.r, SPACE)
    assert map_correlation(found, planted["explainable_correlation"]) > 0.8
    significant = tested.q < 0.05
    assert significant.sum() > 100
    assert (np.sqrt(cortex.truth.share)[significant] > 0.1).mean() > 0.9
    timescale = VoxelMap(np.log(np.array(TIMESCALES))[chosen.index], SPACE)
    truth = VoxelMap(np.log(planted["timescale"].values), SPACE)
    assert map_correlation(timescale, truth, chosen.r > 0.4) > 0.7
    model = EncodingModel(settings.alphas).fit(sets["6 words"], runs)
    weights = model.coef_.reshape(4, 11, -1)[:, 10].sum(0)
    expected = cortex.truth.concreteness * np.sqrt(cortex.truth.share)
    assert map_correlation(VoxelMap(weights, SPACE), VoxelMap(expected, SPACE)) > 0.7


def test_gradients_run_from_back_to_front_and_below_to_above():
    truth = plant_gradients(SPACE, TIMESCALES)
    _, y, z = SPACE.coordinates().T
    assert set(np.round(truth.timescale, 6)) == set(TIMESCALES)
    assert (truth.timescale[y == y.min()] == 1).all()
    assert (truth.timescale[y == y.max()] == 40).all()
    assert truth.concreteness[z == z.min()].max() < 0 < truth.concreteness[z == z.max()].min()
    assert 0.3 < truth.share.max() <= 0.35


def test_maps_of_other_spaces_are_not_compared():
    other = VolumeMask(np.ones((2, 2, 2), bool), AFFINE)
    with pytest.raises(InputError, match="Both maps need one space"):
        map_correlation(VoxelMap(np.zeros(8), other), VoxelMap(np.zeros(SPACE.n_voxels), SPACE))
