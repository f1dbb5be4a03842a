"""Numbers for every word of a story, and what can make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from neurolm.checks import bad, check_finite, check_same_length
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash


@dataclass(frozen=True, eq=False)
class Features:
    """One row for each word of a story.

    Parameters
    ----------
    values : array of shape (n_words, n_features)
    times : array of shape (n_words,)
        Seconds at which each row sits: the middle of its word.
    names : sequence of str, n_features
    slices : mapping of str to slice
        Columns of each feature space, by name: bands for banded ridge and variance partitioning.
    context : array of int of shape (n_words,), optional
        How many words (or tokens) each row really saw; `shortened` marks rows that saw fewer
        than asked, at the start of a story.
    shortened : bool array of shape (n_words,), optional
    settings : mapping
        Everything that made these numbers: model, layer, context, pooling.
    words : tuple of str
        What was read: a story that was heard again is recognised by it. Empty where it is not known.
    """

    values: np.ndarray
    times: np.ndarray
    names: tuple[str, ...] = ()
    slices: Mapping[str, slice] = field(default_factory=dict)
    context: np.ndarray | None = None
    shortened: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values, times = np.asarray(self.values), np.asarray(self.times, dtype=np.float64)
        if values.ndim != 2:
            raise bad("values", "have shape (n_words, n_features)", values.shape)
        check_same_length("values", len(values), "times", len(times), "One row for each word.")
        check_finite("feature values", values)
        names = tuple(self.names) or tuple(f"f{i}" for i in range(values.shape[1]))
        check_same_length("names", len(names), "the columns of values", values.shape[1])
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "slices", dict(self.slices) or {"features": slice(0, values.shape[1])})

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_features(self) -> int:
        return self.values.shape[1]

    def content_hash(self) -> str:
        return content_hash("features", self.values, self.times, list(self.names))


@runtime_checkable
class FeatureSpace(Protocol):
    """Anything that turns a transcript into features; a word's row never depends on a later word."""

    def extract(self, transcript: Transcript) -> Features: ...

    def settings(self) -> dict[str, Any]:
        """What determines the numbers, as JSON-able values: the cache key and the report's table."""
        ...


def join(parts: Mapping[str, Features] | Sequence[tuple[str, Features]]) -> Features:
    """Put feature spaces side by side, keeping each one's columns under its name.

    Raises
    ------
    InputError
        If the spaces do not have the same words. Nothing is cut to the shortest.
    """
    parts = dict(parts)
    if not parts:
        raise bad("parts", "hold at least one feature space", {})
    first_name, first = next(iter(parts.items()))
    slices, start = {}, 0
    for name, part in parts.items():
        check_same_length(first_name, len(first), name, len(part), "Extract both from the same transcript.")
        if not np.array_equal(part.times, first.times):
            raise bad(
                f"word times of {name}", f"equal those of {first_name}", "other times", "Extract both from the same transcript."
            )
        slices[name] = slice(start, start + part.n_features)
        start += part.n_features
    return Features(
        np.concatenate([p.values for p in parts.values()], axis=1),
        first.times,
        tuple(f"{name}/{n}" for name, p in parts.items() for n in p.names),
        slices,
        settings={name: dict(p.settings) for name, p in parts.items()},
        words=first.words,
    )
