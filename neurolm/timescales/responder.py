"""What in-silico experiments run on: anything that answers a story with one row for each word.

EncodingResponder   voxels of a fitted encoding model, at word rate, before the haemodynamic response
UnitResponder       the language model's own units, or any other features

Both go through the same protocol, so that a voxel's window can be laid beside the model's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from neurolm.brain.space import Space
from neurolm.checks import bad
from neurolm.encoding import EncodingModel
from neurolm.features import Features, FeatureSpace
from neurolm.stimuli import Transcript
from neurolm.storage import content_hash


@runtime_checkable
class Responder(Protocol):
    """A word's row never depends on a later word."""

    space: Space | None

    def respond(self, transcript: Transcript) -> np.ndarray:
        """(n_words, n_voxels) float64."""
        ...


class EncodingResponder:
    """Word-rate responses of a fitted encoding model.

    A design sums a word's features into the TR at which it was heard, z-scores them and lets every
    delay have its weight. So one word adds to a voxel's BOLD, over all delays together,

        y_t = sum_f (x_tf / std_f) sum_d w_dfv

    and this is its response here: the drive, before it is spread over time. A constant is left out.
    Where the weights of a voxel change sign over the delays, they cancel in the sum.

    Parameters
    ----------
    model : EncodingModel
        Fitted on other stories than those it will hear.
    feature_space : FeatureSpace
        What the model was fitted on: the same language model, layer and settings.
    """

    def __init__(self, model: EncodingModel, feature_space: FeatureSpace) -> None:
        if not hasattr(model, "coef_"):
            raise bad("model", "be fitted first", "no weights", "Call fit(features, runs) or EncodingModel.load(path).")
        design = model.design_
        self.model, self.feature_space, self.space = model, feature_space, model.space_
        delayed = model.coef_.astype(np.float64).reshape(len(design.delays), design.n_features, -1)
        self.weights = delayed.sum(0) / design.std[:, None]  # (n_features, n_voxels)
        self.fitted_stories = frozenset(one["story"] for one in model.inputs_ if one["story"])

    def respond(self, transcript: Transcript) -> np.ndarray:
        """(n_words, n_voxels); NaN in voxels without weights.

        Raises
        ------
        InputError
            If the features are not those of the fit.
        """
        features = self.feature_space.extract(transcript)
        if tuple(features.names) != tuple(self.model.design_.names):
            raise bad(
                "feature_space",
                f"give the {self.model.design_.n_features} features that the model was fitted on",
                f"{features.n_features}: {', '.join(features.names[:3])}, ...",
                "Use the same language model, layer and settings.",
            )
        return features.values.astype(np.float64) @ self.weights


class UnitResponder:
    """Features as they are: the units of a language model, trained or not.

    Parameters
    ----------
    feature_space : FeatureSpace
    """

    space: Space | None = None

    def __init__(self, feature_space: FeatureSpace) -> None:
        self.feature_space = feature_space

    def respond(self, transcript: Transcript) -> np.ndarray:
        return self.feature_space.extract(transcript).values.astype(np.float64)


def respond_to_all(responder: Responder, stories: Sequence[Transcript]) -> np.ndarray:
    """Responses to several stories below each other, (n_words of all, n_voxels)."""
    return np.concatenate([responder.respond(story) for story in stories])


def warn_of_fitted(responder: Responder, stories: Sequence[Transcript]) -> None:
    """Warn where a model was fitted on a story that is now taken apart."""
    fitted = [story.name for story in stories if story.name in getattr(responder, "fitted_stories", ())]
    if fitted:
        warnings.warn(
            f"The encoding model was fitted on {', '.join(map(repr, fitted))}, which is now perturbed: "
            "what it learned of that very story counts too. Use a story that was held out.",
            UserWarning,
            stacklevel=3,
        )


def settings_of(responder: Any) -> Mapping[str, Any]:
    """What a result keeps of who responded."""
    space = getattr(responder, "feature_space", None)
    return {"responder": type(responder).__name__, "features": {} if space is None else dict(space.settings())}


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
