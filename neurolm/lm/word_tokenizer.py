"""Whole words as tokens: the closed vocabulary of PTB, WikiText and every n-gram model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.lm.tokenizer import WordTokens, word_gaps
from neurolm.storage import content_hash


class WordTokenizer:
    """One id per word.

    Parameters
    ----------
    vocabulary : sequence of str
        Distinct words; a word's place is its id.
    unknown : str or None
        The entry that stands for every word outside the vocabulary. None: such a word is an error.
    eos : str or None
        The entry that ends a line or a document; it stands before the first word too.
    lowercase : bool
        Fold case before looking a word up.
    """

    kind = "words"
    texts_begin_with_bos = False

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        unknown: str | None = "<unk>",
        eos: str | None = "<eos>",
        lowercase: bool = False,
    ) -> None:
        self.vocabulary = list(vocabulary)
        for special in (unknown, eos):
            if special is not None and special not in self.vocabulary:
                self.vocabulary.append(special)
        self._id_of = {word: i for i, word in enumerate(self.vocabulary)}
        if len(self._id_of) != len(self.vocabulary):
            twice = Counter(self.vocabulary).most_common(1)[0][0]
            raise bad("vocabulary", "hold each word once", f"{twice!r} twice")
        self.unknown, self.eos, self.lowercase = unknown, eos, lowercase
        self.vocab_size = len(self.vocabulary)
        self.unknown_id = None if unknown is None else self._id_of[unknown]
        self.eos_id = None if eos is None else self._id_of[eos]
        self.bos_id = self.eos_id

    @classmethod
    def from_words(
        cls,
        words: Iterable[str],
        *,
        max_size: int | None = None,
        min_count: int = 1,
        unknown: str | None = "<unk>",
        eos: str | None = "<eos>",
        lowercase: bool = False,
    ) -> WordTokenizer:
        """The vocabulary of a corpus: most frequent first, ties in alphabetical order.

        `max_size` counts the special entries too.
        """
        specials = [special for special in (eos, unknown) if special is not None]
        counts = Counter(word.lower() if lowercase else word for word in words)
        for special in specials:
            counts.pop(special, None)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [word for word, count in ranked if count >= min_count]
        if max_size is not None:
            kept = kept[: max(0, max_size - len(specials))]
        return cls([*specials, *kept], unknown=unknown, eos=eos, lowercase=lowercase)

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """Ids of the words between white space.

        A separator that is a mark in brackets ("<eos>") and is spelled in the text is an unknown word, unless
        `special_tokens` is set; one that is a word or a sign of its own (".") is itself.
        """
        return [self._look_up(word, special_tokens) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(self.vocabulary[int(i)] for i in ids)

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True, spaces: str = "auto") -> WordTokens:
        """Ids and spans; an entry of several words ("New York") becomes several ids."""
        word_gaps(words, leading_space=leading_space, spaces=spaces)  # refuses empty words
        parts = [self.encode(word) for word in words]
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        ends = np.cumsum(lengths)
        ids = np.array([i for part in parts for i in part], dtype=np.int64)
        return WordTokens(ids, np.stack([ends - lengths, ends], axis=1))

    def settings(self) -> dict[str, object]:
        return {"kind": self.kind, "vocabulary": content_hash(self.vocabulary), "lowercase": self.lowercase}

    def to_dict(self) -> dict[str, Any]:
        """Everything that `from_dict` needs, as JSON knows it."""
        return {
            "kind": self.kind,
            "vocabulary": self.vocabulary,
            "unknown": self.unknown,
            "eos": self.eos,
            "lowercase": self.lowercase,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> WordTokenizer:
        return cls(content["vocabulary"], unknown=content["unknown"], eos=content["eos"], lowercase=content["lowercase"])

    def _look_up(self, word: str, special_tokens: bool) -> int:
        known = self._id_of.get(word)
        if known is None and self.lowercase:
            known = self._id_of.get(word.lower())
        is_mark = self.eos is not None and known == self.eos_id and self.eos[0] + self.eos[-1] in ("<>", "[]")
        if known is not None and (special_tokens or not is_mark):
            return known
        if self.unknown_id is None:
            raise bad("words", "be in the tokenizer's vocabulary", word, "Give it an `unknown` entry, or another model.")
        return self.unknown_id
