"""Delays as a scikit-learn step that never lets one run leak into the next."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurolm.arrays import is_torch
from neurolm.checks import bad
from neurolm.temporal import check_delays, delay_run


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
