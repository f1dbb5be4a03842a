"""What each token of a vocabulary can do for a word: begin one, go on with one, or end it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from neurolm.checks import InputError, bad
from neurolm.letters import has_letters, is_letter
from neurolm.lm.tokenizer import Tokenizer

INSIDE = frozenset("'’-")  # signs that words of a transcript may hold


class WordPieces:
    """Tokens sorted by their part in a word, told from their text in running text.

    Attributes
    ----------
    begins : (V,) bool
        Tokens that begin a new word: a space, then letters or nothing. In a vocabulary of whole
        words, every entry with a letter, dots and all ("mr.", "u.s.").
    continues : (V,) bool
        Tokens of letters, digits or "'" without white space before them: they go on with a word.
        All other tokens, and those that begin a word, show that the word before them has ended.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        anchor = self._anchor()
        before = tokenizer.decode([anchor])
        self.texts = [tokenizer.decode([anchor, token])[len(before) :] for token in range(tokenizer.vocab_size)]
        self.begins = np.array([text[:1] == " " and _is_word(text[1:], or_empty=True) for text in self.texts])
        self.continues = np.array([_is_word(text) for text in self.texts])
        self.unknown_id: int | None = getattr(tokenizer, "unknown_id", None)
        if self.are_whole_words:
            self.begins = np.array([text[:1] == " " and has_letters(text) and text[1:2] != "<" for text in self.texts])
        for special in (self.unknown_id, tokenizer.bos_id, tokenizer.eos_id):
            if special is not None:
                self.begins[special] = self.continues[special] = False
        if not self.begins.any():
            raise bad("tokenizer", "have tokens that begin a word with a space", f"none in {tokenizer.vocab_size} tokens")

    @property
    def are_whole_words(self) -> bool:
        """True where no token goes on with a word: each word is one token."""
        return not self.continues.any()

    @cached_property
    def begin_ids(self) -> np.ndarray:
        return np.flatnonzero(self.begins)

    def _anchor(self) -> int:
        """A token after which another shows whether it brings a space along: of letters where there is one."""
        try:
            return self.tokenizer.encode("a")[-1]
        except (InputError, IndexError):
            return 0


def _is_word(text: str, *, or_empty: bool = False) -> bool:
    return (bool(text) or or_empty) and all(is_letter(c) or c in INSIDE for c in text)
