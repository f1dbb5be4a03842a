import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.encoding.baseline import content_free, time_shifted
from neurolm.features import Features


def smooth_features(dtype=np.float64):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 5)).cumsum(0) @ rng.standard_normal((5, 5)) + 3
    return Features(values.astype(dtype), np.sort(rng.uniform(0, 200, 400)))


def test_a_content_free_draw_keeps_word_times_and_what_features_are_like_but_neither_word_rate_nor_which_word_has_them():
    features = smooth_features()
    free = content_free(features, 1)
    np.testing.assert_allclose(free.values.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(free.values.T), np.cov(features.values.T), rtol=1e-9)
    spectra = [np.abs(np.fft.rfft(f.values - f.values.mean(0), axis=0)) for f in (features, free)]
    np.testing.assert_allclose(*spectra, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(free.times, features.times)
    assert abs(np.corrcoef(features.values[:, 0], free.values[:, 0])[0, 1]) < 0.9
    assert content_free(smooth_features(np.float32)).values.dtype == np.float32


def test_shifted_features_move_every_word_and_wrap_around():
    features = smooth_features()
    shifted = time_shifted(features, 20.0)
    later = {round(t + 20, 9): v for t, v in zip(features.times, features.values[:, 0])}
    kept = [t for t in shifted.times if round(t, 9) in later]
    assert len(kept) == (features.times + 20 <= shifted.times.max() + 1e-9).sum()
    assert all(later[round(t, 9)] == v for t, v in zip(shifted.times, shifted.values[:, 0]) if round(t, 9) in later)
    assert (np.diff(shifted.times) >= 0).all()
    assert sorted(shifted.values[:, 0]) == sorted(features.values[:, 0])


def test_a_shift_of_nothing_or_of_more_than_the_story_is_refused():
    for shift in (0.0, 500.0):
        with pytest.raises(InputError, match="shift_s must lie between 0 and the length of the story"):
            time_shifted(smooth_features(), shift)
