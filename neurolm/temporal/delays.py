"""Delayed copies of features, so that a linear model can fit the haemodynamic response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.arrays import is_torch
from neurolm.checks import bad


def delay_run(X: Any, delays: Sequence[int]) -> Any:
    """Copy one run's features at each delay, so that ridge can fit an FIR response.

    Parameters
    ----------
    X : array or tensor of shape (n_trs, n_features)
        Features of a single run, in TR order. Never a stack of runs: the rows of
        one story would leak into the next.
    delays : sequence of int
        Delays in TRs. 2 means "the stimulus two TRs ago". Must be >= 0.

    Returns
    -------
    X_delayed : array or tensor of shape (n_trs, n_delays * n_features)
        Delay-major: columns of delays[0] first. Rows before the run are zero.

    Raises
    ------
    InputError
        If a delay is negative or not shorter than the run.

    References
    ----------
    Huth et al. (2016), Nature 532:453-458.

    Examples
    --------
    >>> import numpy as np
    >>> delay_run(np.array([[1.0], [2.0], [3.0]]), [0, 1])
    array([[1., 0.],
           [2., 1.],
           [3., 2.]])
    """
    n_trs, n_features = X.shape
    delays = check_delays(delays, n_trs)
    shape = (n_trs, len(delays) * n_features)
    delayed = X.new_zeros(shape) if is_torch(X) else np.zeros(shape, dtype=X.dtype)
    for i, delay in enumerate(delays):
        delayed[delay:, i * n_features : (i + 1) * n_features] = X[: n_trs - delay]
    return delayed


def check_delays(delays: Sequence[int], n_trs: int | None = None) -> tuple[int, ...]:
    """`delays` as a tuple of distinct ints in [0, n_trs)."""
    checked = tuple(int(d) for d in delays)
    if not checked or checked != tuple(delays) or len(set(checked)) != len(checked):
        raise bad("delays", "be distinct whole numbers, at least one", list(delays), "Delays are in TRs, not in seconds.")
    for delay in checked:
        if delay < 0 or (n_trs is not None and delay >= n_trs):
            upper = "n_trs" if n_trs is None else f"n_trs), here [0, {n_trs}"
            raise bad("delays", f"lie in [0, {upper})", delay, "Delays are in TRs, not in seconds.")
    return checked
