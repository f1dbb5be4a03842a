"""Sign-flip tests over subjects: for subjects who are independent of each other, or for this stimulus alone.

Subjects with the same stimulus are not independent: what they share beside the features moves all scores together.
At zero signal with an intersubject correlation of .3, .42 of families had a corrected p <= .05. The test of
features over subjects with one stimulus shifts all of them by the same lag and repeats the fit: `evaluate` does, for
the mean over subjects, with p values of the largest score over voxels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from neurolm.arrays import batches
from neurolm.checks import bad
from neurolm.statistics import fdr, mean_interval

EXACT_UP_TO = 14  # subjects: 16,384 sign flips


@dataclass(frozen=True, eq=False)
class GroupTest:
    """A group's mean map and its statistics, each (n_voxels,); NaN where a subject has no value.

    mean : of the scores
    low, high : t interval over subjects
    p_values : one-sided, by flipping signs
    max_p_values : corrected for all voxels at once, by the largest statistic of each flip
    n_flips : how many flips were made; all that exist for few subjects
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_values: np.ndarray
    max_p_values: np.ndarray
    n_flips: int

    def q_values(self, method: str = "bh") -> np.ndarray:
        """(n_voxels,) false discovery rate."""
        return fdr(self.p_values, method)


def sign_flip_test(
    scores: np.ndarray,
    *,
    n_flips: int = 10_000,
    ci: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> GroupTest:
    """Test each voxel's mean over independent subjects against zero by flipping the signs of whole subjects.

    Subjects with the same stimulus are not independent: then the result holds for this stimulus, whatever in it
    moves them, and is no test of the features.

    Parameters
    ----------
    scores : array of shape (n_subjects, n_voxels)
        Held-out correlations, or paired differences between two models. Correlations are
        averaged as they are; the test uses t over subjects.
    n_flips : int
        All 2^n_subjects flips are made where those are fewer than 16,384.

    Returns
    -------
    GroupTest
        With n subjects no p is smaller than 2^-n: fewer than 5 subjects cannot reach .05.

    References
    ----------
    Nichols & Holmes (2002), Human Brain Mapping 15:1-25.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or len(scores) < 5:
        raise bad("scores", "have shape (n_subjects, n_voxels) with at least 5 subjects", scores.shape, "4 cannot reach .05.")
    rng = np.random.default_rng(rng)
    signs = _signs(len(scores), n_flips, rng)
    usable = np.isfinite(scores).all(0)
    values = scores[:, usable]
    observed = _t(np.ones((1, len(scores))), values)[0]
    reached, largest = np.zeros(values.shape[1]), np.empty(len(signs))
    for some in batches(len(signs), 200):
        t = _t(signs[some], values)
        reached += (t >= observed - 1e-9).sum(0)
        largest[some] = t.max(1, initial=-np.inf)
    p, max_p = (np.full(scores.shape[1], np.nan) for _ in range(2))
    p[usable] = reached / len(signs)
    max_p[usable] = [(largest >= o - 1e-9).mean() for o in observed]
    low, high = mean_interval(scores, ci)
    return GroupTest(np.where(usable, scores.mean(0), np.nan), low, high, p, max_p, len(signs))


group_test = sign_flip_test  # its earlier name


def _signs(n_subjects: int, n_flips: int, rng: np.random.Generator) -> np.ndarray:
    """(n_flips, n_subjects) of 1 and -1; the first row is the data themselves."""
    if n_subjects <= EXACT_UP_TO:
        return np.array(list(itertools.product([1.0, -1.0], repeat=n_subjects)))
    signs = rng.choice([1.0, -1.0], size=(n_flips, n_subjects))
    signs[0] = 1
    return signs


def _t(signs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """t over subjects after flipping: (n_flips, n_voxels). Squares do not change with the sign."""
    n = len(values)
    mean = signs @ values / n
    variance = (values**2).mean(0) - mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean / np.sqrt(np.maximum(variance, 1e-30) / (n - 1))
