"""Text to token ids and back, with the span of tokens that each word became.

Spans come from one tokenisation, never from decoding and re-encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


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
