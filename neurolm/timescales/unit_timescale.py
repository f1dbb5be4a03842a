"""The timescale of a voxel: which bands of timescales explain it on held-out data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad
from neurolm.encoding import EncodingData, RidgeCV, held_out_scores
from neurolm.encoding.held_out import NestedFold, nested_ridge
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.statistics import draw_counts
from neurolm.timescales.held_out_fit import FitSettings, block_sums, folds_of, null_scores, stack, time_blocks
from neurolm.timescales.timescale_bands import band_timescales, spectral_bands
from neurolm.timescales.window_result import WindowResult, gated


class UnitTimescale:
    """Mean log timescale of the bands that predict a voxel, weighted by what each explains out of sample.

        T_v = exp( sum_b max(c_b, 0) log T_b / sum_b max(c_b, 0) )

    with the held-out product measure c_b = sum_t p_b (2 y - p) / sum_t y^2, p = sum_b p_b, whose sum
    over bands is the held-out R2. It does not change when weights or features change their sign or
    scale, unlike an average of timescales that is weighted by the regression weights themselves.

    Parameters
    ----------
    settings : FitSettings

    References
    ----------
    Dupre la Tour et al. (2022), NeuroImage 264:119728 (product measure). Jain et al. (2020),
    NeurIPS (timescales of voxels from units of known timescale).
    """

    def __init__(self, *, settings: FitSettings | None = None) -> None:
        self.settings = settings or FitSettings()

    def run(self, bands: Sequence[Features], runs: Sequence[BoldRun], progress: Progress = silent) -> WindowResult:
        """Fit all bands together and split the held-out R2 between them.

        Parameters
        ----------
        bands : sequence of Features
            One story for each run, from `spectral_bands(features)` for any model, or from
            `bank_bands(features, timescales)` for units of known timescale.
        runs : sequence of BoldRun

        Returns
        -------
        WindowResult
            scales: timescales of the bands. curve: product measure. p: of the joint held-out
            correlation. Intervals: over blocks of time.
        """
        timescales = _timescales(bands)
        data = stack(bands, runs, self.settings)
        folds = folds_of(data, self.settings)
        starts = _block_starts(data, folds, self.settings.block_trs)
        explained, total = self._shares(data, folds, list(timescales), starts, progress)
        order = np.argsort(list(timescales.values()), kind="stable")
        scales = np.array(list(timescales.values()))[order]
        explained = explained[order]  # (n_bands, n_blocks, n_voxels)
        counts = draw_counts(len(total), self.settings.n_bootstrap, self.settings.seed)
        with np.errstate(invalid="ignore", divide="ignore"):
            curve = explained.sum(1) / total.sum(0)
            drawn = np.einsum("nk,bkv->nbv", counts, explained, optimize=True)
        draws = np.stack([weighted_timescale(scales, one) for one in drawn])
        ridge = nested_ridge(data.X, folds, self.settings.alphas, n_targets=data.Y.shape[1], device=self.settings.device)
        test = null_scores(lambda Y: held_out_scores(ridge, Y).scores, data, self.settings, progress)
        return gated(
            "unit_timescale",
            scales,
            curve,
            weighted_timescale(scales, curve),
            draws,
            test.p_values,
            "words",
            level=self.settings.level,
            n_null=test.n_permutations,
            details={"held_out_correlation": test.scores, "r2": curve.sum(0), **self.settings.as_details()},
            space=data.space,
        )

    def units(self, features: Sequence[Features], time_constants: Sequence[float]) -> WindowResult:
        """The same for a language model's own units: no fit, since the bands add up to the unit itself.

        c_b = cov(band b, unit) / var(unit), over all words of all stories, sums to 1.
        """
        split = [spectral_bands(story, time_constants) for story in features]
        unit = np.concatenate([story.values for story in features]).astype(np.float64)
        values = np.concatenate([story.values for story in split]).astype(np.float64)
        timescales = band_timescales(split[0])
        unit = unit - unit.mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            curve = np.stack([(values[:, s] * unit).sum(0) for s in split[0].slices.values()]) / (unit**2).sum(0)
        scales = np.array(list(timescales.values()))
        index = weighted_timescale(scales, curve)
        return gated("unit_timescale", scales, curve, index, np.empty((0, len(index))), None, "words")

    def _shares(
        self,
        data: EncodingData,
        folds: Sequence[NestedFold],
        names: Sequence[str],
        starts: Sequence[np.ndarray],
        progress: Progress,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sums over blocks of p_b (2 y - p), (n_bands, n_blocks, n_voxels), and of y^2, (n_blocks, n_voxels)."""
        columns = [data.columns(name) for name in names]
        explained, total = [], []
        for i, (fold, first) in enumerate(zip(folds, starts, strict=True)):
            inner = [tuple(np.searchsorted(fold.train, rows) for rows in pair) for pair in fold.inner]
            ridge = RidgeCV(
                self.settings.alphas, cv=inner, scoring="correlation", fit_intercept=True, device=self.settings.device
            )
            ridge.fit(data.X[fold.train], data.Y[fold.train])
            X = data.X[fold.test].astype(np.float64)
            X -= X.mean(0)
            y = data.Y[fold.test].astype(np.float64)
            y -= y.mean(0)
            predicted = X @ np.asarray(ridge.coef_, dtype=np.float64)
            parts = (X[:, band] @ ridge.coef_[band] for band in columns)
            explained.append(np.stack([block_sums(part * (2 * y - predicted), first) for part in parts]))
            total.append(block_sums(y * y, first))
            progress(i + 1, len(folds), "folds")
        return np.concatenate(explained, axis=1), np.concatenate(total)


def weighted_timescale(scales: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """exp of the mean log scale weighted by max(shares (n_scales, n_voxels), 0): (n_voxels,); NaN where none is above 0."""
    weights = np.clip(shares, 0, None)
    total = weights.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.exp(np.log(scales) @ weights / total), np.nan)


def _timescales(bands: Sequence[Features]) -> dict[str, float]:
    if not len(bands):
        raise bad("bands", "hold at least one story", "none")
    timescales = band_timescales(bands[0])
    if len(timescales) < 2:
        raise bad("bands", "be at least two timescales", list(timescales), "Make them with spectral_bands or bank_bands.")
    return timescales


def _block_starts(data: EncodingData, folds: Sequence[NestedFold], block_trs: int) -> list[np.ndarray]:
    """For each fold, positions within its test rows at which blocks of time begin."""
    begins = time_blocks(data, block_trs)
    starts = []
    for fold in folds:
        own = np.flatnonzero(np.isin(fold.test, begins))
        starts.append(np.union1d([0], own))
    return starts
