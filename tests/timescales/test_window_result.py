import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.timescales.window_result import WindowResult, crossing, gate, gated, saturation

SCALES = np.array([1.0, 2.0, 4.0, 8.0])


def test_saturation_is_interpolated_in_log_scale():
    curve = np.array([[0.0, 0.5], [0.5, 1.0], [0.95, 1.0], [1.0, 1.0]])
    assert saturation(SCALES, curve) == pytest.approx([4.0, 2 ** (0.45 / 0.5)])


def test_a_curve_that_falls_again_saturates_where_its_running_maximum_does():
    curve = np.array([[0.2], [1.0], [0.6], [0.9]])
    assert saturation(SCALES, curve, 1.0) == pytest.approx([2.0])


def test_a_curve_below_zero_has_no_window():
    assert np.isnan(saturation(SCALES, np.full((4, 1), -0.1))).all()


def test_crossing_is_unknown_where_the_level_is_never_reached():
    curve = np.array([[0.1, 0.8], [0.2, 0.9], [0.3, 0.9], [0.4, 1.0]])
    found = crossing(SCALES, curve, 0.75)
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_the_gate_passes_no_voxel_in_all_but_a_share_of_noise_experiments():
    rng = np.random.default_rng(0)
    passes = [gate(rng.integers(1, 1001, size=50) / 1000).any() for _ in range(400)]
    assert np.mean(passes) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_insignificant_voxels_have_neither_window_nor_interval():
    draws = np.random.default_rng(0).uniform(2, 4, size=(100, 2))
    result = gated("x", SCALES, np.ones((4, 2)), np.array([3.0, 3.0]), draws, np.array([0.001, 0.6]), "words")
    assert result.valid.tolist() == [True, False]
    assert np.isnan(result.index[1])
    assert np.isnan(result.interval[:, 1]).all()
    assert 2 < result.interval[0, 0] < 2.2
    assert 3.8 < result.interval[1, 0] < 4


def test_units_of_a_model_need_no_gate():
    result = gated("x", SCALES, np.ones((4, 1)), np.array([3.0]), np.empty((0, 1)), None, "words")
    assert result.index[0] == 3.0
    assert np.isnan(result.p[0])


def test_a_window_where_nothing_is_significant_is_refused():
    with pytest.raises(InputError, match="index must be NaN where"):
        nothing = np.array([False])
        WindowResult("x", SCALES, np.ones((4, 1)), np.ones(1), np.full((2, 1), np.nan), np.ones(1), nothing, "words")


def test_the_models_window_stands_beside():
    voxel = gated("x", SCALES, np.ones((4, 1)), np.array([3.0]), np.empty((0, 1)), None, "words")
    assert voxel.beside(voxel).model is voxel
