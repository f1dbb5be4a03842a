"""Content-free baseline: held-out scores of the same features whose content belongs to other words.

The features of each story are moved over its words by a lag (circular shift): width, autocorrelation, correlation between
features and their distribution stay, and so do the times of the words; which word has which features is lost. The mean of every
feature is removed before, so that word rate is in neither the features nor the draws. Penalties and feature sets are chosen
inside the folds in every draw. Without an effect of content the measured score is one of these draws, and

    p = (1 + #{draws >= measured}) / (1 + n_draws)

Shifts and not random phases: features of language models are skewed, and random phases would make normal ones of them, which are
not exchangeable with what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.arrays import column_moments, constant_columns
from neurolm.encoding.design import resampling_weights
from neurolm.encoding.evaluation import ContentScores, EvaluationSettings
from neurolm.encoding.held_out import NestedFold, mean_over_folds
from neurolm.encoding.kernel_scores import KernelFolds
from neurolm.encoding.surrogate_scores import Block, NullBlocks
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.statistics import MIN_SHIFT, circular_shifts

_Scores = tuple[np.ndarray, np.ndarray]
N_DRAWS = 199  # a p of .005
MOST_TRS = MOST_VOXELS = 1000  # a draw factorises the whole design again: beyond, none unless they are asked for
EVERY = 2  # of the penalties: half a decade apart is finer than these draws need


def content_scores(
    set_names: Sequence[str],
    stories_of: Callable[[str], Sequence[Features]],
    tr_times: Sequence[np.ndarray],
    Y: np.ndarray,
    folds: Sequence[NestedFold],
    settings: EvaluationSettings,
    *,
    n_draws: int = 199,
    seed: int = 0,
    keep: Path | None = None,
    progress: Progress = silent,
) -> ContentScores:
    """Score feature sets and content-free draws of them, each fold with the set and the penalty that do best inside it.

    Parameters
    ----------
    set_names, stories_of
        Names of feature sets, and what gives the features of each story for a name; one set is in memory at a time.
    tr_times : sequence of arrays
        Of each run, s.
    Y : array of shape (n_trs, n_voxels)
        Runs below each other.
    settings : EvaluationSettings
        `alphas` must be given; every second of them is tried. Features are z-scored over the words.
    n_draws : int
        Each story is moved by its own lag, the same for all feature sets.
    keep : path, optional
        Folder for the scores of feature sets that are finished; see `NullBlocks`.

    Returns
    -------
    ContentScores
        NaN where a voxel is constant or not finite.
    """
    assert settings.alphas is not None
    known = np.isfinite(Y).all(0) & ~constant_columns(Y)
    targets, cross_validation = np.asarray(Y[:, known], dtype=np.float64), KernelFolds(folds, settings.alphas[::EVERY], len(Y))
    lags = inner = outer = np.empty(0)
    for i, name in enumerate(set_names):
        stories = stories_of(name)
        lags = word_lags(stories, tr_times, n_draws, seed) if i == 0 else lags
        score = partial(_scores, stories, tr_times, targets, settings, lags, cross_validation)
        parts = [story.content_hash() for story in stories], list(tr_times), targets, lags, asdict(settings), _rows(folds)
        kept = None if keep is None else NullBlocks(keep, "content-free", *parts)
        shown = partial(_told, progress, name, i * len(lags), len(set_names) * len(lags))
        one_outer, one_inner = score(shown) if kept is None else kept.get(0, partial(score, shown))
        if i == 0:
            inner, outer = one_inner, one_outer
        better = one_inner > inner
        inner, outer = np.where(better, one_inner, inner), np.where(better, one_outer, outer)
    r = np.full((len(outer), Y.shape[1]), np.nan)
    r[:, known] = mean_over_folds(outer.swapaxes(0, 1))
    return ContentScores(r[0], r[1:])


def _scores(
    stories: Sequence[Features],
    tr_times: Sequence[np.ndarray],
    Y: np.ndarray,
    settings: EvaluationSettings,
    lags: np.ndarray,
    cross_validation: KernelFolds,
    progress: Callable[[int], None],
) -> Block:
    """Outer and inner scores of one feature set at every lag, each (n_lags, n_folds, n_voxels)."""
    kernels, drawn = WordKernels(stories, tr_times, settings), []
    for k, scores in enumerate(_in_threads(partial(_score, kernels, cross_validation, Y), lags)):
        progress(k)
        drawn.append(scores)
    inner, outer = (np.stack(each) for each in zip(*drawn, strict=True))
    return outer, inner


def _score(kernels: WordKernels, cross_validation: KernelFolds, Y: np.ndarray, lags: np.ndarray) -> _Scores:
    return cross_validation.scores(kernels.at(lags), Y)


def _told(progress: Progress, name: str, before: int, total: int, k: int) -> None:
    progress(before + k, total, "content-free draws", name)


def _rows(folds: Sequence[NestedFold]) -> list[Any]:
    return [[fold.train, fold.test, fold.inner] for fold in folds]


def n_content_draws(settings: EvaluationSettings, n_trs: int, n_voxels: int) -> int:
    """How many draws the settings ask for: without a number 199, but none without a test or beyond 1,000 TRs or voxels."""
    if settings.n_content_free is not None:
        return settings.n_content_free
    return N_DRAWS if settings.n_permutations and n_trs <= MOST_TRS and n_voxels <= MOST_VOXELS else 0


def _in_threads(score: Callable[[np.ndarray], _Scores], lags: np.ndarray) -> Iterator[_Scores]:
    """`score` of every lag, in order: matrices are small, so that each draw has a thread and not each product all of them."""
    import torch
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(score, lags)


def word_lags(stories: Sequence[Features], tr_times: Sequence[np.ndarray], n_draws: int, seed: int) -> np.ndarray:
    """(1 + n_draws or fewer, n_stories) lags in words; the first are zeros.

    As where BOLD is shifted, some story moves by five TRs or more: features with delays follow a smaller shift.
    """
    lengths = [len(story) for story in stories]
    duration = sum(times[-1] - times[0] for times in tr_times) / max(1, sum(len(times) - 1 for times in tr_times))
    words = sum(lengths) / sum(float(np.ptp(story.times)) for story in stories) * duration * MIN_SHIFT
    least = max(1, min(int(np.ceil(words)), min(lengths) // 4))
    drawn = circular_shifts(lengths, n_draws, least, np.random.default_rng(seed))
    return np.concatenate([np.zeros((1, len(lengths)), dtype=np.int64), drawn])


class WordKernels:
    """X X' of one feature set, its rows moved over the words by any lag.

    Features are z-scored over the words of their story, which no lag changes, and scaled as one so that X has variances near 1.
    X holds the delayed features; a delay is a shift of TRs, so that one product of the undelayed features is enough:
    K[t, u] = sum over delays d of M[t - d, u - d].
    """

    def __init__(self, stories: Sequence[Features], tr_times: Sequence[np.ndarray], settings: EvaluationSettings) -> None:
        from scipy.sparse import csr_array

        self.values = [_standardized(story.values) for story in stories]
        weights = [
            resampling_weights(s.times, t, settings.delays, settings.lobes) for s, t in zip(stories, tr_times, strict=True)
        ]
        scale = np.sqrt(sum(np.square(w).sum() for w in weights) / sum(map(len, weights)))
        self.weights = [csr_array((w / scale).astype(np.float32)) for w in weights]
        last = max(settings.delays)
        starts = np.cumsum([0, *(len(w) for w in weights[:-1])])
        undelayed = np.concatenate([start + last + np.arange(len(t)) for start, t in zip(starts, tr_times, strict=True)])
        self.rows = [undelayed - delay for delay in settings.delays]

    def at(self, lags: np.ndarray) -> np.ndarray:
        """(n_trs, n_trs) float32, with one lag in words for each story."""
        moved = [w @ np.roll(v, lag, axis=0) for w, v, lag in zip(self.weights, self.values, lags, strict=True)]
        Z = np.concatenate(moved)
        M = Z @ Z.T
        return np.asarray(sum(_square(M, rows) for rows in self.rows))


def _standardized(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1, float32; constant ones are 0."""
    mean, std = column_moments(values)
    return ((values - mean) / std).astype(np.float32)


def _square(M: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """M[rows, rows], a view where they follow each other."""
    first, last = int(rows[0]), int(rows[-1])
    return M[first : last + 1, first : last + 1] if last - first + 1 == len(rows) else M[np.ix_(rows, rows)]
