"""Noise as BOLD has it: smooth in space, slow in time, with drift."""

from __future__ import annotations

import numpy as np

from neurolm.brain import VolumeMask
from neurolm.statistics import ar1_noise

AR1 = 0.5
SHARES = {"autocorrelated": 0.5, "white": 0.3, "drift": 0.2}
"""Of the noise variance: AR(1) with coefficient AR1, white in time, and drift slower than 128 s."""


def cortical_noise(
    space: VolumeMask,
    n_trs: int,
    tr: float,
    rng: np.random.Generator,
    *,
    in_time: bool = True,
    fwhm_mm: float = 8.0,
) -> np.ndarray:
    """Noise of unit variance in expectation: (n_trs, n_voxels) float32.

    Parameters
    ----------
    space : VolumeMask
    tr : float
        Seconds.
    in_time : bool
        False gives independent rows: smooth random maps.
    fwhm_mm : float
        Width of the spatial smoothing.
    """
    if not in_time:
        return _smooth_maps(space, n_trs, fwhm_mm, rng)
    n_warm_up = 20
    slow = ar1_noise(_smooth_maps(space, n_trs + n_warm_up, fwhm_mm, rng), AR1)[n_warm_up:]
    white = _smooth_maps(space, n_trs, fwhm_mm, rng)
    drifts = _cosines(n_trs, tr)
    drift = drifts @ _smooth_maps(space, drifts.shape[1], fwhm_mm, rng)
    parts = {"autocorrelated": slow, "white": white, "drift": drift}
    return sum(np.float32(np.sqrt(share)) * parts[name].astype(np.float32) for name, share in SHARES.items())


def _smooth_maps(space: VolumeMask, n: int, fwhm_mm: float, rng: np.random.Generator) -> np.ndarray:
    """(n, n_voxels) independent maps of unit variance in expectation, also at the mask's edge."""
    from scipy.ndimage import gaussian_filter

    sigma = fwhm_mm / 2.3548 / np.sqrt((space.affine[:3, :3] ** 2).sum(0))  # in voxels, axis by axis
    shape = space.mask.shape
    impulse = np.zeros([2 * int(4 * s + 1) + 1 for s in sigma])
    impulse[tuple(n // 2 for n in impulse.shape)] = 1
    scale = np.sqrt((gaussian_filter(impulse, sigma, mode="constant") ** 2).sum())
    maps = np.empty((n, space.n_voxels), dtype=np.float32)
    for i in range(n):
        smooth = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
        maps[i] = smooth[space.mask] / scale
    return maps


def _cosines(n_trs: int, tr: float, slowest_s: float = 128.0) -> np.ndarray:
    """Cosines slower than `slowest_s`, scaled so that independent weights give unit variance: (n_trs, n_cosines)."""
    n = max(1, int(2 * n_trs * tr / slowest_s))
    t = (np.arange(n_trs) + 0.5) / n_trs
    return np.sqrt(2 / n) * np.cos(np.pi * np.arange(1, n + 1) * t[:, None])
