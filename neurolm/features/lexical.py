"""What can be said of a word without a language model: that it is there, how long and how frequent it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, check_choice
from neurolm.features.feature_space import Features
from neurolm.features.word_values import look_up, word_features
from neurolm.letters import count_letters, lower_case, plain_spelling, words_of
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash


class WordRate:
    """A one for every word: brought to TR time, it is how many words were heard."""

    def extract(self, transcript: Transcript) -> Features:
        return word_features(np.ones(len(transcript)), transcript, ["word_rate"], "word_rate", self.settings())

    def settings(self) -> dict[str, Any]:
        return {"kind": "word_rate"}


class WordLength:
    """Length of every word, in letters and digits or in seconds.

    Parameters
    ----------
    unit : {"letters", "seconds"}
    """

    def __init__(self, unit: str = "letters") -> None:
        self.unit = check_choice("unit", unit, ["letters", "seconds"])

    def extract(self, transcript: Transcript) -> Features:
        if self.unit == "seconds":
            lengths = transcript.offsets - transcript.onsets
        else:
            lengths = np.array([count_letters(word) for word in transcript.words])
        return word_features(lengths, transcript, [f"length_{self.unit}"], "word_length", self.settings())

    def settings(self) -> dict[str, Any]:
        return {"kind": "word_length", "unit": self.unit}


class PauseBefore:
    """Silence between the end of the previous word and the onset of each word, in seconds; 0 for the first word and overlaps."""

    def extract(self, transcript: Transcript) -> Features:
        pauses = np.zeros(len(transcript))
        pauses[1:] = np.maximum(0, transcript.onsets[1:] - transcript.offsets[:-1])
        return word_features(pauses, transcript, ["pause_before"], "pause_before", self.settings())

    def settings(self) -> dict[str, Any]:
        return {"kind": "pause_before"}


class LogFrequency:
    """How frequent a word is, on the Zipf scale: log10 of occurrences in 10^9 words.

    Counts are smoothed by one (Laplace), so that a word that the corpus lacks has a value: that of
    a word seen once in a corpus one larger. How many words that were is in the settings.

    Parameters
    ----------
    counts : mapping of str to int
        Occurrences in a corpus; words that differ only in case, Unicode form or apostrophe are added up.

    References
    ----------
    Van Heuven, Mandera, Keuleers and Brysbaert (2014), SUBTLEX-UK, Q. J. Exp. Psychol. 67:1176-1190.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        folded: Counter[str] = Counter()
        for word, count in counts.items():
            if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 0:
                raise bad(f"the count of {word!r}", "be an integer >= 0", count)
            folded[lower_case(plain_spelling(word))] += int(count)
        if not folded:
            raise bad("counts", "hold at least one word", {})
        self.counts = dict(folded)

    @classmethod
    def from_corpus(cls, path: str | Path) -> LogFrequency:
        """Count the words of a text file: runs of letters, marks and digits, with apostrophes and hyphens inside.

        Text without spaces between words (Chinese, Japanese, Thai ...) must be segmented first.
        """
        text = read_annotation(path, "Give a text file.")
        return cls(Counter(words_of(text)))

    def extract(self, transcript: Transcript) -> Features:
        found = look_up(transcript.words, lambda form: self.counts.get(lower_case(form)))
        occurrences = np.array([0 if count is None else count for count in found], dtype=np.float64)
        n_smoothed = sum(self.counts.values()) + len(self.counts)
        zipf = np.log10((occurrences + 1) / n_smoothed * 1e9)
        n_missing = sum(count is None for count in found)
        return word_features(zipf, transcript, ["log_frequency"], "log_frequency", self.settings(), n_missing)

    def settings(self) -> dict[str, Any]:
        return {"kind": "log_frequency", "scale": "Zipf", "counts": content_hash(self.counts)}
