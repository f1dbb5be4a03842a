"""Explicit per-run steps between a measured run and an analysis; `tr_times` stay true.

Each takes a `BoldRun` and gives a new one. A voxel that is constant, or becomes constant when its
drift is removed, is exactly zero afterwards, and one with a NaN is NaN throughout: both stay in
`bad_voxels`, so that what is computed from them is NaN and never noise blown up to unit variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurolm.arrays import constant_columns, zscore
from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import space_hash
from neurolm.checks import bad


def legendre_basis(n_trs: int, degree: int) -> np.ndarray:
    """Orthonormal columns that span the polynomials up to `degree`: (n_trs, degree + 1), float64."""
    if not isinstance(degree, (int, np.integer)) or degree < 0 or degree + 1 >= n_trs:
        raise bad("degree", f"be a whole number in [0, n_trs - 1), here [0, {n_trs - 1})", degree, "6 suits runs of 12 minutes.")
    return np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, n_trs), degree))[0]


def detrend_legendre(run: BoldRun, degree: int) -> BoldRun:
    """Remove slow drift: regress Legendre polynomials up to `degree` out of every voxel, mean included.

    Parameters
    ----------
    run : BoldRun
        One run. Drift is a run's own: never detrend a stack of runs.
    degree : int
        Highest degree; 0 removes the mean only.

    Returns
    -------
    detrended : BoldRun
        float64 inside, the run's dtype outside (float64 for whole numbers).
    """
    data = run.data.astype(np.float64)
    basis = legendre_basis(run.n_trs, degree)
    is_finite = np.isfinite(data).all(axis=0)
    residual = np.full_like(data, np.nan)
    residual[:, is_finite] = data[:, is_finite] - basis @ (basis.T @ data[:, is_finite])
    nothing_left = residual.std(axis=0) <= _relative_rounding(run.data) * np.abs(data).max(axis=0)
    residual[:, nothing_left & is_finite] = 0
    return run.with_data(residual.astype(_floating(run.data)))


def zscore_run(run: BoldRun) -> BoldRun:
    """Mean 0 and standard deviation 1 (ddof 0) within the run for every voxel; constant ones become 0."""
    data = run.data.astype(np.float64)
    is_constant = constant_columns(run.data)
    scored = np.where(np.isfinite(data).all(axis=0), zscore(np.where(is_constant, 0, data)), np.nan)
    return run.with_data(scored.astype(_floating(run.data)))


def trim_run(run: BoldRun, n_start: int = 0, n_end: int = 0) -> BoldRun:
    """Drop rows at the beginning and the end; the times of the rows that stay are unchanged."""
    for name, n in (("n_start", n_start), ("n_end", n_end)):
        if not isinstance(n, (int, np.integer)) or n < 0:
            raise bad(name, "be a whole number of TRs >= 0", n)
    if n_start + n_end > run.n_trs - 2:
        raise bad("n_start + n_end", "leave at least two rows", f"{n_start} + {n_end} of {run.n_trs}")
    kept = slice(n_start, run.n_trs - n_end)
    return BoldRun(run.data[kept], run.tr_times[kept], run.space, run.subject, run.story)


SAME_GRID = 0.1  # of a TR: row times that differ by less are one grid


def common_rows(runs: Sequence[BoldRun]) -> list[BoldRun]:
    """Cut runs of one story to the rows that all have, on one time grid: the story's clock.

    Runs may begin and end at different rows, as where the story began later in one scan. Row times that differ by at
    most a tenth of a TR (logged onsets differ by milliseconds) count as the same, and all runs get those of the first.

    Parameters
    ----------
    runs : sequence of BoldRun

    Returns
    -------
    list of BoldRun
        The very same objects where nothing differs.

    Raises
    ------
    InputError
        If TRs or grids differ by more, or fewer than half of the longest run's rows are common.
    """
    first = runs[0]
    offsets = [(run.tr_times[0] - first.tr_times[0]) / first.tr for run in runs]
    for run, offset in zip(runs, offsets):
        drift = abs(run.tr - first.tr) * run.n_trs / first.tr
        if abs(offset - round(offset)) > SAME_GRID or drift > SAME_GRID:
            raise bad(
                "row times of the runs of one story",
                f"lie on one grid within {SAME_GRID:g} TR",
                f"{_grid(first)} and {_grid(run)}",
                "Rows are not resampled: analyse these subjects apart, in two configs with `dataset.subjects`.",
            )
    starts = [round(offset) for offset in offsets]
    start, end = max(starts), min(one + run.n_trs for one, run in zip(starts, runs))
    if 2 * (end - start) < max(run.n_trs for run in runs):
        shown = f"{end - start} of {max(run.n_trs for run in runs)} rows"
        raise bad("runs of one story", "share at least half of their rows", shown, "Check the onsets, or analyse subjects apart.")
    times = first.tr_times[start:end]
    if all(run.n_trs == end - start and np.array_equal(run.tr_times, times) for run in runs):
        return list(runs)
    parts = (run.data[start - one : end - one] for one, run in zip(starts, runs))
    return [BoldRun(part, times, run.space, run.subject, run.story) for part, run in zip(parts, runs)]


def mean_run(runs: Sequence[BoldRun], subject: str = "mean") -> BoldRun:
    """The average listener: the mean of runs of one story on one time grid in one space.

    A voxel that is bad in any run is NaN in the mean; leave that listener out to keep it.
    """
    if not runs:
        raise bad("runs", "hold at least one run", "none")
    first = runs[0]
    for run in runs[1:]:
        if run.data.shape != first.data.shape or not np.allclose(run.tr_times, first.tr_times, rtol=0, atol=1e-6):
            raise bad(
                "runs",
                "share one time grid",
                f"{_grid(first)} and {_grid(run)}",
                "Trim them to the rows that all have.",
            )
        if space_hash(run.space) != space_hash(first.space):
            raise bad("runs", "share one space", f"{first.subject or 'the first'} and {run.subject} differ")
    mean = np.stack([run.data for run in runs]).mean(axis=0, dtype=np.float64)
    mean[:, np.any([run.bad_voxels for run in runs], axis=0)] = np.nan
    return BoldRun(mean.astype(_floating(first.data)), first.tr_times, first.space, subject, first.story)


def _grid(run: BoldRun) -> str:
    return f"{run.subject or 'a run'}: {run.n_trs} x {run.n_voxels} from {run.tr_times[0]:g} s every {run.tr:g} s"


def _relative_rounding(data: np.ndarray) -> float:
    return 1e-5 if data.dtype == np.float32 else 1e-10


def _floating(data: np.ndarray) -> np.dtype:
    return data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
