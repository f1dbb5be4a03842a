"""Features averaged over the recent past: one feature space for each timescale, from one pass of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.features import Features, FeatureSpace
from neurolm.stimuli import Transcript


class Averaged:
    """Each word's features are a mean over the words so far, whose weights fall with time constant `tau`.

    Parameters
    ----------
    space : FeatureSpace
    tau : float
        In words: a word `tau` words ago counts 1/e of the present one.
    """

    def __init__(self, space: FeatureSpace, tau: float) -> None:
        if not tau > 0:
            raise bad("tau", "be > 0", tau, "Time constants are in words.")
        self.space, self.tau = space, float(tau)

    def extract(self, transcript: Transcript) -> Features:
        return average(self.space.extract(transcript), self.tau)

    def settings(self) -> dict[str, Any]:
        return {"kind": "averaged", "tau_words": self.tau, "of": self.space.settings()}


def average(features: Features, tau: float) -> Features:
    """Weighted means over the words so far, weights exp(-age / tau), summing to one from the first word on."""
    from scipy.signal import lfilter

    decay = np.exp(-1 / tau)
    sums = lfilter([1.0], [1.0, -decay], features.values.astype(np.float64), axis=0)
    weights = lfilter([1.0], [1.0, -decay], np.ones(len(features)))
    values = (sums / weights[:, None]).astype(features.values.dtype, copy=False)
    settings = {"kind": "averaged", "tau_words": float(tau), "of": dict(features.settings)}
    return Features(values, features.times, features.names, features.slices, settings=settings, words=features.words)
