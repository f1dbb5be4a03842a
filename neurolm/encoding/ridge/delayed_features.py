"""Delayed features of several runs without the delayed matrix: rows when asked for, Grams from lags.

The delayed matrix repeats every feature once per delay. Its rows are cheap to make again, and
its Gram matrix follows from lagged products of the features: delays are shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.arrays import is_torch, to_numpy
from neurolm.checks import bad, check_finite
from neurolm.encoding.ridge.delays_transformer import run_edges
from neurolm.temporal import check_delays


class DelayedFeatures:
    """What `Delays` would make of some runs, for `RidgeCV` to read a few rows at a time.

    Parameters
    ----------
    runs : sequence of arrays (n_trs_of_run, n_features)
        Features of each run in TR order.
    delays : sequence of int
        In TRs, >= 0, shorter than every run.
    """

    def __init__(self, runs: Sequence[Any], delays: Sequence[int]) -> None:
        self.runs = [to_numpy(run) for run in runs]
        if not self.runs or any(run.ndim != 2 or run.shape[1] != self.runs[0].shape[1] for run in self.runs):
            raise bad("runs", "be matrices (n_trs, n_features) of equal width, at least one", [run.shape for run in self.runs])
        if any(is_torch(run) and run.is_cuda for run in runs):
            raise bad("runs", "be in CPU memory", "CUDA tensors", "Rows go to the device when they are needed.")
        for i, run in enumerate(self.runs):
            check_finite(f"features of run {i}", run)
        self.delays = check_delays(delays)
        onsets = np.cumsum([0, *(len(run) for run in self.runs)])
        self.edges = run_edges(onsets[:-1], int(onsets[-1]), self.delays)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_trs, n_delays * n_features)"""
        return int(self.edges[-1]), len(self.delays) * self.runs[0].shape[1]

    @property
    def dtype(self) -> Any:
        return np.result_type(*self.runs)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, rows: np.ndarray, dtype: Any = None) -> np.ndarray:
        """Rows of the delayed matrix, delay-major; zero before a run."""
        rows = np.asarray(rows)
        width = self.runs[0].shape[1]
        out = np.zeros((len(rows), self.shape[1]), dtype or self.dtype)
        which = np.searchsorted(self.edges, rows, side="right") - 1
        for r in np.unique(which):
            mine = np.flatnonzero(which == r)
            within = rows[mine] - self.edges[r]
            for d, delay in enumerate(self.delays):
                heard = within >= delay
                out[mine[heard], d * width : (d + 1) * width] = self.runs[r][within[heard] - delay]
        return out

    def mean(self) -> np.ndarray:
        """(n_columns,) float64."""
        sums = [sum(run[: len(run) - d].sum(0, dtype=np.float64) for run in self.runs) for d in self.delays]
        return np.concatenate(sums) / self.shape[0]

    def gram(self, dtype: Any = None) -> np.ndarray:
        """X'X of all runs: one product per lag and run instead of one per pair of delays."""
        total = np.zeros((self.shape[1],) * 2, np.float64)
        for run in self.runs:
            total += lagged_gram(run.astype(dtype or self.dtype, copy=False), self.delays)
        return total.astype(dtype or self.dtype, copy=False)


def lagged_gram(features: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """X'X of one run's delayed features X, (n_delays * n_features) squared, delay-major.

    With d <= e and lag l = e - d, the block of delays (d, e) is sum_s F[s + l]' F[s] over all s,
    less the last d of them, which lie beyond the end of the run.
    """
    n, width = features.shape
    at = {delay: slice(i * width, (i + 1) * width) for i, delay in enumerate(delays)}
    gram = np.empty((len(delays) * width,) * 2, features.dtype)
    whole = {lag: features[lag:].T @ features[: n - lag] for lag in {abs(d - e) for d in delays for e in delays}}
    for d in delays:
        for e in delays:
            if d > e:
                continue
            lag = e - d
            block = whole[lag] - features[n - d :].T @ features[n - e : n - lag] if d else whole[lag]
            gram[at[d], at[e]] = block
            gram[at[e], at[d]] = block.T
    return gram
