"""Any model's features split into bands of timescales, looking at the past only.

A causal filter bank: differences of exponential averages with longer and longer time constants.

    m_k(t) = e^(-1/tau_k) m_k(t-1) + (1 - e^(-1/tau_k)) x(t),   m_0 = x
    band k = m_(k-1) - m_k,   the last band = m_K

The bands add up to the features exactly. A band's timescale is the geometric mean of its two time
constants; unlike filters that mirror their kernel it never looks ahead.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from neurolm.checks import bad
from neurolm.features import Features

TIME_CONSTANTS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


def spectral_bands(features: Features, time_constants: Sequence[float] = TIME_CONSTANTS) -> Features:
    """Split every feature into len(time_constants) + 1 bands.

    Parameters
    ----------
    features : Features
        Of a whole story in its order; averages begin with the first word's values.
    time_constants : sequence of float
        Rising, in words.

    Returns
    -------
    bands : Features
        (n_words, n_bands * n_features); `slices` names each band by its timescale in words, such as
        "2.83 words", for `band_timescales`.
    """
    taus = np.asarray(time_constants, dtype=np.float64)
    if not len(taus) or taus[0] <= 0 or (np.diff(taus) <= 0).any():
        raise bad("time_constants", "rise and be > 0", list(time_constants))
    values = features.values.astype(np.float64)
    averages = [values, *(exponential_average(values, tau) for tau in taus)]
    parts = [a - b for a, b in itertools.pairwise(averages)] + [averages[-1]]
    names = [f"{scale:.4g} words" for scale in _timescales(taus)]
    n = features.n_features
    return Features(
        np.concatenate(parts, axis=1).astype(features.values.dtype),
        features.times,
        tuple(f"{band}/{name}" for band in names for name in features.names),
        {band: slice(i * n, (i + 1) * n) for i, band in enumerate(names)},
        settings={**features.settings, "time_constants_words": taus.tolist()},
        words=features.words,
    )


def band_timescales(features: Features) -> dict[str, float]:
    """Timescale in words of every band that `spectral_bands` or `bank_bands` made, by its slice's name."""
    timescales = {}
    for name in features.slices:
        number, _, unit = name.partition(" ")
        if unit != "words":
            raise bad("feature spaces", 'be named by timescales, such as "4 words"', name, "Make them with spectral_bands.")
        timescales[name] = float(number)
    return timescales


def bank_bands(features: Features, timescales: np.ndarray, n_bands: int = 8) -> Features:
    """Units of known timescale (an MT-LSTM's) gathered into bands, in the order of their timescales.

    Parameters
    ----------
    features : Features
    timescales : array of shape (n_features,)
        Words; units whose timescale is not finite have no place in a band.
    n_bands : int
        Of equally many units each.

    Returns
    -------
    bands : Features
        Columns sorted by timescale; a band has the geometric mean of its units.
    """
    timescales = np.asarray(timescales, dtype=np.float64)
    if timescales.shape != (features.n_features,) or not (np.isfinite(timescales) & (timescales > 0)).all():
        raise bad("timescales", f"be finite and > 0, one for each of the {features.n_features} units", timescales.shape)
    if not 2 <= n_bands <= len(np.unique(timescales)):
        raise bad("n_bands", f"lie in 2..{len(np.unique(timescales))}, the different timescales", n_bands)
    order = np.argsort(timescales, kind="stable")
    slices: dict[str, slice] = {}
    start = 0
    for part in np.array_split(order, n_bands):
        name = f"{np.exp(np.log(timescales[part]).mean()):.4g} words"
        first = slices[name].start if name in slices else start  # neighbours of one timescale are one band
        start += len(part)
        slices[name] = slice(first, start)
    names = tuple(features.names[i] for i in order)
    return Features(features.values[:, order], features.times, names, slices, settings=features.settings, words=features.words)


def exponential_average(values: np.ndarray, time_constant: float) -> np.ndarray:
    """Causal average over the past (n_words, n_features), weights e^(-lag / time_constant); begins at values[0]."""
    from scipy.signal import lfilter

    keep = np.exp(-1 / time_constant)
    return lfilter([1 - keep], [1, -keep], values, axis=0, zi=keep * values[:1])[0]


def _timescales(taus: np.ndarray) -> np.ndarray:
    """Geometric means of neighbouring time constants; the ends are half an octave of the grid outside."""
    step = np.sqrt(taus[1] / taus[0]) if len(taus) > 1 else np.sqrt(2)
    return np.concatenate([[taus[0] / step], np.sqrt(taus[1:] * taus[:-1]), [taus[-1] * step]])
