"""p values from a null distribution, and the false discovery rate over many of them."""

from __future__ import annotations

import numpy as np

from neurolm.checks import bad, check_choice


def permutation_p(scores: np.ndarray, null: np.ndarray, *, tolerance: float = 0.0) -> np.ndarray:
    """(1 + #{null >= score}) / (1 + n_permutations) along the first axis of `null`; NaN where a score is.

    Parameters
    ----------
    tolerance : float
        Null scores that are less than this below the score count as equal: for scores that are
        computed in another order than their null.

    Notes
    -----
    One-sided and never 0 (Phipson & Smyth 2010, Stat Appl Genet Mol Biol 9:39). A null that is NaN
    counts as large: nothing was shown.
    """
    p = (1 + (~(null < scores - tolerance)).sum(0)) / (1 + len(null))
    return np.where(np.isfinite(scores), p, np.nan)


def fdr(p_values: np.ndarray, method: str = "bh") -> np.ndarray:
    """False discovery rate over all finite p values: q of the same shape, NaN where p is.

    Parameters
    ----------
    p_values : array
    method : {"bh", "by"}
        Benjamini-Hochberg, for independent or positively dependent tests; Benjamini-Yekutieli, for
        any dependence.

    References
    ----------
    Benjamini & Hochberg (1995), J R Stat Soc B 57:289-300; Benjamini & Yekutieli (2001), Ann Stat 29:1165-1188.
    """
    from scipy.stats import false_discovery_control

    check_choice("method", method, ("bh", "by"))
    p_values = np.asarray(p_values, dtype=np.float64)
    known = np.isfinite(p_values)
    if ((p_values[known] <= 0) | (p_values[known] > 1)).any():
        raise bad("p_values", "lie in (0, 1]", p_values[known][(p_values[known] <= 0) | (p_values[known] > 1)][0])
    q = np.full(p_values.shape, np.nan)
    if known.any():
        q[known] = false_discovery_control(p_values[known], method=method)
    return q
