"""Text to token ids and back, with the span of tokens that each word became.

Spans come from one tokenisation, never from decoding and re-encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from neurolm.checks import bad


@dataclass(frozen=True)
class WordTokens:
    """Token ids of a word sequence; word i is ids[spans[i, 0]:spans[i, 1]].

    ids : (n_tokens,) int64, no separator or beginning-of-text token among them
    spans : (n_words, 2) int64, consecutive: spans[i, 1] == spans[i + 1, 0]
    """

    ids: np.ndarray
    spans: np.ndarray


@runtime_checkable
class Tokenizer(Protocol):
    """What the package needs of a tokenizer."""

    vocab_size: int
    bos_id: int | None  # what stands before the first word (GPT-2: its end-of-text separator)
    eos_id: int | None

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True) -> WordTokens:
        """Tokens of each word, as in running text.

        Every word but a text's first carries its leading space; `leading_space` says whether
        the first one does too (True for words from the middle of a story).

        Raises
        ------
        InputError
            If a word gives no token, or an unknown one in a closed vocabulary.
        """
        ...

    def settings(self) -> dict[str, object]:
        """What determines the ids (kind, vocabulary hash, case rule), for cache keys."""
        ...


def join_words(words: Sequence[str], *, leading_space: bool) -> str:
    """The running text of a word sequence; an empty word is refused."""
    for index, word in enumerate(words):
        if not word.strip():
            raise bad("words", "each hold a letter or a sign", f"{word!r} at {index}", "Drop empty words from the transcript.")
    return (" " if leading_space and words else "") + " ".join(words)


def spans_from_offsets(words: Sequence[str], offsets: np.ndarray, *, leading_space: bool) -> np.ndarray:
    """Which tokens of `join_words(words)` belong to which word.

    Parameters
    ----------
    words : sequence of str
    offsets : (n_tokens, 2) int
        First and last-plus-one character of each token in the joined text. A space belongs to
        the word after it.
    leading_space : bool
        As in the text that was tokenised.

    Returns
    -------
    spans : (n_words, 2) int64, consecutive

    Raises
    ------
    InputError
        If a word has no token of its own, or a token reaches over two words.
    """
    ends = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - (not leading_space)  # last character + 1
    offsets = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    owners = np.searchsorted(ends, np.maximum(offsets[:, 1] - 1, offsets[:, 0]), side="right")
    before = np.r_[0, ends][owners]
    straddling = np.flatnonzero(offsets[:, 0] < before)
    if straddling.size:
        word = words[int(owners[straddling[0]])]
        raise bad("words", "not share a token with the word before", word, "This tokenizer does not keep words apart.")
    counts = np.bincount(owners, minlength=len(words))
    if len(words) and counts.min() == 0:
        empty = int(np.argmin(counts))
        raise bad(
            "words",
            "each give at least one token",
            f"{words[empty]!r} at {empty}, which gives none",
            "Drop it from the transcript.",
        )
    last = np.cumsum(counts, dtype=np.int64)
    return np.stack([last - counts, last], axis=1)
