"""Would other stories have given the same model? A contrast refitted on stories drawn with replacement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad
from neurolm.encoding import EncodingModel
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.timescales.contrast import ContrastResult
from neurolm.timescales.held_out_fit import draw_counts, time_blocks


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
    Ridge needs X'X and X'Y alone, which are sums over stories: a draw weighs them by how often each
    story was drawn, and only the contrast's direction is solved for, once for each penalty in use.
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
    moments = [_moments(data.X[s], data.Y[s]) for s in parts]
    draws = draw_counts(len(parts), n_bootstrap, seed)
    values = np.empty((n_bootstrap, data.Y.shape[1]))
    for i, counts in enumerate(draws):
        values[i] = _drawn_contrast(moments, counts, direction, model.best_alphas_)
        progress(i + 1, n_bootstrap, "draws")
    return replace(result, interval=np.quantile(values, [0.025, 0.975], axis=0))


def _moments(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows, sums and products of one story."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    return np.array(len(X), dtype=np.float64), X.sum(0), Y.sum(0), X.T @ X, X.T @ Y


def _drawn_contrast(
    moments: Sequence[tuple[np.ndarray, ...]], counts: np.ndarray, direction: np.ndarray, alphas: np.ndarray
) -> np.ndarray:
    """direction' (X'X + alpha)^-1 X'Y of the centred rows of the drawn stories, each voxel with its alpha."""
    from scipy.linalg import cho_factor, cho_solve

    n, sx, sy, xx, xy = (sum(c * part for c, part in zip(counts, parts)) for parts in zip(*moments))
    gram, cross = xx - np.outer(sx, sx) / n, xy - np.outer(sx, sy) / n
    value = np.full(len(alphas), np.nan)
    for alpha in np.unique(alphas[np.isfinite(alphas)]):
        voxels = alphas == alpha
        solved = cho_solve(cho_factor(gram + alpha * np.eye(len(gram))), direction)
        value[voxels] = solved @ cross[:, voxels]
    return value
