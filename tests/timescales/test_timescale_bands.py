import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.features import Features
from neurolm.timescales.timescale_bands import band_timescales, bank_bands, exponential_average, spectral_bands

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(300, 5))
FEATURES = Features(VALUES, np.arange(300.0))


def test_bands_add_up_to_the_features():
    bands = spectral_bands(FEATURES, (2, 8, 32))
    total = sum(bands.values[:, s] for s in bands.slices.values())
    np.testing.assert_allclose(total, VALUES, atol=1e-12)


def test_a_word_never_changes_the_bands_of_earlier_words():
    later = VALUES.copy()
    later[200:] += 5
    changed = spectral_bands(Features(later, np.arange(300.0)), (2, 8, 32)).values
    np.testing.assert_array_equal(changed[:200], spectral_bands(FEATURES, (2, 8, 32)).values[:200])


def test_exponential_average_is_its_recursion():
    keep = np.exp(-1 / 4)
    state, rows = VALUES[0], [VALUES[0]]
    for value in VALUES[1:]:
        state = keep * state + (1 - keep) * value
        rows.append(state)
    np.testing.assert_allclose(exponential_average(VALUES, 4.0), rows, atol=1e-12)


def test_slow_input_falls_into_slow_bands():
    t = np.arange(4000)
    powers = []
    for period in (8, 60, 500):
        wave = Features(np.sin(2 * np.pi * t / period)[:, None], t.astype(float))
        bands = spectral_bands(wave, (1, 4, 16, 64))
        scale = np.array(list(band_timescales(bands).values()))
        power = np.array([bands.values[500:, s].var() for s in bands.slices.values()])
        powers.append(np.exp(np.log(scale) @ power / power.sum()))
    assert powers[0] < powers[1] < powers[2]


def test_units_are_gathered_by_their_timescales():
    bands = bank_bands(FEATURES, np.array([9.0, 1.0, 9.0, 4.0, 1.0]), 3)
    assert list(band_timescales(bands).values()) == pytest.approx([1, 6, 9])
    np.testing.assert_array_equal(bands.values[:, :2], VALUES[:, [1, 4]])


def test_bands_without_timescales_are_refused():
    with pytest.raises(InputError, match="named by timescales"):
        band_timescales(FEATURES)
