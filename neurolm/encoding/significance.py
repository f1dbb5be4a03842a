"""Could this score have come about by chance? Nulls that keep autocorrelation, and what to do with many voxels.

permutation_test     fixed predictions of responses that the fit never saw: an untouched test story
refit_test           cross-validated scores: the BOLD is made anew and the whole fit repeated
fdr                  q values over voxels (Benjamini-Hochberg, Benjamini-Yekutieli)

Fixed cross-validated predictions must not be moved against the BOLD: folds share their data, so
that scores of different folds agree by chance more often than they do after a shift. Measured on
slow noise (4,000 voxels over 40 designs), a nominal .05 was .11 for one run of 342 TRs, .12 for
three runs of 300 and .10 for six; `refit_test` is for that.

Sizes of `refit_test` on that noise (AR(1), .7 from TR to TR; one run of 342 TRs; 3,600 voxels over
60 designs): .057 +- .007 for circular shifts of 10 TRs and more, .054 +- .008 for phase
randomisation, .053 +- .008 for blocks of 30 TRs, .062 +- .007 for blocks of 15. Shifts are a little
liberal on one short run because the lags next to the measured one, which chance lifts together
with it, are left out of the null. So it is with `permutation_test` on one run of 342 TRs (40,000 voxels):
.057 +- .002 for shifts of 10 TRs and more, .049 +- .002 for all shifts, its default. All shifts find as many true
effects: at r = .14 48 % of 800 voxels are significant either way, at r = .28 93 %.

Every p is (1 + #{null >= score}) / (1 + n_permutations): never 0, one-sided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.scores import correlation_score
from neurolm.progress import Progress, silent
from neurolm.statistics import fdr, permutation_p, surrogates, unit_columns


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """Scores beside what chance gives.

    scores : (n_voxels,)
    null : (n_permutations, n_voxels)
    null_kind : which surrogates of the BOLD were drawn
    """

    scores: np.ndarray
    null: np.ndarray
    null_kind: str

    @property
    def n_permutations(self) -> int:
        return len(self.null)

    @property
    def p_values(self) -> np.ndarray:
        """(n_voxels,) one-sided; NaN where the score is."""
        return permutation_p(self.scores, self.null)

    @property
    def max_p_values(self) -> np.ndarray:
        """(n_voxels,) corrected for all voxels at once: against the largest null score of each permutation."""
        with np.errstate(invalid="ignore"):
            largest = np.fmax.reduce(self.null, axis=1)
        return permutation_p(self.scores, largest[:, None])

    def q_values(self, method: str = "bh") -> np.ndarray:
        """(n_voxels,) false discovery rate over these voxels."""
        return fdr(self.p_values, method)

    def band(self, level: float = 0.95) -> np.ndarray:
        """(n_voxels,) the null's quantile: what a figure draws as chance."""
        return np.quantile(self.null, level, axis=0)


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
    min_shift: int = 10,
    block_trs: int = 30,
    n_targets_batch: int = 20_000,
    rng: np.random.Generator | int = 0,
    progress: Progress = silent,
) -> PermutationTest:
    """Test cross-validated scores: make surrogates of the BOLD and repeat the whole fit for each.

    Surrogates enter `score` as further targets beside each other, so that everything which depends
    on the features alone is computed once.

    Parameters
    ----------
    score : function of (n_trs, n_targets) returning (n_targets,)
        The whole procedure, penalties included: for example nested cross-validation.
    Y : array of shape (n_trs, n_voxels)
        The measured BOLD, scored first.
    min_shift : int
        In TRs, longer than the memory of BOLD and delays.
    n_targets_batch : int
        Most targets that go into one call of `score`.

    Returns
    -------
    PermutationTest
        Other parameters as for `permutation_test`.
    """
    if n_permutations < 1:
        raise bad("n_permutations", "be >= 1", n_permutations)
    measured = score(Y)
    per_call = max(1, n_targets_batch // Y.shape[1])
    settings: dict[str, Any] = {"run_onsets": run_onsets, "min_shift": min_shift, "block_trs": block_trs, "rng": rng}
    values: list[np.ndarray] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            values.extend(score(np.concatenate(waiting, axis=1)).reshape(len(waiting), -1))
            waiting.clear()
            progress(len(values), n_permutations, "permutations")

    for surrogate in surrogates(Y, n_permutations, null=null, **settings):
        waiting.append(surrogate.astype(Y.dtype, copy=False))
        if len(waiting) == per_call:
            flush()
    flush()
    return PermutationTest(measured, np.stack(values), null)
