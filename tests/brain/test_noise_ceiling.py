import numpy as np
import pytest

from neurolm.brain.noise_ceiling import (
    cc_max,
    cc_norm,
    ceiling_interval,
    explainable_variance,
    noise_ceiling,
    signal_power,
    subject_ceilings,
)
from neurolm.checks import InputError
from neurolm.statistics import columnwise_correlation

SIGNAL = np.array([0.3, 1.0, 3.0])  # planted standard deviations over noise of 1


def measured(n, n_trs=20_000):
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n_trs, 3)) * SIGNAL
    return signal, signal + rng.standard_normal((n, n_trs, 3))


@pytest.mark.parametrize("source", ["repeats", "subjects"])
def test_the_ceiling_is_what_the_true_signal_scores(source):
    signal, data = measured(5)
    single = np.mean([columnwise_correlation(signal, one) for one in data], axis=0)
    np.testing.assert_allclose(noise_ceiling(data, source=source, scored="single"), single, atol=0.01)
    mean = columnwise_correlation(signal, data.mean(0))
    np.testing.assert_allclose(noise_ceiling(data, source=source, scored="mean"), mean, atol=0.01)


def test_the_ceiling_of_the_mean_rises_with_listeners_and_that_of_a_single_one_does_not():
    _, data = measured(16)
    few, many = (noise_ceiling(data[:n], source="subjects", scored="mean") for n in (4, 16))
    assert (many > few).all()
    few, many = (noise_ceiling(data[:n], source="subjects", scored="single") for n in (4, 16))
    np.testing.assert_allclose(few, many, atol=0.02)


def test_signal_power_and_explainable_variance_recover_the_plant_without_bias():
    _, data = measured(3)
    np.testing.assert_allclose(signal_power(data), SIGNAL**2, rtol=0.05, atol=0.01)
    share = SIGNAL**2 / (1 + SIGNAL**2)
    np.testing.assert_allclose(explainable_variance(data), share, atol=0.01)
    raw = explainable_variance(data, bias_correction=False)
    np.testing.assert_allclose(raw, share + (1 - share) / 3, atol=0.01)


def test_cc_norm_of_the_truth_is_1_and_falls_with_added_noise():
    signal, data = measured(5)
    np.testing.assert_allclose(cc_norm(signal, data), 1, atol=0.02)
    worse = signal + np.random.default_rng(1).standard_normal(signal.shape) * SIGNAL
    np.testing.assert_allclose(cc_norm(worse, data), np.sqrt(0.5), atol=0.03)
    np.testing.assert_allclose(cc_norm(worse, data) * cc_max(data), columnwise_correlation(worse, data.mean(0)), atol=1e-12)


def test_noise_alone_has_no_ceiling_and_constant_voxels_are_nan():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 100, 300))
    ceilings = noise_ceiling(noise, source="repeats", scored="mean")
    assert 0.3 < np.isnan(ceilings).mean() < 0.7  # signal power is negative half of the time
    noise[2, :, 0] = 1
    for values in (signal_power(noise), explainable_variance(noise), noise_ceiling(noise, source="subjects", scored="single")):
        assert np.isnan(values[0])


@pytest.mark.parametrize("shape", [(100, 3), (1, 100, 3), (3, 2, 3)])
def test_one_measurement_has_no_ceiling(shape):
    with pytest.raises(InputError, match="the same story measured more than once"):
        noise_ceiling(np.zeros(shape), source="subjects", scored="single")


def test_what_is_bounded_must_be_named():
    with pytest.raises(InputError, match="scored must be one of 'single', 'mean'"):
        noise_ceiling(np.zeros((3, 10, 2)), source="subjects", scored="loo")
    with pytest.raises(TypeError):
        noise_ceiling(np.zeros((3, 10, 2)))


def test_each_subject_has_the_ceiling_of_its_own_signal():
    rng = np.random.default_rng(0)
    signal, gains = rng.standard_normal((4000, 1)), np.array([0.4, 0.8, 1.2, 1.6])
    data = gains[:, None, None] * signal + rng.standard_normal((4, 4000, 3))
    expected = np.sqrt(gains**2 / (1 + gains**2))  # a perfect model's correlation with that subject
    np.testing.assert_allclose(subject_ceilings(data), np.tile(expected[:, None], 3), atol=0.07)
    np.testing.assert_allclose(subject_ceilings(data[:2])[0], noise_ceiling(data[:2], source="subjects", scored="single"))
    assert np.isnan(subject_ceilings(rng.standard_normal((4, 50, 40)))).any()


@pytest.mark.parametrize("scored", ["single", "mean"])
def test_the_ceiling_has_an_interval_over_subjects_that_narrows_with_their_number(scored):
    rng = np.random.default_rng(0)
    story = rng.standard_normal((300, 8))
    data = rng.normal(0.8, 0.3, (24, 1, 1)) * story + rng.standard_normal((24, 300, 8))
    few, many = (ceiling_interval(d, scored=scored) for d in (data[:6], data))
    ceiling = noise_ceiling(data, source="subjects", scored=scored)
    assert ((many[0] <= ceiling) & (ceiling <= many[1])).all()
    assert (many[1] - many[0] < few[1] - few[0]).mean() > 0.9
    assert np.isnan(ceiling_interval(data[:2], scored=scored)).all()
