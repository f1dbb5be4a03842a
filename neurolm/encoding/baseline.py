"""Features that look like a language model's and know nothing of what was said: what smoothness and width alone buy.

A score says something about content only as far as it lies above these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.features import Features
from neurolm.statistics import phase_randomization


def content_free(features: Features, rng: np.random.Generator | int = 0) -> Features:
    """The same words at the same times with random content of the same width and smoothness.

    Random phases over the word sequence, the same for every feature: means, variances, correlations
    between features and each one's spectrum stay; which word has which value is lost. Word rate is
    kept, as the times and the means are.
    """
    values = phase_randomization(features.values.astype(np.float64), rng).astype(features.values.dtype, copy=False)
    return _with(features, values, features.times, {"baseline": "random phases over words"})


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
