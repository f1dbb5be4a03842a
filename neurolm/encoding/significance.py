"""Permutation tests of encoding scores: nulls that keep autocorrelation, and what to do with many voxels.

permutation_test     fixed predictions of responses that the fit never saw: an untouched test story
refit_test           cross-validated scores: surrogates of the BOLD, with the whole fit repeated for each
fdr                  q values over voxels (Benjamini-Hochberg, Benjamini-Yekutieli)

Fixed cross-validated predictions must not be shifted against the BOLD: folds share their data, so
that scores of different folds agree by chance more often than they do after a shift. Measured on
slow noise (4,000 voxels over 40 designs), a nominal .05 was .11 for one run of 342 TRs, .12 for
three runs of 300 and .10 for six; `refit_test` is for that.

The measured sizes of all nulls are on the page on calibration (docs/calibration.md). Every p is one-sided and never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.scores import correlation_score
from neurolm.progress import Progress, silent
from neurolm.statistics import MIN_SHIFT, fdr, null_by_draws, permutation_p, surrogate_draws, surrogates, unit_columns


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Scores and their null distribution.

    scores : (n_voxels,)
    null : (n_permutations, n_voxels); NaN where a sequential test was over
    null_kind : which surrogates were drawn
    stop_after : exceedances after which a voxel left the null; None where all voxels stayed
    """

    scores: np.ndarray
    null: np.ndarray
    null_kind: str
    stop_after: int | None = None

    @property
    def n_permutations(self) -> int:
        return len(self.null)

    @property
    def n_fits(self) -> int:
        """Surrogate voxels that were scored."""
        return int(np.isfinite(self.null).sum())

    @property
    def smallest_p(self) -> float:
        """No p can be smaller than this: 1 / (1 + n_permutations)."""
        return 1 / (1 + len(self.null))

    @property
    def p_values(self) -> np.ndarray:
        """(n_voxels,) one-sided; NaN where the score is."""
        return permutation_p(self.scores, self.null, stop_after=self.stop_after)

    @property
    def max_p_values(self) -> np.ndarray:
        """(n_voxels,) corrected for all voxels at once: against the largest null score of each permutation.

        Raises
        ------
        InputError
            After a sequential test: the largest score needs every voxel in every permutation.
        """
        if self.stop_after is not None:
            raise bad("stop_after", "be None for p values of the maximum", self.stop_after, "Test again with stop_after=None.")
        with np.errstate(invalid="ignore"):
            largest = np.fmax.reduce(self.null, axis=1)
        return permutation_p(self.scores, largest[:, None])

    def q_values(self, method: str = "bh") -> np.ndarray:
        """(n_voxels,) false discovery rate over these voxels."""
        return fdr(self.p_values, method)

    def band(self, level: float = 0.95) -> np.ndarray:
        """(n_voxels,) the null's quantile: what a figure draws as chance."""
        return np.nanquantile(self.null, level, axis=0) if self.stop_after is not None else np.quantile(self.null, level, axis=0)


def permutation_test(
    Y: np.ndarray,
    Y_pred: np.ndarray,
    *,
    null: str = "circular_shift",
    n_permutations: int = 1000,
    run_onsets: Sequence[int] = (0,),
    min_shift: int = 1,
    block_trs: int = 30,
    rng: np.random.Generator | int = 0,
    progress: Progress = silent,
) -> PermutationTest:
    """Test the correlation of fixed predictions with responses that the fit never saw.

    Parameters
    ----------
    Y, Y_pred : array of shape (n_trs, n_voxels)
        An untouched test set. For cross-validated predictions use `refit_test`.
    null : {"circular_shift", "block_permutation", "phase_randomization"}
        What is done to the predictions, the same for all voxels: each run shifted by its own lag,
        blocks put in another order, or random phases.
    n_permutations : int
        One run has only n_trs - 2 * min_shift + 1 circular shifts; no more are used.
    run_onsets : sequence of int
    min_shift, block_trs : int
        In TRs. 1 takes every shift but none at all: with the measured one they are a group, and the size is exact.
        Blocks must be longer than the memory of BOLD and delays, by three times.

    Returns
    -------
    PermutationTest

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.standard_normal((200, 1))
    >>> Y = np.hstack([signal, np.zeros((200, 1))]) + rng.standard_normal((200, 2))
    >>> found = permutation_test(Y, np.hstack([signal, signal]), n_permutations=99, rng=0)
    >>> bool(found.p_values[0] < 0.05 < found.p_values[1])
    True
    """
    measured = correlation_score(Y, Y_pred)
    y, prediction = unit_columns(Y), unit_columns(Y_pred)
    settings: dict[str, Any] = {"run_onsets": run_onsets, "min_shift": min_shift, "block_trs": block_trs, "rng": rng}
    values = []
    for surrogate in surrogates(prediction, n_permutations, null=null, **settings):
        if null == "phase_randomization" and len(run_onsets) > 1:  # runs' means moved against each other
            surrogate = unit_columns(surrogate)
        values.append(np.einsum("tv,tv->v", y, surrogate))
        progress(len(values), n_permutations, "permutations")
    return PermutationTest(measured, np.stack(values), null)


def refit_test(
    score: Callable[[np.ndarray], np.ndarray],
    Y: np.ndarray,
    *,
    null: str = "circular_shift",
    n_permutations: int = 1000,
    run_onsets: Sequence[int] = (0,),
    min_shift: int = MIN_SHIFT,
    block_trs: int = 30,
    stop_after: int | None = None,
    n_targets_batch: int = 20_000,
    rng: np.random.Generator | int = 0,
    progress: Progress = silent,
) -> PermutationTest:
    """Test cross-validated scores: make surrogates of the BOLD and repeat the whole fit for each.

    Surrogates enter `score` as further targets, so that everything which depends on the features
    alone is computed once.

    Parameters
    ----------
    score : function of (n_trs, n_targets) returning (n_targets,)
        The whole procedure, penalties included: for example nested cross-validation.
    Y : array of shape (n_trs, n_voxels)
        The measured BOLD, scored first.
    stop_after : int, optional
        Sequential test (Besag & Clifford 1991): a voxel leaves once its null has reached its score this many
        times. 10 saves four fits in five of 200 surrogates and nine in ten of 1,000 where most voxels are not
        predicted; for the false discovery rate only, not for `max_p_values`.
    n_targets_batch : int
        Most targets that go into one call of `score`.

    Returns
    -------
    PermutationTest
        Other parameters as for `permutation_test`.
    """
    if n_permutations < 1:
        raise bad("n_permutations", "be >= 1", n_permutations)
    settings: dict[str, Any] = {"run_onsets": run_onsets, "min_shift": min_shift, "block_trs": block_trs, "rng": rng}
    draws = list(surrogate_draws(len(Y), n_permutations, null=null, **settings))
    measured = np.asarray(score(Y))
    values = null_by_draws(score, Y, measured, draws, stop_after=stop_after, n_targets_batch=n_targets_batch, progress=progress)
    return PermutationTest(measured, values, null, stop_after)
