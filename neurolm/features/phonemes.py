"""How many speech sounds a word has, from a phone tier or from a pronunciation dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, bad_file
from neurolm.features.feature_space import Features
from neurolm.features.word_values import MissingRule, look_up, word_features
from neurolm.letters import lower_case, plain_spelling
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash


class PhonemeCount:
    """Number of phones of every word.

    Parameters
    ----------
    phones : Transcript or mapping of str to int
        The phone tier of the same story (`read_textgrid(path, tier="phone")`): a phone belongs to
        the word in which its middle lies. Or how many phones each word has, as
        `read_pronunciations` gives it.
    missing : "error", "mean" or number
        For words that a dictionary lacks, or in which no phone lies; see `MissingRule`.
    """

    def __init__(self, phones: Transcript | Mapping[str, int], missing: str | float = "error") -> None:
        if not len(phones):
            raise bad("phones", "hold at least one phone or word", "none")
        self.phones = phones
        self.missing = MissingRule(missing)

    def extract(self, transcript: Transcript) -> Features:
        found: list[int | None]
        if isinstance(self.phones, Transcript):
            found = _count_inside(self.phones, transcript)
            known = [count for count in found if count is not None]
        else:
            counts: dict[str, int] = {}
            for word, count in self.phones.items():
                counts.setdefault(plain_spelling(word), count)
            found = look_up(transcript.words, counts.get)
            known = list(self.phones.values())
        rows = [None if count is None else np.array([float(count)]) for count in found]
        values = self.missing.fill(rows, lambda: np.array([np.mean(known)]), transcript.words, "the phones")
        n_missing = sum(count is None for count in found)
        return word_features(values, transcript, ["n_phonemes"], "phoneme_count", self.settings(), n_missing)

    def settings(self) -> dict[str, Any]:
        phones = self.phones.content_hash() if isinstance(self.phones, Transcript) else content_hash(dict(self.phones))
        return {"kind": "phoneme_count", "phones": phones, "missing": self.missing.rule}


def read_pronunciations(path: str | Path) -> dict[str, int]:
    """Phones per word from a dictionary in the format of CMUdict, in lower case; the first pronunciation counts.

    A line is a word, possibly the number of the pronunciation (`A 2 EY1` or `A(2) EY1`), and its phones;
    lines that begin with ;;; are comments.
    """
    counts: dict[str, int] = {}
    for number, line in enumerate(read_annotation(path, "Give a dictionary in the format of CMUdict.").splitlines(), 1):
        if line.startswith(";;;") or not line.strip():
            continue
        word, *phones = line.split()
        if phones and phones[0].isdigit():
            phones = phones[1:]
        if not phones:
            raise bad_file(path, f"has no phones for {word!r}", "A line is a word and its phones.", line=number)
        word = lower_case(plain_spelling(word))
        counts.setdefault(word.partition("(")[0] or word, len(phones))
    return counts


def _count_inside(phones: Transcript, words: Transcript) -> list[int | None]:
    """Phones whose middle lies in each word; None for words without any."""
    middles = np.sort(phones.mid_times)
    counts = np.searchsorted(middles, words.offsets, side="right") - np.searchsorted(middles, words.onsets, side="left")
    return [int(count) if count > 0 else None for count in counts]
