"""Random search over band weights: every draw cross-validated, each target keeps its best one.

What depends on the targets alone (X'Y of every fold) is computed once for all draws, what
depends on the draw alone (hats) once for all targets, and weights are fitted once at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.arrays import batches
from neurolm.checks import bad
from neurolm.encoding.ridge.fold_hats import FoldHats
from neurolm.encoding.ridge.fold_scores import ScoreMeans, best_penalties
from neurolm.encoding.ridge.targets import read_targets
from neurolm.progress import Progress, silent

STATISTICS_BYTES = 1 << 30  # statistics of the targets that are searched at a time


def dirichlet_gammas(n_draws: int, n_bands: int, concentration: Any = (0.1, 1.0), seed: int | None = 0) -> np.ndarray:
    """Band weights to try, (n_draws, n_bands), each row summing to 1; the first one uniform.

    The same numbers as himalaya draws for the same seed: as many draws of each concentration,
    one concentration after the other, then taken in turns.

    Parameters
    ----------
    concentration : float or sequence of float
        Of the symmetric Dirichlet distribution: 1 is uniform over the simplex, smaller values
        favour few bands, infinity weighs all the same.
    seed : int or None
        None draws differently each time.
    """
    concentrations = np.atleast_1d(np.asarray(concentration, dtype=np.float64))
    if (concentrations <= 0).any() or np.isnan(concentrations).any():
        raise bad("concentration", "be positive", concentration)
    rng = np.random.RandomState(seed)  # the generator whose draws himalaya uses
    each = -(-n_draws // len(concentrations))
    uniform = np.full((each, n_bands), 1 / n_bands)
    draws = [uniform if np.isinf(c) else rng.dirichlet([c] * n_bands, each) for c in concentrations]
    gammas = np.stack(draws, axis=1).reshape(-1, n_bands)[:n_draws]
    gammas[0] = 1 / n_bands
    return gammas


@dataclass(frozen=True)
class BandedFit:
    """What the search found.

    weights : (n_targets, n_features); NaN for undefined targets
    intercept : (n_targets,)
    draw, chosen : (n_targets,) index of the best draw and its best penalty; -1 for undefined targets
    scores : (n_draws, n_targets), of each draw's best penalty
    undefined, partly_scored : (n_targets,) bool
    """

    weights: Any
    intercept: np.ndarray
    draw: np.ndarray
    chosen: np.ndarray
    scores: np.ndarray
    undefined: np.ndarray
    partly_scored: np.ndarray


def fit_banded_cv(
    hats: FoldHats, Y: Any, gammas: np.ndarray, *, scoring: str, n_targets_batch: int, progress: Progress = silent
) -> BandedFit:
    """Search `gammas` (n_draws, n_bands) and refit every target with its best draw and penalty."""
    found = _nothing_yet(hats, Y.shape[1], len(gammas))
    for some in batches(Y.shape[1], _targets_at_a_time(hats, n_targets_batch)):
        search = _Search(hats, Y, some, scoring, n_targets_batch)
        for d, gamma in enumerate(gammas):
            found.scores[d, some] = search.try_draw(d, gamma)
            done = some.start + (some.stop - some.start) * (d + 1) / len(gammas)
            progress(done, Y.shape[1], "targets", f"band weights {d + 1} of {len(gammas)}")
        found.weights[some], found.intercept[some] = search.fit(gammas)
        found.draw[some], found.chosen[some] = search.draw, search.chosen
        found.undefined[some], found.partly_scored[some] = search.undefined, search.partly
    return found


def _nothing_yet(hats: FoldHats, n_targets: int, n_draws: int) -> BandedFit:
    weights = hats.algebra.empty((n_targets, hats.design.n_features), hats.dtype)
    draw, chosen = (np.full(n_targets, -1) for _ in range(2))
    undefined, partly = (np.zeros(n_targets, bool) for _ in range(2))
    return BandedFit(weights, np.zeros(n_targets), draw, chosen, np.empty((n_draws, n_targets), hats.dtype), undefined, partly)


def _targets_at_a_time(hats: FoldHats, batch: int) -> int:
    """As many whole batches as STATISTICS_BYTES hold."""
    columns = (len(hats.folds) + 1) * hats.design.n_columns if hats.is_primal else 0
    each = (hats.design.n_trs + columns) * np.dtype(hats.dtype).itemsize
    return max(1, STATISTICS_BYTES // (each * batch)) * batch


class _Search:
    """All draws for some targets."""

    def __init__(self, hats: FoldHats, Y: Any, some: slice, scoring: str, batch: int) -> None:
        self.hats, self.scoring = hats, scoring
        self.n_targets = some.stop - some.start
        self.blocks = list(batches(self.n_targets, batch))
        self.groups = list(hats.groups())
        self.targets = [
            read_targets(
                Y,
                slice(some.start + block.start, some.start + block.stop),
                algebra=hats.algebra,
                dtype=hats.dtype,
                centre=hats.design.fit_intercept,
            )
            for block in self.blocks
        ]
        everything = list(range(len(hats.folds)))
        # in the dual the statistics of folds are rows of Y: taken again each time, not kept
        self.statistics = [hats.statistics(t.values, everything) if hats.is_primal else None for t in self.targets]
        self.undefined = np.concatenate([t.undefined for t in self.targets])
        self.best = np.full(self.n_targets, -np.inf)
        self.draw, self.chosen = (np.full(self.n_targets, -1) for _ in range(2))
        self.partly = np.zeros(self.n_targets, bool)

    def try_draw(self, d: int, gamma: np.ndarray) -> np.ndarray:
        """Scores (n_targets,) of one draw's best penalties; remembered where better by more than rounding."""
        hats = self.hats
        hats.design.reweight(gamma)
        means = ScoreMeans(len(hats.alphas), self.n_targets, hats.dtype)
        for group in self.groups:
            made = hats.make(group)
            for block, targets, kept in zip(self.blocks, self.targets, self.statistics, strict=True):
                statistics = [kept[1][k] for k in group] if kept else hats.statistics(targets.values, group)[1]
                means.add(hats.algebra, made, statistics, targets.values, self.scoring, block)
        scores = means.mean()
        scores[:, self.undefined] = np.nan
        chosen = best_penalties(scores, hats.alphas, per_target=True)
        score = np.where(chosen >= 0, np.take_along_axis(scores, chosen[None].clip(0), 0)[0], np.nan)
        better = score > self.best + np.finfo(hats.dtype).eps
        self.best[better], self.draw[better], self.chosen[better] = score[better], d, chosen[better]
        self.partly |= means.partly(len(hats.folds)) & ~self.undefined
        return score

    def fit(self, gammas: np.ndarray) -> tuple[Any, np.ndarray]:
        """Weights (n_targets, n_features) of all rows and intercepts, each target with its draw and penalty."""
        hats, design = self.hats, self.hats.design
        whole = hats.algebra.xp.concatenate(
            [kept[0] if kept else t.values for kept, t in zip(self.statistics, self.targets, strict=True)]
        )
        width = design.n_features + (design.primal and design.fit_intercept)
        weights = hats.algebra.zeros((self.n_targets, width), whole.dtype) + float("nan")
        for d in np.unique(self.draw[self.draw >= 0]):
            design.reweight(gammas[d])
            mine = np.flatnonzero(self.draw == d)
            fitted = design.weights(whole[mine], self.chosen[mine])
            for band, gamma in zip(design.bands, gammas[d], strict=True):
                if gamma == 0:
                    fitted[:, band] = 0
            weights[mine] = fitted
        mean = np.concatenate([t.mean for t in self.targets])
        return weights[:, : design.n_features], design.intercepts(weights, mean)
