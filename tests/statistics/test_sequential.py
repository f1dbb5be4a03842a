import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.encoding.significance import refit_test
from neurolm.statistics import (
    ar1_noise,
    columnwise_correlation,
    draw_ranges,
    fdr,
    n_surrogates,
    permutation_p,
    smallest_share,
)


def slow(rng, n_trs, n_voxels):
    return ar1_noise(rng.standard_normal((n_trs, n_voxels)), 0.6)


def correlation_with(x):
    return lambda Y: columnwise_correlation(np.broadcast_to(x, Y.shape), Y)


def test_rounds_double_and_cover_every_draw():
    ranges = list(draw_ranges(500, 10))
    assert [(s.start, s.stop) for s in ranges] == [(0, 20), (20, 40), (40, 80), (80, 160), (160, 320), (320, 500)]
    assert list(draw_ranges(500, None)) == [slice(0, 500)]


def test_sequential_p_is_the_number_of_exceedances_over_the_draws_that_they_took():
    null = np.array([0.9, 0.1, 0.8, 0.2, 0.7, np.nan, np.nan])
    assert permutation_p(np.array(0.5), null, stop_after=3) == 3 / 5
    assert permutation_p(np.array(0.85), null[:5], stop_after=3) == 2 / 6
    assert permutation_p(np.array(0.5), null[:5]) == 4 / 6


def test_sequential_test_gives_the_p_of_the_whole_null_stopped_early_with_a_fifth_of_the_fits():
    rng = np.random.default_rng(0)
    x = slow(rng, 200, 1)
    Y = slow(rng, 200, 120)
    Y[:, :5] += x
    whole, short = (
        refit_test(correlation_with(x), Y, run_onsets=(0, 100), n_permutations=799, stop_after=stop) for stop in (None, 10)
    )
    np.testing.assert_array_equal(permutation_p(whole.scores, whole.null, stop_after=10), short.p_values)
    assert short.n_fits < 0.2 * whole.n_fits
    np.testing.assert_array_equal(fdr(whole.p_values) <= 0.05, fdr(short.p_values) <= 0.05)
    with pytest.raises(InputError, match="stop_after must be None for p values of the maximum; got 10"):
        short.max_p_values  # noqa: B018


def test_size_and_false_discovery_rate_of_sequential_tests_hold():
    rng = np.random.default_rng(0)
    small, false = [], []
    for _ in range(30):
        x = slow(rng, 150, 1)
        Y = slow(rng, 150, 40)
        Y[:, :8] += 0.8 * x
        p = refit_test(correlation_with(x), Y, n_permutations=149, stop_after=10, rng=rng).p_values
        small.append((p[8:] <= 0.05).mean())
        found = fdr(p) <= 0.1
        false.append(found[8:].sum() / max(1, found.sum()))
    assert 0.025 < np.mean(small) < 0.08
    assert np.mean(false) < 0.14


def test_a_constant_voxel_leaves_at_once_and_has_no_p():
    rng = np.random.default_rng(0)
    Y = slow(rng, 100, 3)
    Y[:, 1] = 2
    test = refit_test(correlation_with(slow(rng, 100, 1)), Y, n_permutations=99, stop_after=5)
    assert np.isnan(test.p_values).tolist() == [False, True, False]


def test_runs_say_how_many_shifts_they_have():
    assert n_surrogates([307], 1000) == 306
    assert n_surrogates([307], 1000, min_shift=10) == 288
    assert n_surrogates([20, 30], 1000) == 599
    assert n_surrogates([200, 200, 200], 1000) == 1000
    assert n_surrogates([307], 1000, "phase_randomization") == 1000


def test_share_of_tests_that_must_be_at_the_floor():
    assert smallest_share(288, 0.05) == pytest.approx(0.0692, abs=1e-4)
    p = np.ones(1000)
    p[:69] = 1 / 289
    assert (fdr(p) > 0.05).all()
    p[:70] = 1 / 289
    assert (fdr(p) <= 0.05).sum() == 70
    assert smallest_share(10, 0.05) > 1
