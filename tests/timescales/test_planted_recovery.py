"""Windows are shown where planted ones are found on the same features, and withheld where they are not."""

from dataclasses import replace

import numpy as np
import pytest

from neurolm.brain import Regions
from neurolm.report.analysis_sections import recovery_sentence
from neurolm.report.timescale_page import timescale_page
from neurolm.timescales import FitSettings, RecoverySettings, UnitTimescale, planted_recovery, withheld
from neurolm.timescales.planted_recovery import SIGNALS, noise_ar1, plant_windows

from .planted import DELAYS, Bank, listen, tell

pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")
GRID = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0)
FIT = FitSettings(
    alphas=tuple(10.0 ** np.arange(-1, 6)), delays=DELAYS, n_folds=3, n_inner_folds=3, n_permutations=99, n_bootstrap=10
)
QUICK = replace(FIT, n_permutations=1, n_bootstrap=1, level=1.0)
SETTINGS = RecoverySettings(n_voxels=48)


@pytest.fixture(scope="module")
def stories():
    return [tell(700, seed) for seed in range(4)]


@pytest.fixture(scope="module")
def measured(stories):
    taus = np.geomspace(2, 40, 6)
    runs = listen(stories, taus, 0.6, seed=5)
    return [replace(run, space=Regions(tuple("ABCDEF"))) for run in runs]


def recovery_on(bank, stories, runs):
    """Of the timescale of bands, where `bank` gives the features; single words are what every bank of these words averages."""
    features = [bank.extract(story) for story in stories]
    drive = [Bank((0.01,)).extract(story) for story in stories]
    return features, planted_recovery(
        lambda planted: UnitTimescale(settings=QUICK).run(features, planted), drive, runs, FIT, longest=50, settings=SETTINGS
    )


def test_windows_stand_where_the_features_span_the_planted_ones(stories, measured):
    features, recovery = recovery_on(Bank(GRID), stories, measured)
    assert (recovery.rho[-3:] > 0.65).all()
    assert (np.diff(recovery.held_out_r) > 0).all()
    result = UnitTimescale(settings=FIT).run(features, measured)
    assert result.valid.all()
    kept = withheld(result, recovery)
    np.testing.assert_array_equal(kept.index, result.index)
    assert kept.details["recovery"]["n_withheld"] == 0
    assert "at least 0.50 is asked for" in recovery_sentence(kept)


def test_windows_are_withheld_where_the_features_cannot_tell_planted_ones_apart(stories, measured):
    """Leaky averages that are labelled with the wrong timescales predict as well, and their windows mean nothing."""
    labels = dict(zip(GRID, np.random.default_rng(3).permutation(GRID)))
    right = [Bank(GRID).extract(story) for story in stories]
    wrong = [replace(f, slices={f"{labels[tau]:g} words": part for tau, part in zip(GRID, f.slices.values())}) for f in right]
    drive = [Bank((0.01,)).extract(story) for story in stories]
    recovery = planted_recovery(
        lambda planted: UnitTimescale(settings=QUICK).run(wrong, planted), drive, measured, FIT, longest=50, settings=SETTINGS
    )
    result = UnitTimescale(settings=FIT).run(wrong, measured)
    assert np.isfinite(result.index).all()
    none = withheld(result, recovery)
    assert np.isnan(none.index).all()
    assert np.isnan(none.interval).all()
    assert none.valid.all()
    assert none.details["recovery"]["n_withheld"] == 6
    assert "below 0.50, 6 windows are withheld" in recovery_sentence(none)
    html = timescale_page("T", {"group": {"bands": none}})[0].html()
    assert "Withheld, wholly or in part, because planted windows are not found on these features: bands of features." in html


def test_features_without_the_planted_words_recover_nothing(stories, measured):
    _, recovery = recovery_on(Bank(GRID, per_scale=1, mixing_seed=99), [tell(700, 50 + i) for i in range(4)], measured)
    weak = ~(recovery.rho > SETTINGS.least)
    assert weak.all()


def test_a_voxel_is_judged_by_planted_ones_that_are_predicted_as_well(stories, measured):
    _, recovery = recovery_on(Bank(GRID), stories, measured)
    rho = recovery.of(np.array([-1.0, recovery.held_out_r[2], 1.0, np.nan]))
    np.testing.assert_array_equal(rho[:3], recovery.rho[[0, 2, len(SIGNALS) - 1]])
    assert np.isnan(rho[3])


def test_planted_bold_is_as_slow_as_the_measured_one_and_as_strong_as_asked(stories, measured):
    drive = [Bank((0.01,)).extract(story) for story in stories]
    rng = np.random.default_rng(0)
    noise = plant_windows(drive, measured, np.full(200, 5.0), np.zeros(200), FIT, rng)
    assert noise_ar1(noise) == pytest.approx(noise_ar1(measured), abs=0.05)
    for run, own in zip(noise, measured):
        np.testing.assert_array_equal(run.tr_times, own.tr_times)
