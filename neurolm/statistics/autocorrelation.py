"""First-order autoregression, the model of slow BOLD noise."""

from __future__ import annotations

import numpy as np


def ar1_noise(innovations: np.ndarray, ar1: float) -> np.ndarray:
    """Turn white noise (n_trs, n_columns) of unit variance into AR(1) noise of unit variance, stationary from the first row.

    Parameters
    ----------
    innovations : array of shape (n_trs, n_columns)
        Columns may be correlated; their correlation is kept.
    ar1 : float in (-1, 1)
        Correlation of each row with the one before it.
    """
    from scipy.signal import lfilter

    scaled = innovations * np.sqrt(1 - ar1**2)
    scaled[:1] = innovations[:1]
    return np.asarray(lfilter([1.0], [1.0, -ar1], scaled, axis=0))
