"""Any tokenizer of transformers as a neurolm `Tokenizer`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.lm.tokenizer import WordTokens, encode_segments
from neurolm.storage import content_hash


class TransformersTokenizer:
    """Ids as transformers gives them, never with special tokens added.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        What stands before the first word is its beginning-of-text token, or where it has none
        its end-of-text separator.
    """

    kind = "transformers"

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise bad(
                "tokenizer",
                "know the characters of each token (a fast tokenizer of transformers)",
                type(tokenizer).__name__,
                "Save it as tokenizer.json and load that.",
            )
        self.tokenizer = tokenizer
        self.vocab_size = len(tokenizer)
        self.eos_id: int | None = tokenizer.eos_token_id
        self.bos_id: int | None = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else self.eos_id

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        numbers = [int(i) for i in ids]
        return str(self.tokenizer.decode(numbers, clean_up_tokenization_spaces=False))

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True, spaces: str = "auto") -> WordTokens:
        leading_space = leading_space and not self._puts_the_first_space
        return encode_segments(words, self._encode_segment, leading_space=leading_space, spaces=spaces)

    def _encode_segment(self, text: str, is_start: bool) -> tuple[Sequence[int], np.ndarray]:
        """Ids and offsets; inside a text without the space that sentencepiece puts before a text."""
        head = "" if is_start or not self._puts_the_first_space else "\n"
        coded = self.tokenizer(head + text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, offsets = coded["input_ids"], np.array(coded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        if head:
            n_head = len(self.encode(head))
            ids, offsets = ids[n_head:], np.maximum(offsets[n_head:] - len(head), 0)
        return ids, offsets

    def settings(self) -> dict[str, object]:
        return {"kind": self.kind, "vocabulary": self._vocabulary_hash, "lowercase": False}

    @cached_property
    def _puts_the_first_space(self) -> bool:
        """True for tokenizers that put a space before a text by themselves (sentencepiece)."""
        return self.encode("the the") == self.encode("the") * 2

    @cached_property
    def _vocabulary_hash(self) -> str:
        return content_hash(self.tokenizer.backend_tokenizer.to_str())
