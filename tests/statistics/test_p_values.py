import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from neurolm.checks import InputError
from neurolm.statistics import fdr, permutation_p


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
