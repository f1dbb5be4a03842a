import numpy as np
import pytest
from scipy.stats import spearmanr

from neurolm.brain import BoldRun
from neurolm.encoding import r2_score
from neurolm.features import Features
from neurolm.timescales.timescale_bands import spectral_bands
from neurolm.timescales.unit_timescale import UnitTimescale, weighted_timescale

from .planted import Bank, listen, tell
from .test_context_sweep import QUICK

BANK = Bank((1.5, 5.0, 16.0, 50.0))
TAUS = np.array([1.5, 5.0, 16.0, 50.0, 5.0])


@pytest.fixture(scope="module")
def planted():
    stories = [tell(900, seed) for seed in range(3)]
    return [BANK.extract(story) for story in stories], listen(stories, TAUS, 0.8)


@pytest.fixture(scope="module")
def found(planted):
    return UnitTimescale(settings=QUICK).run(*planted)


def test_a_voxel_that_reads_one_band_peaks_in_it(found):
    assert (found.scales[found.curve.argmax(0)] == TAUS).all()
    assert spearmanr(found.index, TAUS).statistic > 0.9


def test_neither_sign_nor_scale_of_features_or_bold_matters(planted, found):
    features, runs = planted
    scale = np.random.default_rng(0).uniform(0.1, 10, BANK.per_scale * 4) * np.tile([1, -1], 2 * BANK.per_scale)
    rescaled = [Features(f.values * scale, f.times, f.names, f.slices) for f in features]
    turned = [BoldRun(-3 * run.data, run.tr_times, run.space) for run in runs]
    again = UnitTimescale(settings=QUICK).run(rescaled, turned)
    np.testing.assert_allclose(again.index, found.index, rtol=1e-3)


def test_shares_add_up_to_the_held_out_r2(found):
    np.testing.assert_allclose(found.curve.sum(0), found.details["r2"])
    assert (found.details["r2"] > 0.3).all()


def test_spectral_bands_of_unsorted_features_give_the_same_order(planted):
    features, runs = planted
    drive = [Features(tell_words(seed), f.times) for seed, f in enumerate(features)]
    result = UnitTimescale(settings=QUICK).run([spectral_bands(d, (2.0, 8.0, 32.0)) for d in drive], runs)
    assert spearmanr(result.index, TAUS).statistic > 0.85


def tell_words(seed):
    return Bank((0.05,)).extract(tell(900, seed)).values  # no memory: the mixtures of the word itself


def test_units_of_a_bank_keep_the_order_of_their_timescales():
    result = UnitTimescale().units([BANK.extract(tell(2000))], (2.0, 4.0, 8.0, 16.0, 32.0, 64.0))
    means = result.index.reshape(4, -1).mean(1)
    assert (np.diff(np.log(means)) > 0.2).all()
    np.testing.assert_allclose(result.curve.sum(0), 1, atol=0.02)


def test_mean_log_timescale_ignores_what_explains_less_than_nothing():
    assert weighted_timescale(np.array([2.0, 8.0, 32.0]), np.array([[1.0], [1.0], [-5.0]])) == pytest.approx([4.0])


def test_r2_is_that_of_the_joint_prediction():
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(2, 50, 1))
    y, p = y - y.mean(0), p - p.mean(0)
    assert (p * (2 * y - p)).sum() / (y * y).sum() == pytest.approx(float(r2_score(y, p)[0]))
