"""Low-level features: plain properties of words and speech that a language model has to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neurolm.checks import bad
from neurolm.features.feature_space import Features, FeatureSpace, join
from neurolm.features.lexical import LogFrequency, PauseBefore, WordLength, WordRate
from neurolm.stimuli.transcript import Transcript

LOW_LEVEL = {
    "word_rate": "word rate",
    "duration": "word duration",
    "length": "word length",
    "pauses": "pauses",
    "frequency": "word frequency",
    "sound": "sound power",
}
"""Columns and what a reader calls them; `sound` is no property of a word and comes with some data sets."""


class LowLevelWords:
    """Word rate, duration (s), length (letters), the pause before each word (s) and log frequency, side by side.

    Parameters
    ----------
    columns : sequence of str
        Some of "word_rate", "duration", "length", "pauses", "frequency".
    frequency : LogFrequency, optional
        Needed for "frequency".

    Examples
    --------
    >>> from neurolm.stimuli import Transcript
    >>> story = Transcript(("Alice", "was"), [0.0, 0.5], [0.4, 0.7])
    >>> LowLevelWords(["word_rate", "pauses"]).extract(story).values.round(1)
    array([[1. , 0. ],
           [1. , 0.1]], dtype=float32)
    """

    def __init__(self, columns: Sequence[str], frequency: LogFrequency | None = None) -> None:
        spaces: dict[str, FeatureSpace] = {
            "word_rate": WordRate(),
            "duration": WordLength("seconds"),
            "length": WordLength("letters"),
            "pauses": PauseBefore(),
        }
        if frequency is not None:
            spaces["frequency"] = frequency
        unknown = [name for name in columns if name not in spaces]
        if unknown or not columns:
            raise bad(
                "columns", f"be some of {', '.join(spaces)}", ", ".join(unknown) or "none", "Frequency needs counts of words."
            )
        self.spaces = {name: spaces[name] for name in columns}

    def extract(self, transcript: Transcript) -> Features:
        return join({name: space.extract(transcript) for name, space in self.spaces.items()})

    def settings(self) -> dict[str, Any]:
        return {"kind": "low_level", "columns": {name: space.settings() for name, space in self.spaces.items()}}
