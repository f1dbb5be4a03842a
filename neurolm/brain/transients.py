"""Edge transients: rows at the beginning and end of runs that leave the distribution of the others.

The first volumes of a scan may not be in equilibrium, and where a story begins after silence the first response is many times
as large as any later one. A handful of such rows then makes most of a correlation.

The rule. The deviation of a row is the mean over columns and subjects of its distance from the drift, in standard deviations
of the column. Rows are edge transients if, from the edge on without interruption, the robust z of their deviation (median and
median absolute deviation of the training rows away from the edges) is above 5, for at most 20 s and a tenth of the run.
Deviations at the same distance from the edge are averaged over the training runs, and the same number of rows leaves every run.

The drift of a row near an edge is that of the rows further inside (recursive residuals: Brown, Durbin & Evans 1975, J R Stat
Soc B 37:149-192): a polynomial through the transient would bend, and its neighbours would leave the distribution too.

False alarms and power are measured in benchmarks/transients.py; docs/methods.md has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.preprocess import legendre_basis

THRESHOLD = 5.0  # robust z
MOST_S = 20.0  # rows that are looked at, from either edge
FEWEST_ROWS = 20  # away from the edges, to know a distribution


@dataclass(frozen=True)
class EdgeRows:
    """How many rows leave the beginning and the end of every run, and the robust z of each, from the edge inwards."""

    start: int = 0
    end: int = 0
    start_z: tuple[float, ...] = ()
    end_z: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.start or self.end)


def row_deviation(run: BoldRun, degree: int | None = None) -> np.ndarray:
    """(n_trs,) mean over usable columns of |distance from the drift| / standard deviation; NaN where there is no such column.

    Parameters
    ----------
    run : BoldRun
        Not detrended.
    degree : int, optional
        Of the Legendre polynomials that are the drift; None for the mean alone.
    """
    usable = run.data[:, ~run.bad_voxels]
    if not usable.shape[1]:
        return np.full(run.n_trs, np.nan)
    n_edge = _n_edge(run.n_trs, run.tr)
    basis, edge_rows, distances = _distances(run.n_trs, degree or 0, n_edge)
    away = usable.astype(np.float64)
    inside = slice(n_edge, run.n_trs - n_edge)
    away -= away[inside].mean(0)
    of_edges = distances @ away
    away[inside] -= basis @ (basis.T @ away[inside])
    away[edge_rows] = of_edges
    return np.asarray(np.abs(away / away[inside].std(0)).mean(1))


def mean_deviation(runs: Sequence[BoldRun], degree: int | None = None) -> np.ndarray:
    """Mean over subjects of the row deviations of one story, for as many rows as the shortest run has.

    Where runs differ in length, rows in the first half are counted from the beginning of each run and the others from its end.
    """
    n = min(run.n_trs for run in runs)
    each = [row_deviation(run, degree) for run in runs]
    joined = np.stack([np.concatenate([d[: n // 2], d[len(d) - (n - n // 2) :]]) for d in each])
    known = np.isfinite(joined).all(1)
    return joined[known].mean(0) if known.any() else np.full(n, np.nan)


def _n_edge(n_trs: int, tr: float) -> int:
    """Rows that are looked at, from either edge."""
    return min(round(MOST_S / tr), n_trs // 10)


@lru_cache(8)
def _distances(n_trs: int, degree: int, n_edge: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The drift's basis away from the edges; rows near them; and what takes a column to their distances from the drift inside."""
    basis = legendre_basis(n_trs, degree)
    first = np.arange(n_edge)
    edge_rows = np.concatenate([first, n_trs - 1 - first])
    away = np.zeros((2 * n_edge, n_trs))
    for i, row in enumerate(edge_rows):
        inner = np.arange(row + 1, n_trs - n_edge) if i < n_edge else np.arange(n_edge, row)
        away[i, row] = 1
        away[i, inner] = -basis[row] @ np.linalg.pinv(basis[inner])
    inside = np.linalg.qr(basis[n_edge : n_trs - n_edge])[0]
    return inside, edge_rows, away / np.sqrt((away**2).sum(1, keepdims=True))  # one variance for white noise


def edge_transients(
    deviations: Sequence[np.ndarray],
    tr: float,
    training: Sequence[np.ndarray] | None = None,
    *,
    threshold: float = THRESHOLD,
) -> EdgeRows:
    """Find the rows at the edges of runs that leave the distribution, as the training rows of every fold have it.

    Parameters
    ----------
    deviations : sequence of arrays of shape (n_trs,)
        Of each run (story), from `mean_deviation`.
    tr : float
        Seconds.
    training : sequence of int arrays, optional
        The training rows of each fold, as rows of the runs below each other. A run is looked at in the folds that fit any of its
        rows: a run that is only predicted does not enter, and with a single run the edges, which are then in no fold, are compared
        with training rows alone. A row counts as a transient only if it is one in every fold. Default: one fold of all rows.

    Returns
    -------
    EdgeRows

    Notes
    -----
    Rows that leave are in no fold and in no surrogate. Circular shifts move the remaining rows, whose distribution does not
    depend on their order: the rule, made again on a shifted run, gives the same rows.
    """
    lengths = [len(one) for one in deviations]
    rows = np.arange(sum(lengths))
    cuts = np.cumsum(lengths)[:-1]
    found = []
    for train in [rows] if training is None else training:
        masks = np.split(np.isin(rows, train), cuts)
        used = [(np.asarray(d), m) for d, m in zip(deviations, masks, strict=True) if m.any() and np.isfinite(d).all()]
        most = min((_n_edge(len(d), tr) for d, _ in used), default=0)
        ends = [(used, most), ([(d[::-1], m[::-1]) for d, m in used], most)]
        found.append([_from_edge(*end, threshold) for end in ends])
    start, end = (min((fold[i] for fold in found), key=len, default=()) for i in (0, 1))
    return EdgeRows(len(start), len(end), start, end)


def _from_edge(runs: Sequence[tuple[np.ndarray, np.ndarray]], most: int, threshold: float) -> tuple[float, ...]:
    """Robust z of the consecutive rows from the first one on that are beyond `threshold`."""
    if not runs or not most:
        return ()
    n = min(len(d) for d, _ in runs)
    scaled = [d[:n] / np.median(d[m]) for d, m in runs]
    inside = np.all([m[:n] for _, m in runs], axis=0)
    inside[:most] = inside[n - most :] = False
    mean = np.mean(scaled, axis=0)
    if inside.sum() < FEWEST_ROWS:
        return ()
    middle = np.median(mean[inside])
    spread = 1.4826 * np.median(np.abs(mean[inside] - middle))
    z = (mean[:most] - middle) / max(float(spread), 1e-12)
    n_found = int(np.argmin(np.append(z > threshold, False)))
    return tuple(float(value) for value in z[:n_found])
