"""Feature spaces from any function of a transcript, and features averaged over the recent past."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from neurolm.checks import bad, check_finite, nearest
from neurolm.features.feature_space import Features, FeatureSpace
from neurolm.features.word_values import word_features
from neurolm.stimuli import Transcript
from neurolm.storage import content_hash


class FunctionFeatures:
    """What a function of yours makes of a transcript.

    Parameters
    ----------
    function : str or callable
        "package.module:function", or the function itself: it takes a Transcript and returns
        numbers of shape (n_words,) or (n_words, n_features).
    sees_whole_story : bool
        False (the default) holds it to the rule of this package, that no word's row depends on
        later words: the first half of the story is given to it too, and must come out the same.
        True skips that check.
    """

    def __init__(self, function: str | Callable[[Transcript], Any], *, sees_whole_story: bool = False) -> None:
        self.function = _find(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise bad("function", "be callable", function)
        self.name = function if isinstance(function, str) else f"{self.function.__module__}:{self.function.__qualname__}"
        self.sees_whole_story = sees_whole_story

    def extract(self, transcript: Transcript) -> Features:
        values = self._call(transcript)
        if not self.sees_whole_story and len(transcript) > 1:
            self._check_past_only(transcript, values)
        names = [f"{self.name.partition(':')[2]}_{i}" for i in range(values.shape[1])]
        return word_features(values, transcript, names, "function", self.settings())

    def settings(self) -> dict[str, Any]:
        """Its name and source; what the function itself reads is not known here."""
        try:
            source = content_hash(inspect.getsource(self.function))
        except (OSError, TypeError):
            source = None
        return {"kind": "function", "function": self.name, "source": source, "sees_whole_story": self.sees_whole_story}

    def _call(self, transcript: Transcript) -> np.ndarray:
        values = np.asarray(self.function(transcript))
        if values.ndim not in (1, 2) or len(values) != len(transcript) or values.dtype.kind not in "biuf":
            raise bad(
                f"the result of {self.name}",
                f"be numbers of shape ({len(transcript)},) or ({len(transcript)}, n_features)",
                f"{values.dtype} of shape {values.shape}",
            )
        check_finite(f"the result of {self.name}", values)
        return values.reshape(len(transcript), -1)

    def _check_past_only(self, transcript: Transcript, values: np.ndarray) -> None:
        half = len(transcript) // 2
        alone = self._call(transcript[:half])
        same = alone.shape[1] == values.shape[1] and np.allclose(
            alone, values[:half], rtol=1e-5, atol=1e-6 * np.abs(values).max()
        )
        if not same:
            raise bad(
                f"the result of {self.name}",
                "not depend on later words",
                f"other rows for the first {half} words when the rest is cut off",
                "Pass sees_whole_story=True if that is meant.",
            )


def _find(name: str) -> Callable[[Transcript], Any]:
    module_name, separator, function_name = name.partition(":")
    if not separator or not module_name or not function_name:
        raise bad("function", 'be "package.module:function"', name)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise bad("function", "name a module that can be imported", f"{name} ({error})", "Is it installed?") from error
    if not hasattr(module, function_name):
        raise bad("function", f"be in {module_name}", function_name, nearest(function_name, dir(module)))
    found: Callable[[Transcript], Any] = getattr(module, function_name)
    return found


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
