"""p values from a null distribution, and the false discovery rate over many of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from neurolm.arrays import batches
from neurolm.checks import bad, check_choice
from neurolm.progress import Progress, silent
from neurolm.statistics.surrogates import Draw


def permutation_p(scores: np.ndarray, null: np.ndarray, *, stop_after: int | None = None, tolerance: float = 0.0) -> np.ndarray:
    """One-sided p along the first axis of `null`: (1 + #{null >= score}) / (1 + n_permutations); NaN where a score is.

    Parameters
    ----------
    scores : array of shape (...)
    null : array of shape (n_permutations, ...)
        In the order in which they were drawn. NaN counts as large: nothing was shown.
    stop_after : int, optional
        Sequential p: where the null has reached the score `stop_after` times, p is that number over the draws it took, and
        later draws (NaN where they were not made) have no effect. Valid at any score (Besag & Clifford 1991).
    tolerance : float
        Null scores that are less than this below the score count as equal: for scores that are
        computed in another order than their null.

    References
    ----------
    Phipson & Smyth (2010), Stat Appl Genet Mol Biol 9:39; Besag & Clifford (1991), Biometrika 78:301-304.
    """
    reached = ~(null < scores - tolerance)
    count = reached.sum(0)
    p = (1 + count) / (1 + len(null))
    if stop_after is not None:
        took = (reached.cumsum(0, dtype=np.int32) >= stop_after).argmax(0) + 1
        p = np.where(count >= stop_after, stop_after / took, p)
    return np.where(np.isfinite(scores), p, np.nan)


def difference_p(
    differences: np.ndarray, null: np.ndarray, *, stop_after: int | None = None, alternative: str = "two-sided"
) -> tuple[np.ndarray, np.ndarray]:
    """p of differences between paired scores, one by one and corrected for all of them.

    Parameters
    ----------
    differences : array of shape (..., n_tests)
    null : array of shape (n_permutations, ..., n_tests)
        The same differences on surrogates. NaN counts as large.
    stop_after : int, optional
        As for `permutation_p`; after a sequential test there is no corrected p, and it is NaN.
    alternative : {"two-sided", "greater"}
        "greater" where the null need not lie around 0, as when the larger model pays for columns that tell nothing.

    Returns
    -------
    p, p_max : arrays of shape (..., n_tests)
        p_max compares with the largest difference of any test in each surrogate, each over its own spread (around its own
        mean, for "greater"), measured and surrogates together (max-T: Westfall & Young 1993).
    """
    check_choice("alternative", alternative, ("two-sided", "greater"))
    size, null_size = (differences, null) if alternative == "greater" else (np.abs(differences), np.abs(null))
    p = permutation_p(size, null_size, stop_after=stop_after)
    if stop_after is not None:
        return p, np.full(p.shape, np.nan)
    together = np.concatenate([size[None], null_size])
    centre = together.mean(0) if alternative == "greater" else 0.0
    spread = np.sqrt(((together - centre) ** 2).mean(0))
    spread = np.where(spread == 0, 1, spread)  # tests that never differ
    with np.errstate(invalid="ignore"):
        largest = np.fmax.reduce((null_size - centre) / spread, axis=-1)[..., None]
    return p, permutation_p((size - centre) / spread, largest)


def smallest_share(n_permutations: int, q: float) -> float:
    """Share of all tests that must lie at the smallest p, 1 / (1 + n_permutations), for any to pass Benjamini-Hochberg at `q`.

    With fewer true effects than that nothing can be found, however strong they are. Above 1 nothing can be found at all.
    """
    return 1 / (q * (1 + n_permutations))


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

    Examples
    --------
    >>> import numpy as np
    >>> fdr(np.array([0.001, 0.02, 0.5, np.nan])).round(3)
    array([0.003, 0.03 , 0.5  ,   nan])
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


def written_p(value: float | None, smallest: float = 0.0) -> str:
    """A p or q value as text: three decimals, `< 0.001` below that, "n/a" for NaN.

    Parameters
    ----------
    smallest : float
        The least that the number of permutations can give, 1 / (1 + n_permutations): a p that is not above it is an upper
        bound and is written `≤ 0.010`, with as many digits as it needs.
    """
    if value is None or not math.isfinite(float(value)):
        return "n/a"
    if float(value) <= smallest * (1 + 1e-9):
        return f"≤ {smallest:.{max(3, math.ceil(-math.log10(smallest) - 1e-3))}f}"
    return "< 0.001" if float(value) < 0.0005 else f"{value:.3f}"


def p_equals(value: float | None, smallest: float = 0.0) -> str:
    """The same inside a sentence: "p = 0.013", "p ≤ 0.010", "p < 0.001"."""
    text = written_p(value, smallest)
    return f"p {text}" if text[0] in "≤<" else f"p = {text}"


STOP_AFTER = 10
FIRST_DRAWS = 20


def draw_ranges(n: int, stop_after: int | None) -> Iterator[slice]:
    """All draws at once, or for a sequential test slices that double: columns can leave after each."""
    start, size = 0, n if stop_after is None else FIRST_DRAWS
    while start < n:
        yield slice(start, min(start + size, n))
        start, size = start + size, start + size


def null_by_draws(
    score: Callable[[np.ndarray], np.ndarray],
    Y: np.ndarray,
    measured: np.ndarray,
    draws: Sequence[Draw],
    *,
    stop_after: int | None = None,
    n_targets_batch: int = 20_000,
    progress: Progress = silent,
) -> np.ndarray:
    """Scores of surrogates of the columns of Y: (n_draws, n_columns), NaN where a column had left.

    Parameters
    ----------
    score : function of (n_trs, n_targets) returning (n_targets,)
        Each column by itself; surrogates are given as further columns.
    measured : array of shape (n_columns,)
        The scores of Y itself.
    draws : sequence of functions that make a surrogate
        From `surrogate_draws`.
    stop_after : int, optional
        Exceedances after which a column leaves; None keeps all.
    n_targets_batch : int
        Most targets that go into one call of `score`.
    """
    null = np.full((len(draws), len(measured)), np.nan, dtype=measured.dtype)
    active = np.ones(len(measured), dtype=bool)
    for some in draw_ranges(len(draws), stop_after):
        columns = np.flatnonzero(active)
        if not len(columns):
            break
        for part in batches(some.stop - some.start, max(1, n_targets_batch // len(columns))):
            rows = np.arange(some.start + part.start, min(some.start + part.stop, some.stop))
            made = [draws[i](Y[:, columns]).astype(Y.dtype, copy=False) for i in rows]
            null[np.ix_(rows, columns)] = score(np.concatenate(made, axis=1)).reshape(len(rows), -1)
            progress(rows[-1] + 1, len(draws), "permutations")
        active = ~has_left(measured, null, stop_after, some.stop)
    return null


def has_left(scores: np.ndarray, null: np.ndarray, stop_after: int | None, n_drawn: int) -> np.ndarray:
    """Where the null of the first `n_drawn` draws has reached the score `stop_after` times; scores that are NaN leave at once."""
    if stop_after is None:
        return np.zeros(scores.shape, dtype=bool)
    return (~(null[:n_drawn] < scores)).sum(0) >= stop_after
