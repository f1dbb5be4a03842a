"""One token per character: the smallest vocabulary there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.lm.tokenizer import WordTokens, word_gaps
from neurolm.storage import content_hash


class CharTokenizer:
    """One id per character of a closed alphabet.

    Parameters
    ----------
    alphabet : str
        Distinct characters; a character's place is its id.
    eos : str or None
        A character of the alphabet that ends a document, and stands before the first word.
    """

    kind = "characters"
    texts_begin_with_bos = False

    def __init__(self, alphabet: str, *, eos: str | None = None) -> None:
        self._id_of = {character: i for i, character in enumerate(alphabet)}
        if len(self._id_of) != len(alphabet):
            raise bad("alphabet", "hold each character once", alphabet)
        if eos is not None and eos not in self._id_of:
            raise bad("eos", "be a character of the alphabet", eos)
        self.alphabet, self.eos = alphabet, eos
        self.vocab_size = len(alphabet)
        self.eos_id = None if eos is None else self._id_of[eos]
        self.bos_id = self.eos_id

    @classmethod
    def from_text(cls, text: str, *, eos: str | None = None) -> CharTokenizer:
        """The characters of a corpus, in the order of their code points."""
        return cls("".join(sorted({*text, *(eos or "")})), eos=eos)

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """One id per character; `eos` is a character like any other, whatever `special_tokens` says."""
        try:
            return [self._id_of[character] for character in text]
        except KeyError:
            strange = sorted(set(text) - set(self._id_of))[:8]
            strange = [c if c.isprintable() and not c.isspace() else repr(c) for c in strange]
            hint = "Replace the character, or learn the alphabet from a text that holds it."
            raise bad("text", "use the tokenizer's alphabet only", ", ".join(strange), hint) from None

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.alphabet[int(i)] for i in ids)

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True, spaces: str = "auto") -> WordTokens:
        gaps = word_gaps(words, leading_space=leading_space, spaces=spaces)
        ids = self.encode("".join(" " * gap + word for gap, word in zip(gaps, words)))
        lengths = np.array([len(word) + gap for word, gap in zip(words, gaps)], dtype=np.int64)
        ends = np.cumsum(lengths)
        return WordTokens(np.array(ids, dtype=np.int64), np.stack([ends - lengths, ends], axis=1))

    def settings(self) -> dict[str, object]:
        return {"kind": self.kind, "vocabulary": content_hash(self.alphabet), "lowercase": False}

    def to_dict(self) -> dict[str, Any]:
        """Everything that `from_dict` needs, as JSON knows it."""
        return {"kind": self.kind, "alphabet": self.alphabet, "eos": self.eos}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CharTokenizer:
        return cls(content["alphabet"], eos=content["eos"])
