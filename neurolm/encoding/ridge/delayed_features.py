"""Delayed features of several runs without the delayed matrix: rows when asked for, Grams from lags.

The delayed matrix repeats every feature once per delay. Its rows are cheap to make again, and
its Gram matrix follows from lagged products of the features: delays are shifts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurolm.arrays import is_torch, to_numpy
from neurolm.checks import bad, check_finite
from neurolm.temporal import check_delays, delay_run


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


class Delays(TransformerMixin, BaseEstimator):
    """Copy features at each delay within each run, so that ridge fits an FIR response.

    Parameters
    ----------
    delays : sequence of int
        In TRs, >= 0. 2 means "the stimulus two TRs ago".
    run_onsets : sequence of int, optional
        First row of every run of the stacked matrix; begins with 0 and rises. None: X is one run.

    Notes
    -----
    Rows are tied to their runs. With `run_onsets`, a matrix of another length than the fitted
    one (a subset of rows, new runs) is refused unless its own onsets come with it:
    `transform(X, run_onsets=...)`. So delay first and split the rows into folds afterwards.
    """

    def __init__(self, delays: Sequence[int] = (1, 2, 3, 4), run_onsets: Sequence[int] | np.ndarray | None = None) -> None:
        self.delays = delays
        self.run_onsets = run_onsets

    def fit(self, X: Any, y: Any = None) -> Delays:
        """Check delays and runs against X (n_trs, n_features)."""
        X = self._check(X, reset=True)
        self.n_trs_in_ = X.shape[0]
        run_edges(self._onsets(), X.shape[0], self.delays)
        return self

    def transform(self, X: Any, run_onsets: Sequence[int] | np.ndarray | None = None) -> Any:
        """(n_trs, n_delays * n_features), delay-major; rows before a run are zero.

        Parameters
        ----------
        X : array or tensor of shape (n_trs, n_features)
        run_onsets : sequence of int, optional
            Of this X, where they are not those of the fit.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        if run_onsets is None and self.run_onsets is not None and X.shape[0] != self.n_trs_in_:
            raise bad(
                "X",
                f"have the {self.n_trs_in_} rows that run_onsets describe",
                X.shape[0],
                "Delay before splitting rows into folds, or pass run_onsets of these rows to transform.",
            )
        edges = run_edges(self._onsets() if run_onsets is None else run_onsets, X.shape[0], self.delays)
        runs = [delay_run(X[start:stop], self.delays) for start, stop in itertools.pairwise(edges)]
        if is_torch(X):
            import torch

            return torch.cat(runs)
        return np.concatenate(runs)

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> np.ndarray:
        """`<feature>_delay<d>`, delay-major."""
        check_is_fitted(self)
        names = input_features
        if names is None:
            names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        return np.array([f"{name}_delay{d}" for d in self.delays for name in names], dtype=object)

    def _onsets(self) -> Any:
        return (0,) if self.run_onsets is None else self.run_onsets

    def _check(self, X: Any, *, reset: bool) -> Any:
        if not is_torch(X):
            return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise bad("X", f"have {self.n_features_in_} features, as in fit", X.shape[1])
        return X


def run_edges(run_onsets: Any, n_trs: int, delays: Sequence[int]) -> np.ndarray:
    """First row of every run and, last, n_trs; every run longer than every delay.

    Raises
    ------
    InputError
        If onsets do not begin with 0 and rise below n_trs, or a run is too short.
    """
    edges = np.append(np.asarray(run_onsets).reshape(-1), n_trs)
    if edges[0] != 0 or (np.diff(edges) <= 0).any() or not np.array_equal(edges, edges.astype(int)):
        raise bad("run_onsets", f"be whole numbers that begin with 0 and rise below n_trs, here {n_trs}", edges[:-1].tolist())
    longest, lengths = max(check_delays(delays)), np.diff(edges)
    if (lengths <= longest).any():
        run = int(np.argmax(lengths <= longest))
        raise bad("delays", f"be shorter than every run; run {run} has {lengths[run]} TRs", list(delays), "Delays are in TRs.")
    return edges.astype(int)
