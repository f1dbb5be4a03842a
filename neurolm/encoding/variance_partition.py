"""What each feature space explains alone, and what spaces explain together, on held-out data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.design import EncodingData
from neurolm.encoding.held_out import NestedFold, nested_folds, nested_ridge
from neurolm.encoding.ridge.banded_ridge_cv import BandedRidgeCV
from neurolm.encoding.scores import r2_score
from neurolm.progress import Progress, silent

Union = frozenset[str]


@dataclass(frozen=True, eq=False)
class VariancePartition:
    """Held-out R2 of every union of feature spaces, and the parts that follow from it.

    Parameters
    ----------
    spaces : tuple of str
        Two or three feature spaces.
    r2 : mapping of frozenset of str to array of shape (n_voxels,)
        Of a model with exactly these spaces.
    parts : mapping of frozenset of str to array of shape (n_voxels,)
        Variance that is explained by each space of the set, whichever of them is used, and by no
        other space. {a} is unique to a; the parts add up to the R2 of all spaces. Noise of the
        estimates, and suppression, make parts negative: they are not clipped.
    """

    spaces: tuple[str, ...]
    r2: Mapping[Union, np.ndarray]
    parts: Mapping[Union, np.ndarray]

    @property
    def joint(self) -> np.ndarray:
        """(n_voxels,) R2 of all spaces together."""
        return self.r2[frozenset(self.spaces)]

    def unique(self, space: str) -> np.ndarray:
        """(n_voxels,) what is lost when this space is left out: R2(all) - R2(all others)."""
        return self.parts[self._key((space,))]

    def shared(self, *spaces: str) -> np.ndarray:
        """(n_voxels,) what these spaces (default: all) have in common and share with no other."""
        return self.parts[self._key(spaces or self.spaces)]

    def _key(self, spaces: Sequence[str]) -> Union:
        for space in spaces:
            if space not in self.spaces:
                raise bad("space", f"be one of {', '.join(self.spaces)}", space)
        return frozenset(spaces)


def variance_partition(
    data: EncodingData,
    alphas: Sequence[float] = tuple(np.logspace(1, 6, 11)),
    spaces: Sequence[str] | None = None,
    *,
    banded: bool = True,
    n_iter: int = 20,
    n_folds: int = 5,
    n_inner_folds: int = 5,
    gap: int = 5,
    device: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> VariancePartition:
    """Fit every union of two or three feature spaces and partition held-out variance.

    Parameters
    ----------
    data : EncodingData
        From `design.stack` of features made with `join`: its `feature_slices` name the spaces.
    alphas : sequence of float
        Grid of penalties; chosen per voxel, fold and union inside the training rows.
    spaces : sequence of str, optional
        Two or three of the feature spaces; default all.
    banded : bool
        A penalty of its own for each space of a union. One penalty for all lets a wide space hide
        what a narrow one explains.
    n_iter, seed : int
        Draws of band weights, and their seed; see `BandedRidgeCV`.
    n_folds, n_inner_folds, gap
        See `nested_folds`.

    Returns
    -------
    VariancePartition
        R2 is pooled over all held-out rows. NaN where a voxel is constant or not finite.

    References
    ----------
    de Heer et al. (2017), J Neurosci 37:6539-6557.
    """
    spaces = tuple(data.feature_slices if spaces is None else spaces)
    if len(spaces) not in (2, 3) or len(set(spaces)) != len(spaces):
        raise bad("spaces", "be two or three different feature spaces", list(spaces), "Join features, then name the spaces.")
    folds = nested_folds(data.run_onsets, len(data.X), n_folds, n_inner_folds, gap, data.run_groups)
    unions = [frozenset(u) for size in range(1, len(spaces) + 1) for u in itertools.combinations(spaces, size)]
    r2 = {}
    for i, union in enumerate(unions):
        progress(i, len(unions), "models", " + ".join(s for s in spaces if s in union))
        if banded and len(union) > 1:
            r2[union] = _banded_r2(data, [s for s in spaces if s in union], folds, alphas, n_iter, device, seed)
        else:
            X = data.X[:, data.columns(*union)]
            ridge = nested_ridge(X, folds, alphas, scoring="r2", n_targets=data.Y.shape[1], device=device)
            r2[union] = ridge.score(data.Y).scores  # pooled over all held-out rows
    progress(len(unions), len(unions), "models")
    return VariancePartition(spaces, r2, {union: _part(union, frozenset(spaces), r2) for union in unions})


def _banded_r2(
    data: EncodingData,
    spaces: Sequence[str],
    folds: Sequence[NestedFold],
    alphas: Sequence[float],
    n_iter: int,
    device: str,
    seed: int,
) -> np.ndarray:
    """(n_voxels,) pooled held-out R2, penalties of all spaces chosen inside the training rows."""
    X, slices = data.bands(*spaces)
    predictions = np.full(data.Y.shape, np.nan, dtype=np.float32)
    for fold in folds:
        inner = [(np.searchsorted(fold.train, a), np.searchsorted(fold.train, b)) for a, b in fold.inner]
        model = BandedRidgeCV(
            slices, alphas, n_iter, cv=inner, scoring="r2", fit_intercept=True, device=device, random_state=seed
        )
        predictions[fold.test] = model.fit(X[fold.train], data.Y[fold.train]).predict(X[fold.test])
    return r2_score(data.Y, predictions)


def _part(region: Union, spaces: Union, r2: Mapping[Union, np.ndarray]) -> np.ndarray:
    """Inclusion and exclusion: sum over T within the region of (-1)^(|T|+1) R2(the other spaces and T)."""
    total = np.zeros_like(r2[spaces])
    for size in range(len(region) + 1):
        for within in itertools.combinations(sorted(region), size):
            union = (spaces - region) | frozenset(within)
            if union:
                total = total - (-1) ** size * r2[union]
    return total
