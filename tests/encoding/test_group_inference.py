import numpy as np
import pytest
from scipy.stats import ttest_1samp

from neurolm.checks import InputError
from neurolm.encoding.group_inference import group_test


@pytest.mark.parametrize("n_subjects", [8, 20])
def test_p_agrees_with_the_t_test_on_normal_scores(n_subjects):
    scores = np.random.default_rng(0).standard_normal((n_subjects, 60)) + np.linspace(-0.5, 1, 60)
    result = group_test(scores, n_flips=5000)
    expected = ttest_1samp(scores, 0, alternative="greater").pvalue
    np.testing.assert_allclose(result.p_values, expected, atol=0.05)
    assert result.n_flips == (256 if n_subjects == 8 else 5000)


def test_size_is_nominal_and_the_maximum_controls_the_family():
    rng = np.random.default_rng(0)
    results = [group_test(rng.standard_normal((10, 50)), rng=rng) for _ in range(60)]
    share = np.mean([(r.p_values <= 0.05).mean() for r in results])
    assert 0.04 < share < 0.06
    assert np.mean([(r.max_p_values <= 0.05).any() for r in results]) < 0.12


def test_planted_voxels_are_found_with_their_size():
    rng = np.random.default_rng(0)
    scores = 0.05 * rng.standard_normal((12, 100))
    scores[:, :30] += 0.15
    result = group_test(scores)
    assert (result.q_values()[:30] < 0.01).all()
    assert (result.max_p_values[:30] < 0.05).all()
    assert (result.q_values()[30:] < 0.05).mean() < 0.1
    np.testing.assert_allclose(result.mean, scores.mean(0))
    assert ((result.low < result.mean) & (result.mean < result.high)).all()


def test_a_voxel_that_one_subject_lacks_is_nan():
    scores = np.random.default_rng(0).standard_normal((6, 3)) + 3
    scores[2, 1] = np.nan
    result = group_test(scores)
    for values in (result.mean, result.p_values, result.max_p_values, result.q_values(), result.low):
        assert np.isnan(values).tolist() == [False, True, False]
    assert result.p_values[0] == 1 / 64


def test_too_few_subjects_are_refused():
    with pytest.raises(InputError, match="at least 5 subjects"):
        group_test(np.zeros((4, 10)))
