"""Bootstrap draws, their interval, and the t interval of a mean.

Which interval holds what it says is measured: see the page on calibration in the manual.
"""

from __future__ import annotations

import numpy as np

from neurolm.checks import bad


def draw_counts(n_units: int, n_bootstrap: int, rng: np.random.Generator | int = 0) -> np.ndarray:
    """(n_bootstrap, n_units) how often each unit is drawn, with replacement."""
    return np.random.default_rng(rng).multinomial(n_units, np.full(n_units, 1 / n_units), size=n_bootstrap)


def percentile_interval(draws: np.ndarray, ci: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Ends (low, high) between which the share `ci` of the draws lies, over the first axis. NaN are left out.

    A column that is NaN in every draw has NaN ends.
    """
    low, high = tails(ci)
    if np.isfinite(draws).all():
        ends = np.quantile(draws, [low, high], axis=0)
    else:
        ends = np.full((2, *draws.shape[1:]), np.nan)
        known = np.isfinite(draws).any(0)
        ends[:, known] = np.nanquantile(draws[:, known], [low, high], axis=0)
    return ends[0], ends[1]


def mean_interval(values: np.ndarray, ci: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval (low, high) of the mean over the first axis; NaN stays NaN."""
    from scipy.stats import t

    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    half = t.ppf(tails(ci)[1], n - 1) * values.std(0, ddof=1) / np.sqrt(n)
    return values.mean(0) - half, values.mean(0) + half


def tails(ci: float) -> tuple[float, float]:
    """The two probabilities at the ends of a central interval."""
    if not 0 < ci < 1:
        raise bad("ci", "lie between 0 and 1", ci, "0.95 is the usual one.")
    return (1 - ci) / 2, (1 + ci) / 2
