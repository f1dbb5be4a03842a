"""Content-free baseline and misaligned features: what is left of a score without the content of the words, or at wrong times."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.features import Features


def content_free(features: Features, rng: np.random.Generator | int = 0) -> Features:
    """The same word times with the features of other words: one draw of the content-free baseline.

    Each feature's mean is removed, so that word rate is in none, and the rows are moved over the words by a random lag, the end
    wrapped to the beginning: width, autocorrelation, correlation between features and their distribution stay.
    `content_scores` draws many of these and gives p values.
    """
    lag = int(np.random.default_rng(rng).integers(1, len(features)))
    values = (features.values - features.values.mean(0, dtype=np.float64)).astype(features.values.dtype)
    return _with(features, np.roll(values, lag, axis=0), features.times, {"baseline": f"content of {lag} words before"})


def time_shifted(features: Features, shift_s: float) -> Features:
    """The same features heard `shift_s` seconds later; what runs over the end comes at the beginning.

    A wrong alignment on purpose. Word rate moves with the words.
    """
    start, last = features.times.min(), features.times.max()
    span = last - start + (last - start) / max(len(features) - 1, 1)  # one mean word more: the last does not meet the first
    if not 0 < abs(shift_s) < span:
        raise bad("shift_s", f"lie between 0 and the length of the story, {span:.0f} s", shift_s)
    times = start + (features.times - start + shift_s) % span
    order = np.argsort(times, kind="stable")
    return _with(features, features.values[order], times[order], {"baseline": f"shifted by {shift_s:g} s"})


def _with(features: Features, values: np.ndarray, times: np.ndarray, how: dict[str, Any]) -> Features:
    return Features(values, times, features.names, features.slices, settings={**features.settings, **how}, words=features.words)
