"""Text to token ids and back, with the span of tokens that each word became.

Spans come from one tokenisation, never from decoding and re-encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from neurolm.checks import bad, check_choice
from neurolm.letters import SPACES, space_between


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
    texts_begin_with_bos: bool  # whether the model's own tokenizer begins every text with bos_id (Llama, Gemma)

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """Ids of a text, with nothing added to it.

        Special tokens that are spelled in the text ("<|endoftext|>", "</s>") are read as the signs that
        they are written with; `special_tokens` reads them as the tokens.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True, spaces: str = "auto") -> WordTokens:
        """Tokens of each word, as in running text.

        Every word but a text's first carries its leading space, unless its script is written without
        (`letters.space_between`; `spaces` is "auto", "always" or "never"). `leading_space` says
        whether the first word has one too (True for words from the middle of a story).

        Raises
        ------
        InputError
            If a word gives no token, or an unknown one in a closed vocabulary.
        """
        ...

    def settings(self) -> dict[str, object]:
        """What determines the ids (kind, vocabulary hash, case rule), for cache keys."""
        ...


def join_words(words: Sequence[str], *, leading_space: bool, spaces: str = "auto") -> str:
    """The running text of a word sequence, as its language writes it; an empty word is refused."""
    gaps = word_gaps(words, leading_space=leading_space, spaces=spaces)
    return "".join(" " * gap + word for gap, word in zip(gaps, words))


def word_gaps(words: Sequence[str], *, leading_space: bool, spaces: str = "auto") -> list[bool]:
    """Whether a space stands before each word in running text; see `letters.space_between`."""
    check_choice("spaces", spaces, SPACES)
    for index, word in enumerate(words):
        if not word.strip():
            raise bad("words", "each hold a letter or a sign", f"{word!r} at {index}", "Drop empty words from the transcript.")
    return [leading_space, *(space_between(a, b, spaces) for a, b in pairwise(words))][: len(words)]


def encode_segments(
    words: Sequence[str],
    encode: Callable[[str, bool], tuple[Sequence[int], np.ndarray]],
    *,
    leading_space: bool,
    spaces: str = "auto",
) -> WordTokens:
    """Tokens and spans of a word sequence, from a function that gives the tokens of a text.

    Words with no space between them are tokenised one by one, so that no token reaches over two words and no
    word's tokens depend on a later word.

    Parameters
    ----------
    encode : callable
        encode(text, is_start): ids and (n_tokens, 2) character offsets; `is_start` is True for the text's beginning.
    """
    gaps = word_gaps(words, leading_space=leading_space, spaces=spaces)
    starts = [0, *(i for i in range(1, len(words)) if not gaps[i])]
    ids, spans, n_before = [np.empty(0, np.int64)], [np.empty((0, 2), np.int64)], 0
    for start, stop in pairwise([*starts, len(words)]):
        part = words[start:stop]
        text = join_words(part, leading_space=bool(part) and gaps[start], spaces="always")
        own, offsets = encode(text, start == 0)
        spans.append(n_before + spans_from_offsets(part, offsets, leading_space=bool(part) and gaps[start]))
        ids.append(np.array(own, dtype=np.int64))
        n_before += len(own)
    return WordTokens(np.concatenate(ids), np.concatenate(spans))


def spans_from_offsets(words: Sequence[str], offsets: np.ndarray, *, leading_space: bool) -> np.ndarray:
    """Which tokens of words joined by spaces belong to which word.

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
