import numpy as np
import pytest
from scipy.signal import lfilter

from neurolm.encoding.significance import permutation_test, refit_test

NULLS = [("circular_shift", {}), ("block_permutation", {"block_trs": 15}), ("phase_randomization", {})]


def slow(rng, n_trs, n_voxels, rho=0.8):
    return lfilter([1], [1, -rho], rng.standard_normal((n_trs + 200, n_voxels)), axis=0)[200:]


@pytest.mark.parametrize(("null", "settings"), NULLS)
def test_p_values_of_fixed_predictions_of_slow_noise_are_at_most_as_small_as_they_claim(null, settings):
    rng = np.random.default_rng(0)
    p = []
    for _ in range(10):
        Y, pred = slow(rng, 400, 100), slow(rng, 400, 100)
        p.append(permutation_test(Y, pred, null=null, n_permutations=99, rng=rng, **settings).p_values)
    share = (np.concatenate(p) <= 0.05).mean()
    assert 0.03 < share < 0.075  # .05 with its 99.7 % interval for 1,000 voxels is .029 to .071


def test_shuffled_rows_would_have_claimed_far_too_much():
    rng = np.random.default_rng(0)
    Y, pred = slow(rng, 400, 300), slow(rng, 400, 300)
    p = permutation_test(Y, pred, null="block_permutation", block_trs=1, n_permutations=99).p_values
    assert (p <= 0.05).mean() > 0.15


@pytest.mark.parametrize(("null", "settings"), NULLS)
@pytest.mark.parametrize("run_onsets", [(0,), (0, 150)])
def test_a_planted_relation_is_found_in_every_voxel(null, settings, run_onsets):
    rng = np.random.default_rng(0)
    Y = slow(rng, 300, 20)
    result = permutation_test(Y, Y + slow(rng, 300, 20), null=null, n_permutations=199, run_onsets=run_onsets, **settings)
    assert (result.p_values < 0.02).all()
    assert (result.q_values() < 0.02).all()
    assert (result.max_p_values < 0.03).all()
    assert (result.scores > result.band(0.95)).all()


def test_null_scores_are_those_of_the_surrogates():
    rng = np.random.default_rng(0)
    Y, pred = slow(rng, 100, 3), slow(rng, 100, 3)
    assert permutation_test(Y, pred, n_permutations=500).n_permutations == 99  # every shift but none at all
    result = permutation_test(Y, pred, n_permutations=500, min_shift=10, rng=3)
    assert result.n_permutations == 81  # as many as one run of 100 has, 10 to 90
    expected = {tuple(np.round([np.corrcoef(Y[:, v], np.roll(pred[:, v], k))[0, 1] for v in range(3)], 9)) for k in range(10, 91)}
    assert {tuple(row) for row in np.round(result.null, 9)} == expected


def test_refit_scores_every_surrogate_with_the_same_procedure():
    rng = np.random.default_rng(0)
    Y, x = slow(rng, 120, 4), slow(rng, 120, 1)

    def score(targets):
        return np.array([np.corrcoef(x[:, 0], t)[0, 1] for t in targets.T])

    one, many = (refit_test(score, Y, n_permutations=30, n_targets_batch=b, rng=1) for b in (4, 50))
    np.testing.assert_array_equal(one.null, many.null)
    np.testing.assert_array_equal(one.scores, score(Y))
    moved = {tuple(np.round(score(np.roll(Y, k, axis=0)), 9)) for k in range(5, 116)}
    assert {tuple(row) for row in np.round(one.null, 9)} <= moved


def test_constant_voxels_have_no_p_value_and_do_not_disturb_the_others():
    rng = np.random.default_rng(0)
    Y, pred = slow(rng, 100, 3), slow(rng, 100, 3)
    alone = permutation_test(Y[:, 1:], pred[:, 1:], n_permutations=50)
    Y[:, 0] = 2
    result = permutation_test(Y, pred, n_permutations=50)
    assert np.isnan(result.p_values[0])
    np.testing.assert_array_equal(result.p_values[1:], alone.p_values)
    np.testing.assert_array_equal(result.max_p_values[1:], alone.max_p_values)
    np.testing.assert_array_equal(result.q_values()[1:], alone.q_values())
