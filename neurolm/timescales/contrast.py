"""Two kinds of items, one map: which voxels of a model answer one of them more?

A fitted encoding model hears items of two conditions and the responses are contrasted as in an
experiment. Predictions hold no noise of measurement, so that a p value here speaks for *items*: would
others of these kinds do the same? Whether other listening would give the same model is another
question, which `story_bootstrap` answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurolm.arrays import batches
from neurolm.brain.space import Space
from neurolm.checks import bad, check_finite, check_same_length
from neurolm.progress import Progress, silent
from neurolm.statistics import fdr, permutation_p

PER_BATCH = 250  # permutations in one matrix product


@dataclass(frozen=True, eq=False)
class ContrastResult:
    """A contrast of two conditions for every voxel.

    Parameters
    ----------
    difference : array of shape (n_voxels,)
        Mean response to the first condition minus mean response to the second.
    t : array of shape (n_voxels,)
        Of the condition, with the covariates beside it.
    p : array of shape (n_voxels,)
        Two-sided, over permutations of the items' labels.
    p_max : array of shape (n_voxels,)
        Corrected for all voxels at once, against the largest |t| of each permutation.
    q : array of shape (n_voxels,)
        False discovery rate (Benjamini-Hochberg).
    valid : bool array of shape (n_voxels,)
        Voxels that are predicted out of sample and may be interpreted.
    interval : array of shape (2, n_voxels), optional
        Of `difference`, over drawn stories; see `story_bootstrap`.
    model, untrained : ContrastResult, optional
        The same contrast of the language model's own units, and of a model that has learned nothing.
    """

    difference: np.ndarray
    t: np.ndarray
    p: np.ndarray
    p_max: np.ndarray
    q: np.ndarray
    valid: np.ndarray
    interval: np.ndarray | None = None
    details: dict[str, Any] = field(default_factory=dict)
    space: Space | None = None
    model: ContrastResult | None = None
    untrained: ContrastResult | None = None

    def beside(self, model: ContrastResult, untrained: ContrastResult | None = None) -> ContrastResult:
        """The same result with the language model's own contrast beside it, and that of an untrained one."""
        return replace(self, model=model, untrained=untrained)

    def selective(self, level: float = 0.05) -> float:
        """Share of the valid voxels, or units, that tell the conditions apart."""
        return float((self.q[self.valid] <= level).mean()) if self.valid.any() else 0.0

    def map(self, level: float = 0.05) -> np.ndarray:
        """(n_voxels,) the difference where it is significant in a valid voxel, NaN elsewhere."""
        return np.where(self.valid & (self.q <= level), self.difference, np.nan)


class Contrast:
    """Permutation test of two conditions over items.

    Labels are permuted; with covariates it is the residuals of the responses that change places and
    covariates are fitted again each time (Freedman & Lane). t is that of a linear model with an
    intercept, the condition and the covariates.

    Parameters
    ----------
    n_permutations : int
    level : float
        False discovery rate of `prediction_p`.
    seed : int

    References
    ----------
    Freedman & Lane (1983), J Bus Econ Stat 1:292-298. Nichols & Holmes (2002), Hum Brain Mapp
    15:1-25 (maximum statistic).
    """

    def __init__(self, n_permutations: int = 10_000, *, level: float = 0.05, seed: int = 0) -> None:
        if n_permutations < 1:
            raise bad("n_permutations", "be >= 1", n_permutations)
        self.n_permutations, self.level, self.seed = n_permutations, level, seed

    def run(
        self,
        first: np.ndarray,
        second: np.ndarray,
        *,
        covariates: np.ndarray | None = None,
        prediction_p: np.ndarray | None = None,
        space: Space | None = None,
        progress: Progress = silent,
    ) -> ContrastResult:
        """Contrast the responses to two sets of items.

        Parameters
        ----------
        first, second : array of shape (n_items, n_voxels)
            See `item_responses`.
        covariates : array of shape (n_items of both, n_covariates), optional
            Length, frequency, surprisal: first condition above second.
        prediction_p : array of shape (n_voxels,), optional
            Of each voxel's held-out prediction; only voxels that pass the gate are valid.

        Raises
        ------
        InputError
            If the items are too few for the permutations that were asked for.
        """
        y, label = _check_items(first, second, self.n_permutations)
        confounds = _orthonormal(label, covariates)
        left = len(y) - confounds.shape[1] - 1
        x = label - confounds @ (confounds.T @ label)
        unusable = ~np.isfinite(y).all(0)
        residual = np.where(unusable, 0.0, y)
        residual -= confounds @ (confounds.T @ residual)
        flat = unusable | (np.einsum("iv,iv->v", residual, residual) <= 1e-20 * np.einsum("iv,iv->v", y, y))
        residual[:, flat] = 0.0
        measured = _t(x[None], residual, confounds, left, np.arange(len(y))[None])[0]
        count, largest = self._permute(x, residual, confounds, left, np.abs(measured), progress)
        p = np.where(flat, np.nan, (1 + count) / (1 + self.n_permutations))
        p_max = permutation_p(np.abs(measured), largest[:, None])
        valid = ~flat if prediction_p is None else (fdr(prediction_p) <= self.level) & ~flat
        return ContrastResult(
            np.asarray(first, dtype=np.float64).mean(0) - np.asarray(second, dtype=np.float64).mean(0),
            np.where(flat, np.nan, measured),
            p,
            np.where(flat, np.nan, p_max),
            fdr(p),
            valid,
            None,
            {"n_items": [len(first), len(second)], "n_permutations": self.n_permutations, "n_covariates": confounds.shape[1] - 1},
            space,
        )

    def _permute(
        self, x: np.ndarray, residual: np.ndarray, confounds: np.ndarray, left: int, measured: np.ndarray, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray]:
        """How often |t| reaches the measured one, (n_voxels,), and the largest of each permutation."""
        rng = np.random.default_rng(self.seed)
        count, largest = np.zeros(residual.shape[1], dtype=np.int64), []
        for part in batches(self.n_permutations, PER_BATCH):
            orders = rng.permuted(np.tile(np.arange(len(x)), (part.stop - part.start, 1)), axis=1)
            t = np.abs(_t(x[orders], residual, confounds, left, orders))
            count += (t >= measured * (1 - 1e-9)).sum(0)
            largest.append(t.max(1))
            progress(part.stop, self.n_permutations, "permutations")
        return count, np.concatenate(largest)


def _t(x: np.ndarray, residual: np.ndarray, confounds: np.ndarray, left: int, orders: np.ndarray) -> np.ndarray:
    """(n_permutations, n_voxels): t of the condition.

    Rows of `x` (n_permutations, n_items) are the condition in permuted order: permuting labels one
    way is permuting residuals the other way.
    """
    total = np.einsum("iv,iv->v", residual, residual)
    along = (x / np.linalg.norm(x[0])) @ residual
    left_over = np.broadcast_to(total, along.shape).copy()
    for column in confounds.T[1:]:  # residuals sum to zero in every order: the intercept takes nothing
        left_over -= (column[orders] @ residual) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, along * np.sqrt(left / np.maximum(left_over - along**2, 1e-300)), 0.0)


def check_enough_items(n_first: int, n_second: int, n_permutations: int) -> None:
    """Refuse so few items that their labels have fewer orders than permutations are asked for."""
    from math import comb

    ways = comb(n_first + n_second, n_first)
    if min(n_first, n_second) < 3 or ways < n_permutations:
        raise bad(
            "items",
            f"be at least 3 of each condition and allow {n_permutations:,} permutations",
            f"{n_first} and {n_second}, which {ways:,} labellings tell apart",
            "Add items, or ask for fewer permutations.",
        )


def _check_items(first: np.ndarray, second: np.ndarray, n_permutations: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise bad("first and second", "have shape (n_items, n_voxels) with the same voxels", f"{first.shape} and {second.shape}")
    check_enough_items(len(first), len(second), n_permutations)
    label = np.concatenate([np.ones(len(first)), np.zeros(len(second))])
    return np.concatenate([first, second]), label


def _orthonormal(label: np.ndarray, covariates: np.ndarray | None) -> np.ndarray:
    """Intercept and covariates as orthonormal columns, the intercept first: (n_items, 1 + n_covariates)."""
    columns = [np.ones((len(label), 1))]
    if covariates is not None:
        covariates = np.asarray(covariates, dtype=np.float64).reshape(len(covariates), -1)
        check_same_length("covariates", len(covariates), "items of both conditions", len(label))
        check_finite("covariates", covariates, "Leave out items whose covariates are not known.")
        columns.append((covariates - covariates.mean(0)) / np.where(covariates.std(0) > 0, covariates.std(0), 1))
    stacked = np.concatenate(columns, axis=1)
    if np.linalg.matrix_rank(np.column_stack([stacked, label])) <= stacked.shape[1]:
        raise bad("covariates", "neither determine the condition nor each other", f"{stacked.shape[1] - 1} columns",
                  "Leave out what is the same for all items or repeats another.")  # fmt: skip
    return np.linalg.qr(stacked)[0]
