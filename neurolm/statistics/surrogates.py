"""Time series that could have been measured if nothing were related: nulls that keep autocorrelation.

BOLD is slow, so a null of shuffled rows is far too narrow. Each function here keeps what makes
chance correlations large, treats every voxel alike (spatial covariance stays) and never carries
a row from one run into another run's past.

circular_shift        each run moved in time by its own lag, the end wrapped to the beginning
block_permutation     blocks of rows in another order, each used exactly once
phase_randomization   the same power spectrum with random phases, one set for all voxels
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad, check_choice

NULLS = ("circular_shift", "block_permutation", "phase_randomization")


def surrogates(
    data: np.ndarray,
    n: int,
    *,
    null: str = "circular_shift",
    run_onsets: Sequence[int] = (0,),
    min_shift: int = 10,
    block_trs: int = 30,
    rng: np.random.Generator | int = 0,
) -> Iterator[np.ndarray]:
    """Up to `n` surrogates of `data` (n_trs, n_voxels), one after the other.

    Circular shifts never repeat: one short run has only n_trs - 2 * min_shift + 1 of them, and
    then that many are given.

    Parameters
    ----------
    null : {"circular_shift", "block_permutation", "phase_randomization"}
    run_onsets : sequence of int
        First row of each run.
    min_shift : int
        Circular shifts move at least one run by this many TRs, either way: longer than the memory of
        BOLD and delays.
    block_trs : int
        Length of a block in TRs: several times that memory, because every cut makes a false border.
    """
    check_choice("null", null, NULLS)
    rng = np.random.default_rng(rng)
    slices = run_slices(run_onsets, len(data))
    if null == "circular_shift":
        for shifts in circular_shifts([s.stop - s.start for s in slices], n, min_shift, rng):
            yield np.concatenate([np.roll(data[s], k, axis=0) for s, k in zip(slices, shifts)])
    elif null == "block_permutation":
        for _ in range(n):
            yield data[block_permutation(slices, block_trs, rng)]
    else:
        spectra = [np.fft.rfft(data[s], axis=0) for s in slices]
        for _ in range(n):
            yield np.concatenate([_random_phases(f, s.stop - s.start, rng) for f, s in zip(spectra, slices)])


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
    if len(sizes) == 1:
        return min_shift + rng.permutation(sizes[0] - 2 * min_shift + 1)[:n, None]
    drawn: dict[tuple[int, ...], None] = {}
    for _ in range(20 * n):
        if len(drawn) == n:
            break
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
    return _random_phases(np.fft.rfft(data, axis=0), len(data), np.random.default_rng(rng))


def run_slices(run_onsets: Sequence[int], n_trs: int) -> list[slice]:
    """Rows of each run."""
    onsets = [int(o) for o in run_onsets]
    if not onsets or onsets[0] != 0 or onsets != sorted(set(onsets)) or onsets[-1] >= n_trs:
        raise bad("run_onsets", f"rise from 0 and stay below the {n_trs} rows", onsets)
    return [slice(a, b) for a, b in zip(onsets, [*onsets[1:], n_trs])]


def _random_phases(spectrum: np.ndarray, n_trs: int, rng: np.random.Generator) -> Any:
    phases = np.exp(2j * np.pi * rng.random((len(spectrum),) + (1,) * (spectrum.ndim - 1)))
    phases[0] = 1  # the mean stays
    if n_trs % 2 == 0:
        phases[-1] = rng.choice([-1.0, 1.0])  # the Nyquist term is real
    return np.fft.irfft(spectrum * phases, n=n_trs, axis=0)
