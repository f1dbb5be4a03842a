"""Features of perturbed stories, extracted once for the voxels and for the language model's own units."""

from __future__ import annotations

from typing import Any

from neurolm.features import Features, FeatureSpace
from neurolm.stimuli import Transcript
from neurolm.storage import content_hash


class RememberedFeatures:
    """A feature space that keeps what it extracted in memory, and counts.

    An experiment with a seed perturbs the same words in the same way for every responder: the
    second one costs no step of the language model.

    Parameters
    ----------
    feature_space : FeatureSpace

    Attributes
    ----------
    n_asked, n_computed : int
        Stories (or excerpts) that were asked for, and those that the feature space had to read.
    """

    def __init__(self, feature_space: FeatureSpace) -> None:
        self.feature_space = feature_space
        self.n_asked = self.n_computed = 0
        self._kept: dict[str, Features] = {}

    def extract(self, transcript: Transcript) -> Features:
        key = content_hash(list(transcript.words), transcript.onsets, transcript.offsets)
        self.n_asked += 1
        if key not in self._kept:
            self.n_computed += 1
            self._kept[key] = self.feature_space.extract(transcript)
        return self._kept[key]

    def settings(self) -> dict[str, Any]:
        return self.feature_space.settings()

    def forget(self) -> None:
        """Free the memory and count from zero."""
        self._kept.clear()
        self.n_asked = self.n_computed = 0
