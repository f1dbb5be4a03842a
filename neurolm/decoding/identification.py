"""Which of N stories or stretches of time was heard: identification, with a null that keeps autocorrelation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import to_numpy
from neurolm.checks import bad, check_choice, check_finite, check_same_length
from neurolm.decoding.likelihood import Noise
from neurolm.statistics import block_permutation, circular_shifts, columnwise_correlation, permutation_p, unit_columns

NULLS = ("circular_shift", "block_permutation", "permutation")
ALL_PERMUTATIONS_UP_TO = 7  # items: 5,040 permutations


@dataclass(frozen=True, eq=False)
class Identification:
    """How well each item is discriminated from the others.

    similarity : (n_items, n_items), [i, j] of what was measured for item i with what is predicted for item j
    percentile_ranks : (n_items,) share of the other items that are less similar than the right one; ties count half
    null : (n_permutations,) mean percentile rank when items are paired at random
    null_kind : how they were paired
    """

    similarity: np.ndarray
    percentile_ranks: np.ndarray
    null: np.ndarray
    null_kind: str

    @property
    def mean_percentile_rank(self) -> float:
        """1 is perfect, .5 is chance."""
        return float(self.percentile_ranks.mean())

    @property
    def accuracy(self) -> float:
        """Share of items whose right partner is the most similar one; chance is 1 / n_items."""
        return float((self.percentile_ranks == 1).mean())

    @property
    def p_value(self) -> float:
        """One-sided, of the mean percentile rank: (1 + null at least as high) / (1 + n_permutations)."""
        return float(permutation_p(np.array(self.mean_percentile_rank), self.null, tolerance=1e-12))


def identify(
    measured: Any,
    predicted: Any,
    *,
    window_trs: int | None = None,
    step_trs: int | None = None,
    by: str = "likelihood",
    noise: Noise | None = None,
    null: str | None = None,
    n_permutations: int = 2000,
    block_trs: int = 10,
    min_shift_trs: int = 10,
    rng: np.random.Generator | int = 0,
) -> Identification:
    """Identify windows of one run, or whole stories, from BOLD.

    Parameters
    ----------
    measured, predicted : array of shape (n_trs, n_voxels), or sequences of such arrays
        One run and its prediction by an encoding model: windows of `window_trs` are discriminated from each
        other. Or one array per story: measured[i] is compared with every predicted[j], which must
        have its shape (predict each candidate story at the run's TR times).
    window_trs, step_trs : int
        Of windows, in TRs; the step defaults to the window (no overlap).
    by : {"likelihood", "correlation"}
        -1/2 residual P residual' under the noise model, or the correlation over the window's TRs and
        voxels.
    noise : NoiseModel, optional
        For the likelihood; None is white noise of unit variance.
    null : {"circular_shift", "block_permutation", "permutation"}, optional
        How pairs are broken. Default: block permutation for windows, permutation of stories.
    block_trs, min_shift_trs : int
        Blocks and least shifts in TRs; longer than the memory of BOLD and delays.

    Returns
    -------
    Identification
    """
    check_choice("by", by, ("likelihood", "correlation"))
    if isinstance(measured, (list, tuple)):
        check_same_length("measured", len(measured), "predicted", len(predicted), "One prediction for each story.")
        similarity = _story_similarity([np.asarray(m) for m in measured], predicted, by, noise)
        return identify_similarity(similarity, null=null or "permutation", n_permutations=n_permutations, rng=rng)
    if window_trs is None:
        raise bad("window_trs", "be given for windows of one run", None, "Or give sequences: one array for each story.")
    measured, predicted = to_numpy(measured).astype(np.float64), to_numpy(predicted).astype(np.float64)
    check_same_length("measured", len(measured), "predicted", len(predicted))
    step = step_trs or window_trs
    similarity = window_similarity(measured, predicted, window_trs, step, by=by, noise=noise)
    return identify_similarity(
        similarity,
        null=null or "block_permutation",
        n_permutations=n_permutations,
        block=max(1, math.ceil(block_trs / step)),
        min_shift=max(1, math.ceil(max(min_shift_trs, window_trs) / step)),
        rng=rng,
    )


def identify_similarity(
    similarity: Any,
    *,
    null: str = "block_permutation",
    n_permutations: int = 2000,
    block: int = 1,
    min_shift: int = 1,
    rng: np.random.Generator | int = 0,
) -> Identification:
    """The same from any similarity (n_items, n_items): for example of decoded with heard windows of words.

    `block` and `min_shift` count items. Overlapping windows are not independent: their blocks and
    shifts must be longer than a window.
    """
    similarity = np.asarray(similarity, dtype=np.float64)
    check_choice("null", null, NULLS)
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise bad("similarity", "have shape (n_items, n_items), at least two items", similarity.shape)
    check_finite("similarity", similarity, "Leave out windows in which nothing can be compared.")
    n, rows = len(similarity), np.arange(len(similarity))
    ranks = _percentile_ranks(similarity)
    pairings = _pairings(n, null, n_permutations, block, min_shift, np.random.default_rng(rng))
    null_means = np.array([ranks[rows, pairing].mean() for pairing in pairings])
    return Identification(similarity, ranks[rows, rows], null_means, null)


def group_test(listeners: Sequence[Identification]) -> tuple[float, float]:
    """Mean percentile rank over listeners to one story, and its p.

    Listeners to the same story are not independent: random pairings must be the same for all, so each must
    have been identified with the same null, number of permutations and seed.

    Returns
    -------
    mean : float
    p : float
        (1 + null means at least as high) / (1 + n_permutations)
    """
    kinds = {(one.null_kind, len(one.null), len(one.percentile_ranks)) for one in listeners}
    if len(kinds) != 1:
        raise bad("listeners", "be identified with the same windows, null and number of permutations", sorted(kinds))
    mean = float(np.mean([one.mean_percentile_rank for one in listeners]))
    null = np.mean([one.null for one in listeners], axis=0)
    return mean, float(permutation_p(np.array(mean), null, tolerance=1e-12))


def window_similarity(
    measured: np.ndarray,
    predicted: np.ndarray,
    window_trs: int,
    step_trs: int,
    *,
    by: str = "likelihood",
    noise: Noise | None = None,
) -> np.ndarray:
    """(n_windows, n_windows) similarity of every measured with every predicted window of one run."""
    n_trs = len(measured)
    starts = np.arange(0, n_trs - window_trs + 1, step_trs)
    if window_trs < 1 or step_trs < 1 or len(starts) < 2:
        raise bad("window_trs and step_trs", f"give at least two windows in {n_trs} TRs", (window_trs, step_trs))
    cut = [slice(s, s + window_trs) for s in starts]
    if by == "correlation":
        a, b = (unit_columns(np.stack([data[c].ravel() for c in cut], axis=1)) for data in (measured, predicted))
        return a.T @ b
    whitened = predicted if noise is None else noise.multiply_precision(predicted)
    own = measured if noise is None else noise.multiply_precision(measured)
    energy = np.array([(own[c] * measured[c]).sum() for c in cut])
    size = np.array([(whitened[c] * predicted[c]).sum() for c in cut])
    cross = np.stack([measured[c].ravel() for c in cut]) @ np.stack([whitened[c].ravel() for c in cut]).T
    return cross - (energy[:, None] + size[None, :]) / 2


def _story_similarity(measured: Sequence[np.ndarray], predicted: Any, by: str, noise: Noise | None) -> np.ndarray:
    n = len(measured)
    out = np.empty((n, n))
    for i, own in enumerate(measured):
        for j in range(n):
            other = to_numpy(predicted[i][j] if isinstance(predicted[i], (list, tuple)) else predicted[j])
            if other.shape != own.shape:
                raise bad(
                    f"the prediction of story {j} for run {i}",
                    f"have the run's shape, {own.shape}",
                    other.shape,
                    "Predict every story at every run's TR times: predicted[i][j].",
                )
            both = np.stack([own, other]).astype(np.float64)
            out[i, j] = window_similarity_of(both[0], both[1], by, noise)
    return out


def window_similarity_of(measured: np.ndarray, predicted: np.ndarray, by: str, noise: Noise | None) -> float:
    """Similarity of one stretch of BOLD with one prediction."""
    if by == "correlation":
        return float(columnwise_correlation(measured.reshape(-1, 1), predicted.reshape(-1, 1))[0])
    residual = measured - predicted
    return float(-0.5 * ((residual if noise is None else noise.multiply_precision(residual)) * residual).sum())


def _percentile_ranks(similarity: np.ndarray) -> np.ndarray:
    """[i, j]: share of the other columns of row i that are below column j, ties half."""
    from scipy.stats import rankdata

    return (rankdata(similarity, axis=1) - 1) / (similarity.shape[1] - 1)


def _pairings(n: int, null: str, n_permutations: int, block: int, min_shift: int, rng: np.random.Generator) -> list[np.ndarray]:
    rows = np.arange(n)
    if null == "circular_shift":
        return [(rows + shift) % n for shift in circular_shifts([n], n_permutations, min_shift, rng)[:, 0]]
    if null == "block_permutation":
        return [block_permutation([slice(0, n)], block, rng) for _ in range(n_permutations)]
    if n <= ALL_PERMUTATIONS_UP_TO:
        return [np.array(p) for p in itertools.permutations(range(n)) if p != tuple(range(n))]
    return [rng.permutation(n) for _ in range(n_permutations)]
