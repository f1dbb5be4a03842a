"""Would other stories have given the same model? A contrast refitted on stories drawn with replacement."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad
from neurolm.encoding import EncodingData, EncodingModel
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.statistics import draw_counts, percentile_interval
from neurolm.timescales.contrast import ContrastResult
from neurolm.timescales.held_out_fit import time_blocks


def story_bootstrap(
    result: ContrastResult,
    model: EncodingModel,
    features: Sequence[Features],
    runs: Sequence[BoldRun],
    contrast: np.ndarray,
    *,
    n_bootstrap: int = 200,
    block_trs: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> ContrastResult:
    """Give a contrast the interval that the fit's own uncertainty makes.

    Parameters
    ----------
    result : ContrastResult
    model : EncodingModel
        Fitted on these features and runs; its penalties are kept.
    features, runs
        At least three stories, or a block length.
    contrast : array of shape (n_features,)
        Mean features of the first condition's items minus those of the second.
    block_trs : int, optional
        Draw blocks of this many TRs instead of whole stories: longer than the memory of BOLD.

    Returns
    -------
    ContrastResult
        With `interval`: percentiles 2.5 and 97.5 of the difference over the draws.

    Notes
    -----
    A draw weighs the rows of each story by how often the story was drawn, and only the contrast's
    direction is solved for, once for each penalty in use. With more columns than rows that is done
    among rows (the kernel), else with X'X and X'Y, which are sums over stories.
    """
    data = model.design_.stack(features, runs)
    parts = data.run_slices
    if block_trs is not None:
        starts = time_blocks(data, block_trs)
        parts = [slice(int(a), int(b)) for a, b in itertools.pairwise([*starts, len(data.X)])]
    if len(parts) < 3:
        hint = "Give block_trs to draw blocks of a run." if block_trs is None else "Give shorter blocks."
        raise bad("runs", "be at least 3 stories or blocks to be drawn from", len(parts), hint)
    direction = np.tile(np.asarray(contrast, dtype=np.float64) / model.design_.std, len(model.design_.delays))
    draw = _RowDraws(data, parts) if data.X.shape[1] > len(data.X) else _MomentDraws(data, parts)
    draws = draw_counts(len(parts), n_bootstrap, seed)
    values = np.empty((n_bootstrap, data.Y.shape[1]))
    for i, counts in enumerate(draws):
        values[i] = draw.contrast(counts, direction, model.best_alphas_)
        progress(i + 1, n_bootstrap, "draws")
    return replace(result, interval=np.stack(percentile_interval(values)))


class _MomentDraws:
    """direction' (X'X + alpha)^-1 X'Y of the centred rows of drawn stories, from each story's sums and products."""

    def __init__(self, data: EncodingData, parts: Sequence[slice]) -> None:
        self.moments = [_moments(data.X[part], data.Y[part]) for part in parts]

    def contrast(self, counts: np.ndarray, direction: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """(n_voxels,) each with its alpha."""
        from scipy.linalg import cho_factor, cho_solve

        n, sx, sy, xx, xy = (sum(c * part for c, part in zip(counts, parts)) for parts in zip(*self.moments))
        gram, cross = xx - np.outer(sx, sx) / n, xy - np.outer(sx, sy) / n
        value = np.full(len(alphas), np.nan)
        for alpha, voxels in _by_alpha(alphas):
            value[voxels] = cho_solve(cho_factor(gram + alpha * np.eye(len(gram))), direction) @ cross[:, voxels]
        return value


class _RowDraws:
    """The same among rows: direction' X' (X X' + alpha)^-1 Y, rows weighed by how often their story was drawn."""

    def __init__(self, data: EncodingData, parts: Sequence[slice]) -> None:
        self.X, self.Y = data.X.astype(np.float64), data.Y.astype(np.float64)
        self.part_of_row = np.repeat(np.arange(len(parts)), [part.stop - part.start for part in parts])
        self.gram = self.X @ self.X.T

    def contrast(self, counts: np.ndarray, direction: np.ndarray, alphas: np.ndarray) -> np.ndarray:
        """(n_voxels,) each with its alpha."""
        weights = counts[self.part_of_row].astype(np.float64)
        kept, share = weights > 0, weights[weights > 0] / weights.sum()
        root = np.sqrt(weights[kept])
        gram = self.gram[np.ix_(kept, kept)]
        gram = gram - share @ gram
        gram = (gram - (gram @ share)[:, None]) * np.outer(root, root)
        along, y = self.X[kept] @ direction, self.Y[kept]
        along, y = root * (along - share @ along), root[:, None] * (y - share @ y)
        values, vectors = np.linalg.eigh(gram)
        along, y = along @ vectors, vectors.T @ y
        value = np.full(len(alphas), np.nan)
        for alpha, voxels in _by_alpha(alphas):
            value[voxels] = (along / (values + alpha)) @ y[:, voxels]
        return value


def _by_alpha(alphas: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Each penalty in use and its voxels."""
    for alpha in np.unique(alphas[np.isfinite(alphas)]):
        yield float(alpha), alphas == alpha


def _moments(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows, sums and products of one story."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    return np.array(len(X), dtype=np.float64), X.sum(0), Y.sum(0), X.T @ X, X.T @ Y
