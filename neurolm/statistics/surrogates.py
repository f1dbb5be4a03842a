"""Surrogate time series: what could have been measured if nothing were related, with autocorrelation kept.

BOLD is slow, so a null of shuffled rows is far too narrow. Each function here keeps what makes
chance correlations large, treats every voxel alike (spatial covariance stays) and never carries
a row from one run into another run's past.

circular_shift        each run moved in time by its own lag, the end wrapped to the beginning
block_permutation     blocks of rows in another order, each used exactly once
phase_randomization   the same power spectrum with random phases, one set for all voxels

Of fixed predictions every circular shift but the measured one is used: together they are a group, and the
size is exact for a stationary series. Where the fit is repeated, lags below MIN_SHIFT are left out: delayed
features follow a shift of a few TRs, so that true effects would not reach small p. See docs/calibration.md
for the measured sizes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad, check_choice

MIN_SHIFT = 5  # TRs, where the fit is repeated on the shifted BOLD: longer than the usual delays
NULLS = ("circular_shift", "block_permutation", "phase_randomization")
Draw = Callable[[np.ndarray], np.ndarray]


def surrogates(data: np.ndarray, n: int, **settings: Any) -> Iterator[np.ndarray]:
    """Up to `n` surrogates of `data` (n_trs, n_voxels), one after the other; settings as for `surrogate_draws`."""
    return (draw(data) for draw in surrogate_draws(len(data), n, **settings))


def surrogate_draws(
    n_trs: int,
    n: int,
    *,
    null: str = "circular_shift",
    run_onsets: Sequence[int] = (0,),
    min_shift: int = 1,
    block_trs: int = 30,
    rng: np.random.Generator | int = 0,
) -> Iterator[Draw]:
    """Up to `n` functions that make a surrogate of any columns (n_trs, n_columns), the same draw for all of them.

    Circular shifts never repeat: one short run has only n_trs - 2 * min_shift + 1 of them, and
    then that many are given; see `n_surrogates`.

    Parameters
    ----------
    null : {"circular_shift", "block_permutation", "phase_randomization"}
    run_onsets : sequence of int
        First row of each run.
    min_shift : int
        Circular shifts move at least one run by this many TRs, either way. 1 leaves out only the measured series.
    block_trs : int
        Length of a block in TRs: several times the memory of BOLD and delays, because every cut makes a false border.
    """
    check_choice("null", null, NULLS)
    rng = np.random.default_rng(rng)
    slices = run_slices(run_onsets, n_trs)
    if null == "circular_shift":
        for shifts in circular_shifts([s.stop - s.start for s in slices], n, min_shift, rng):
            yield _shift(slices, shifts)
    elif null == "block_permutation":
        for _ in range(n):
            yield _reorder(block_permutation(slices, block_trs, rng))
    else:
        for _ in range(n):
            yield _rephase(slices, [_phases(s.stop - s.start, rng) for s in slices])


def n_surrogates(lengths: Sequence[int], n: int, null: str = "circular_shift", min_shift: int = 1) -> int:
    """How many surrogates `surrogate_draws` gives when asked for `n`: fewer where runs have no more different shifts."""
    if null != "circular_shift":
        return n
    near = math.prod(2 * min_shift - 1 for _ in lengths)  # draws in which every run is nearly in step
    return max(0, min(n, math.prod(int(length) for length in lengths) - near))


def circular_shifts(lengths: Sequence[int], n: int, min_shift: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct lags in TRs, one for each run: (n or fewer, n_runs).

    At least one run of each draw is `min_shift` or more out of step, either way. The others take any
    lag: leaving out all draws in which *some* run is nearly in step would leave out a large part of
    what chance gives, and p would be too small.
    """
    for length in lengths:
        if not 1 <= min_shift <= length // 2:
            raise bad("min_shift", f"lie in 1..{length // 2}, half of the shortest run", min_shift)
    sizes = np.array(lengths)
    most = n_surrogates(lengths, n, "circular_shift", min_shift)
    if len(sizes) == 1:
        return min_shift + rng.permutation(sizes[0] - 2 * min_shift + 1)[:most, None]
    if math.prod(int(size) for size in sizes) <= 2 * n:  # few exist: list them
        every = np.stack(np.unravel_index(np.arange(math.prod(int(size) for size in sizes)), lengths), axis=1)
        far = (np.minimum(every, sizes - every) >= min_shift).any(1)
        return rng.permutation(every[far])[:most]
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < most:
        lags = rng.integers(sizes)
        if (np.minimum(lags, sizes - lags) >= min_shift).any():
            drawn[tuple(lags.tolist())] = None
    return np.array(list(drawn))


def block_permutation(slices: Sequence[slice], block_trs: int, rng: np.random.Generator) -> np.ndarray:
    """Row indices (n_trs,) in which whole blocks changed places, none of them drawn twice.

    The first block of each run has a random length, so that cuts fall anywhere.
    """
    if block_trs < 1 or sum(s.stop - s.start for s in slices) < 2 * block_trs:
        raise bad("block_trs", "be >= 1 and leave at least two blocks", block_trs)
    blocks = []
    for s in slices:
        first = s.start + int(rng.integers(1, block_trs + 1))
        edges = [s.start, *range(first, s.stop, block_trs), s.stop]
        blocks += [np.arange(a, b) for a, b in itertools.pairwise(edges)]
    return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])


def phase_randomization(data: np.ndarray, rng: np.random.Generator | int = 0) -> np.ndarray:
    """One run (n_trs, n_voxels) with the same power spectrum and random phases, the same for all voxels."""
    whole = [slice(0, len(data))]
    return _rephase(whole, [_phases(len(data), np.random.default_rng(rng))])(data)


def run_slices(run_onsets: Sequence[int], n_trs: int) -> list[slice]:
    """Rows of each run."""
    onsets = [int(o) for o in run_onsets]
    if not onsets or onsets[0] != 0 or onsets != sorted(set(onsets)) or onsets[-1] >= n_trs:
        raise bad("run_onsets", f"rise from 0 and stay below the {n_trs} rows", onsets)
    return [slice(a, b) for a, b in zip(onsets, [*onsets[1:], n_trs])]


def _shift(slices: Sequence[slice], lags: np.ndarray) -> Draw:
    return lambda data: np.concatenate([np.roll(data[s], lag, axis=0) for s, lag in zip(slices, lags)])


def _reorder(rows: np.ndarray) -> Draw:
    return lambda data: data[rows]


def _rephase(slices: Sequence[slice], phases: Sequence[np.ndarray]) -> Draw:
    def draw(data: np.ndarray) -> np.ndarray:
        spectra = (np.fft.rfft(data[s], axis=0) * p.reshape(-1, *[1] * (data.ndim - 1)) for s, p in zip(slices, phases))
        return np.concatenate([np.fft.irfft(f, n=s.stop - s.start, axis=0) for f, s in zip(spectra, slices)])

    return draw


def _phases(n_trs: int, rng: np.random.Generator) -> np.ndarray:
    """Unit complex numbers by which the spectrum of a run is multiplied."""
    phases = np.exp(2j * np.pi * rng.random(n_trs // 2 + 1))
    phases[0] = 1  # the mean stays
    if n_trs % 2 == 0:
        phases[-1] = rng.choice([-1.0, 1.0])  # the Nyquist term is real
    return phases


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
