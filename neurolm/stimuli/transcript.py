"""A story as words with times: what was heard, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neurolm.checks import bad, check_finite, check_same_length
from neurolm.storage import content_hash


@dataclass(frozen=True, eq=False)
class Transcript:
    """Words of one story in the order in which they were heard.

    Parameters
    ----------
    words : sequence of str, n_words
        As they should be read by a language model: no marks for pauses or noises.
    onsets, offsets : array of shape (n_words,)
        Seconds from the story's time zero. Onsets never decrease; an offset is never before
        its onset. Neighbours may overlap (aligners do that by fractions of a millisecond).
    sentences, paragraphs : array of int of shape (n_words,), optional
        Index of the sentence and the paragraph that each word belongs to; never decreasing.
    name : str
        The story's name, for messages and reports.
    left_out : mapping of str to int
        What the file held beside these words, counted: pauses and noises by their label ("empty" for
        a blank one), rows without a time as "untimed". For reports; it does not count as content.

    Examples
    --------
    >>> story = Transcript(("Alice", "was", "beginning"), [0.0, 0.5, 0.8], [0.4, 0.7, 1.5])
    >>> len(story), story.text
    (3, 'Alice was beginning')
    >>> story[1:].onsets
    array([0.5, 0.8])
    """

    words: tuple[str, ...]
    onsets: np.ndarray
    offsets: np.ndarray
    sentences: np.ndarray | None = None
    paragraphs: np.ndarray | None = None
    name: str = field(default="story")
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "left_out", dict(self.left_out))
        for i, word in enumerate(self.words):
            if not isinstance(word, str) or not word.strip():
                raise bad(f"words[{i}] of {self.name}", "be text with at least one visible character", word)
        for attribute in ("onsets", "offsets"):
            times = np.array(getattr(self, attribute), dtype=np.float64).reshape(-1)
            check_same_length("words", len(self.words), attribute, len(times))
            check_finite(f"{attribute} of {self.name}", times, "Give every word a time, or leave untimed words out.")
            object.__setattr__(self, attribute, _frozen(times))
        for attribute in ("sentences", "paragraphs"):
            if getattr(self, attribute) is not None:
                index = np.array(getattr(self, attribute), dtype=np.int64).reshape(-1)
                check_same_length("words", len(self.words), attribute, len(index))
                if (np.diff(index) < 0).any():
                    raise bad(
                        attribute,
                        "never decrease from word to word",
                        f"a step back at word {int(np.argmax(np.diff(index) < 0)) + 1}",
                    )
                object.__setattr__(self, attribute, _frozen(index))
        self._check_order()

    def _check_order(self) -> None:
        back = np.flatnonzero(np.diff(self.onsets) < 0)
        if len(back):
            i = int(back[0]) + 1
            raise bad(
                f"onsets of {self.name}",
                "be in time order",
                f"word {i} ({self.words[i]!r}) at {self.onsets[i]:.3f} s after "
                f"{self.words[i - 1]!r} at {self.onsets[i - 1]:.3f} s",
                "Sort the rows by onset, or correct that word's time.",
            )
        inside_out = np.flatnonzero(self.offsets < self.onsets)
        if len(inside_out):
            i = int(inside_out[0])
            raise bad(
                f"offsets of {self.name}",
                "not lie before the onsets",
                f"word {i} ({self.words[i]!r}) from {self.onsets[i]:.3f} s to {self.offsets[i]:.3f} s",
            )

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, part: slice) -> Transcript:
        """A stretch of the story; times and sentence numbers stay as they are."""
        return replace(
            self,
            words=self.words[part],
            onsets=self.onsets[part],
            offsets=self.offsets[part],
            sentences=None if self.sentences is None else self.sentences[part],
            paragraphs=None if self.paragraphs is None else self.paragraphs[part],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transcript) and self.content_hash() == other.content_hash()

    def __hash__(self) -> int:
        return hash(self.content_hash())

    @property
    def mid_times(self) -> np.ndarray:
        """(n_words,) the middle of each word, in seconds: where its features sit in time."""
        return (self.onsets + self.offsets) / 2

    @property
    def text(self) -> str:
        """The words joined by single spaces."""
        return " ".join(self.words)

    def with_words(self, words: Sequence[str]) -> Transcript:
        """The same times with other words, one for one."""
        return replace(self, words=tuple(words))

    def shifted(self, seconds: float) -> Transcript:
        """The same words, later by `seconds` (earlier when negative)."""
        return replace(self, onsets=self.onsets + seconds, offsets=self.offsets + seconds)

    def content_hash(self) -> str:
        """SHA-256 of words, times and marks; the name does not count."""
        marks: list[Any] = ["none" if m is None else m for m in (self.sentences, self.paragraphs)]
        return content_hash("transcript", list(self.words), self.onsets, self.offsets, *marks)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
