import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from neurolm.checks import InputError
from neurolm.statistics import difference_p, fdr, p_equals, permutation_p, written_p


def test_p_counts_the_score_itself_and_nan_is_never_significant():
    null = np.array([[0.1, 0.5, np.nan], [0.2, 0.6, np.nan], [0.3, 0.7, np.nan]])
    np.testing.assert_allclose(permutation_p(np.array([0.25, 0.9, 0.9]), null), [0.5, 0.25, 1])
    assert np.isnan(permutation_p(np.array([np.nan]), null[:, :1]))


@pytest.mark.parametrize(("method", "theirs"), [("bh", "fdr_bh"), ("by", "fdr_by")])
def test_fdr_agrees_with_statsmodels_and_leaves_nan_out(method, theirs):
    p = np.random.default_rng(0).random(50) ** 3
    q = fdr(np.insert(p, 20, np.nan), method)
    assert np.isnan(q[20])
    np.testing.assert_allclose(np.delete(q, 20), multipletests(p, method=theirs)[1], atol=1e-12)


def test_fdr_refuses_what_is_no_p_value():
    with pytest.raises(InputError, match=r"p_values must lie in \(0, 1\]; got .*1.5"):
        fdr(np.array([0.2, 1.5]))
    with pytest.raises(InputError, match="method must be one of 'bh', 'by'"):
        fdr(np.array([0.2]), "bonferroni")


def test_a_p_at_its_floor_is_written_as_an_upper_bound_and_never_as_zero():
    assert [written_p(p, 1 / 1001) for p in (1 / 1001, 2 / 1001, 0.05, np.nan)] == ["≤ 0.001", "0.002", "0.050", "n/a"]
    assert written_p(1 / 100_001, 1 / 100_001) == "≤ 0.00001"
    assert written_p(1e-5) == "< 0.001"
    assert (p_equals(0.01, 0.01), p_equals(0.02, 0.01), p_equals(1e-9)) == ("p ≤ 0.010", "p = 0.020", "p < 0.001")


def test_differences_are_tested_two_sided_and_corrected_by_the_largest():
    null = np.random.default_rng(0).standard_normal((999, 50)) * np.geomspace(0.1, 10, 50)
    found = null[0] * 0
    found[[3, 7]] = 6 * null[:, [3, 7]].std(0) * [1, -1]
    p, p_max = difference_p(found, null)
    np.testing.assert_allclose(p[[3, 7]], 0.001)
    np.testing.assert_allclose(p_max[[3, 7]], 0.001)
    assert (np.delete(p_max, [3, 7]) == 1).all()
    assert np.isnan(difference_p(found, null, stop_after=10)[1]).all()


def test_corrected_p_of_differences_has_its_size():
    rng = np.random.default_rng(0)
    hits = [(difference_p(rng.standard_normal(20), rng.standard_normal((39, 20)))[1] <= 0.05).any() for _ in range(400)]
    assert 6 <= sum(hits) <= 36  # 20 expected
