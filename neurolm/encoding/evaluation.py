"""Result of an evaluation of feature sets: scores with ceilings, null, baselines and intervals.

    Evaluation
    ├── Scored ...    one per way of scoring: "mean listener", "single listeners", or the only subject
    │   ├── Chosen    one feature set per voxel, chosen inside the training folds
    │   ├── Against   its difference from each baseline
    │   ├── ContentScores    content-free draws of the same features, where they were made
    │   └── BeyondLowLevel   what the sets predict beyond plain properties of speech, where that was tested
    └── listeners     the same scores listener by listener

Arrays are (n_sets, n_voxels) unless said; a value that is not known is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.space import Space, space_arrays, space_from_arrays
from neurolm.statistics import MIN_SHIFT, permutation_p
from neurolm.storage import read_h5, write_h5


@dataclass(frozen=True)
class EvaluationSettings:
    """How feature sets are scored.

    Parameters
    ----------
    delays : FIR delays in TRs; lobes : of the Lanczos kernel; max_gap_s : see `Design.from_training`.
    alphas : grid of ridge penalties, taken as it stands; None for the usual one, which extends itself
    extend_alphas : whether a grid that is given extends itself too, see `penalty_grid`
    n_folds, n_inner_folds, gap : see `nested_folds`.
    test_runs : positions of runs that are only ever predicted, once, by a fit of all others; the way for whole
        brains. Their null needs no refit. Empty for cross-validation over everything.
    n_permutations, n_subject_permutations : surrogates of the mean subject (or the only one), and of all
        subjects, whose BOLD is shifted by the same lags; the whole fit is repeated for each. 0 is none, and p is NaN.
    null, min_shift, block_trs : see `surrogate_draws`.
    n_content_free : content-free draws of the feature sets, for the mean subject (or the only one); see `content_scores`. 0 is none;
        None is 199 with up to 1,000 TRs and voxels and any permutations, else none.
    sequential : voxels leave the null once their p is known, which saves most of the fits but leaves no p of the
        largest statistic. None: with more than 100 voxels.
    n_bootstrap : draws of the residuals behind a subject's interval, the fit repeated for each; ci : its coverage.
    n_targets_batch : surrogate targets fitted at once.
    device : of `RidgeCV`.
    """

    delays: tuple[int, ...] = (1, 2, 3, 4)
    lobes: int = 3
    max_gap_s: float = 20.0
    alphas: tuple[float, ...] | None = None
    extend_alphas: bool = False
    n_folds: int = 5
    n_inner_folds: int = 5
    gap: int = 5
    test_runs: tuple[int, ...] = ()
    n_permutations: int = 1000
    n_subject_permutations: int = 100
    null: str = "circular_shift"
    min_shift: int = MIN_SHIFT
    block_trs: int = 30
    n_content_free: int | None = None
    sequential: bool | None = None
    n_bootstrap: int = 50
    ci: float = 0.95
    n_targets_batch: int = 20_000
    device: str = "auto"


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen:
    """One feature set for each voxel, by its inner score in each fold: never on the rows that are scored.

    Parameters
    ----------
    index : array of int of shape (n_voxels,)
        Position of the set that was chosen most often over folds and listeners.
    r, p, q : array of shape (n_voxels,)
        Score with each fold's own choice, against surrogates that went through the same choice.
    interval : array of shape (2, n_voxels)
    """

    index: np.ndarray
    r: np.ndarray
    p: np.ndarray
    q: np.ndarray
    interval: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Against:
    """The chosen feature set compared with each baseline in the same rows: arrays of shape (n_baselines, n_voxels).

    Parameters
    ----------
    baseline_p, baseline_q : of the baseline's own score
    difference : chosen less baseline, of held-out correlations
    interval : array of shape (2, n_baselines, n_voxels)
        Over subjects where there are several, else over shifts of the residuals with both fits repeated.
    p : two-sided, against the same difference on surrogates of the BOLD (all subjects by the same lags, every fit and
        choice repeated): of the null that neither predicts anything
    p_max : corrected for all voxels by the largest difference of each surrogate; NaN after a sequential test
    q : false discovery rate over voxels
    """

    baseline_p: np.ndarray
    baseline_q: np.ndarray
    difference: np.ndarray
    interval: np.ndarray
    p: np.ndarray
    p_max: np.ndarray
    q: np.ndarray


@dataclass(frozen=True, eq=False)
class ContentScores:
    """Held-out scores of features without their means, and of the same features moved over the words: see `content_scores`.

    Parameters
    ----------
    r : array of shape (n_voxels,)
    draws : array of shape (n_draws, n_voxels)
    """

    r: np.ndarray
    draws: np.ndarray

    @property
    def p_values(self) -> np.ndarray:
        """(n_voxels,) one-sided: (1 + number of draws >= r) / (1 + n_draws)."""
        return permutation_p(self.r, self.draws)

    @property
    def smallest_p(self) -> float:
        return 1 / (1 + len(self.draws))

    @property
    def band(self) -> np.ndarray:
        """(2, n_voxels) 2.5 % and 97.5 % quantiles of the draws."""
        return np.quantile(self.draws, [0.025, 0.975], axis=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class BeyondLowLevel:
    """Low-level features and feature sets fitted together, compared with low-level features alone: arrays of shape (n_voxels,).

    Parameters
    ----------
    low_level, joint : held-out correlations; `joint` with the feature set that each fold chooses
    difference : joint less low level
    interval : array of shape (2, n_voxels)
        Over subjects where there are several, else over shifts of the residuals with both fits repeated.
    p : one-sided, against shifts of what the low-level model leaves, both fits repeated (Freedman & Lane 1983); all subjects
        by the same lags
    p_max : corrected for all voxels by the largest difference of each surrogate; NaN after a sequential test
    q : false discovery rate over voxels
    """

    low_level: np.ndarray
    joint: np.ndarray
    difference: np.ndarray
    interval: np.ndarray
    p: np.ndarray
    p_max: np.ndarray
    q: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Held-out correlations of one way of scoring, and what they must be compared with.

    Parameters
    ----------
    who : str
        "mean listener", "single listeners" (the mean of their scores), or a subject's name.
    r, p, q : array of shape (n_sets, n_voxels)
        q is the false discovery rate (Benjamini-Hochberg) over voxels, set by set.
    p_max : array of shape (n_sets, n_voxels)
        p corrected for all voxels by the largest score of each surrogate; NaN after a sequential test.
    interval, null : array of shape (2, n_sets, n_voxels)
        Confidence interval; 2.5 % and 97.5 % quantiles of the null.
    n_null : int
        Surrogates behind p and null; 0 where none were asked for.
    baselines : array of shape (n_baselines, n_voxels)
    baseline_interval : array of shape (2, n_baselines, n_voxels)
    content_free : ContentScores, optional
        Of the mean subject or the only one; None where it was not drawn.
    beyond : BeyondLowLevel, optional
    ceiling : array of shape (n_voxels,)
        The ceiling that belongs to exactly this score; NaN with a single subject.
    ceiling_interval : array of shape (2, n_voxels)
        Over subjects; NaN where there are fewer than three, and for a subject's own ceiling.
    ceiling_name : str
    chosen : Chosen
    against : Against
    """

    who: str
    r: np.ndarray
    p: np.ndarray
    q: np.ndarray
    p_max: np.ndarray
    interval: np.ndarray
    null: np.ndarray
    n_null: int
    baselines: np.ndarray
    baseline_interval: np.ndarray
    ceiling: np.ndarray
    ceiling_interval: np.ndarray
    ceiling_name: str
    interval_name: str
    chosen: Chosen
    against: Against
    content_free: ContentScores | None = None
    beyond: BeyondLowLevel | None = None


NAMES = ("sets", "baselines", "subjects", "low_level")
PARTS = {
    "chosen": Chosen,
    "against": Against,
    "content_free": ContentScores,
    "beyond": BeyondLowLevel,
}  # of a Scored; each is arrays only


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """Feature sets scored on held-out BOLD of one or more listeners.

    Parameters
    ----------
    sets, baselines : tuple of str
        Names of the feature sets (layers) and of the plain ones beside them.
    subjects : tuple of str
    space : Space
    scored : tuple of Scored
        Mean listener and single listeners; with one subject only that one.
    each : tuple of Scored
        The same for each subject of a group separately; empty for one subject.
    listeners : array of shape (n_subjects, n_sets, n_voxels)
        Each listener's held-out correlation; `listeners_p` the p value against own surrogates.
    listener_baselines : array of shape (n_subjects, n_baselines, n_voxels)
    alphas : array
        The grid of penalties; `best_alphas` (n_sets, n_folds, n_targets) what was chosen from it,
        the mean listener's voxels first, then each subject's.
    low_level : tuple of str
        Columns of the low-level features; empty where nothing was compared with them.
    settings : mapping
    """

    sets: tuple[str, ...]
    baselines: tuple[str, ...]
    subjects: tuple[str, ...]
    space: Space
    scored: tuple[Scored, ...]
    listeners: np.ndarray
    listeners_p: np.ndarray
    listener_baselines: np.ndarray
    alphas: np.ndarray
    best_alphas: np.ndarray
    each: tuple[Scored, ...] = ()
    low_level: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write everything to one HDF5 file, as a whole."""
        arrays, space = space_arrays(self.space)
        names = {name: getattr(self, name) for name in NAMES}
        attributes: dict[str, Any] = {"settings": dict(self.settings), "space": space, "provenance": dict(provenance or {})}
        arrays |= {name: np.array(values, dtype=object) for name, values in names.items()}
        for name in ("listeners", "listeners_p", "listener_baselines", "alphas", "best_alphas"):
            arrays[name] = getattr(self, name)
        for kind, ways in (("scored", self.scored), ("each", self.each)):
            for i, scored in enumerate(ways):
                arrays |= _arrays(scored, f"{kind}/{i}")
                for part in PARTS:
                    arrays |= {} if getattr(scored, part) is None else _arrays(getattr(scored, part), f"{kind}/{i}/{part}")
                attributes[f"{kind}/{i}"] = {f.name: getattr(scored, f.name) for f in fields(scored) if _is_plain(f.name, scored)}
        write_h5(path, arrays, attributes)

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Read what `save` wrote."""
        arrays, attributes = read_h5(path)
        ways = {kind: _put_together(kind, arrays, attributes) for kind in ("scored", "each")}
        names: dict[str, Any] = {n: tuple(str(s) for s in arrays[n]) for n in NAMES if n in arrays}
        rest: dict[str, Any] = {n: arrays[n] for n in ("listeners", "listeners_p", "listener_baselines", "alphas", "best_alphas")}
        space = space_from_arrays(arrays, attributes["space"])
        return cls(**names, **rest, space=space, **ways, settings=attributes["settings"])


def _put_together(kind: str, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Any:
    """Every `Scored` of a kind, in order."""
    ways = []
    for i in range(sum(name.startswith(f"{kind}/") for name in attributes)):
        kept: dict[str, Any] = dict(attributes[f"{kind}/{i}"])
        kept |= {f.name: arrays[f"{kind}/{i}/{f.name}"] for f in fields(Scored) if f"{kind}/{i}/{f.name}" in arrays}
        for name, part in PARTS.items():  # those of an older file may be fewer
            held = {f.name: arrays.get(f"{kind}/{i}/{name}/{f.name}") for f in fields(part)}
            kept[name] = None if any(values is None for values in held.values()) else part(**held)
        ways.append(Scored(**kept))
    return tuple(ways)


def _is_plain(name: str, holder: Any) -> bool:
    return isinstance(getattr(holder, name), (str, int))


def _arrays(holder: Any, prefix: str) -> dict[str, np.ndarray]:
    values = {f.name: getattr(holder, f.name) for f in fields(holder)}
    return {f"{prefix}/{name}": value for name, value in values.items() if isinstance(value, np.ndarray)}
