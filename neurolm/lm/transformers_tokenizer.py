"""Any tokenizer of transformers as a neurolm `Tokenizer`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.lm.tokenizer import WordTokens, encode_segments
from neurolm.storage import content_hash


class TransformersTokenizer:
    """Ids as transformers gives them, with no special tokens added or read in a text, never cut or padded.

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
        self.vocab_size = 1 + max(tokenizer.get_vocab().values(), default=-1)
        self.eos_id: int | None = tokenizer.eos_token_id
        self.bos_id: int | None = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else self.eos_id

        self.texts_begin_with_bos = tokenizer.bos_token_id is not None and list(tokenizer("a", verbose=False)["input_ids"])[
            :1
        ] == [tokenizer.bos_token_id]

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self._code(text, special_tokens=special_tokens)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; an added token stands for its own text."""
        numbers = [int(i) for i in ids]
        if not self._added:
            return self._decode(numbers)
        pieces: list[str] = []
        for is_added, group in itertools.groupby(numbers, key=self._added.__contains__):
            run = list(group)
            pieces.append("".join(self._added[i] for i in run) if is_added else self._decode(run))
        return "".join(pieces)

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True, spaces: str = "auto") -> WordTokens:
        leading_space = leading_space and not self._puts_the_first_space
        return encode_segments(words, self._encode_segment, leading_space=leading_space, spaces=spaces)

    def _encode_segment(self, text: str, is_start: bool) -> tuple[Sequence[int], np.ndarray]:
        """Ids and offsets; inside a text without the space that sentencepiece puts before a text."""
        head = "" if is_start or not self._puts_the_first_space else "\n"
        coded = self._code(head + text, return_offsets_mapping=True)
        ids, offsets = coded["input_ids"], np.array(coded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        if head:
            n_head = len(self.encode(head))
            ids, offsets = ids[n_head:], np.maximum(offsets[n_head:] - len(head), 0)
        return ids, offsets

    def settings(self) -> dict[str, object]:
        return {"kind": self.kind, "vocabulary": self._vocabulary_hash, "lowercase": False}

    def to_dict(self) -> dict[str, Any]:
        """Everything that `from_dict` needs, as JSON knows it."""
        named = {name: getattr(self.tokenizer, name) for name in ("bos_token", "eos_token")}
        return {"kind": self.kind, "tokenizer": json.loads(self.tokenizer.backend_tokenizer.to_str()), **named}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> TransformersTokenizer:
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        inner = Tokenizer.from_str(json.dumps(content["tokenizer"]))
        named = {name: content[name] for name in ("bos_token", "eos_token") if content[name] is not None}
        return cls(PreTrainedTokenizerFast(tokenizer_object=inner, **named))

    def save_for_transformers(self, folder: Path) -> None:
        """Write the files that transformers reads."""
        self.tokenizer.save_pretrained(folder)

    def _code(self, text: str, *, special_tokens: bool = False, **more: bool) -> Any:
        return self.tokenizer(
            text,
            add_special_tokens=False,
            split_special_tokens=not special_tokens,
            truncation=False,
            padding=False,
            verbose=False,
            **more,
        )

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    @cached_property
    def _added(self) -> dict[int, str]:
        """Texts of added tokens of a byte-level tokenizer, whose decoder would take their letters for bytes."""
        decoder = json.loads(self.tokenizer.backend_tokenizer.to_str()).get("decoder")
        if "ByteLevel" not in json.dumps(decoder):
            return {}
        return {i: token.content for i, token in self.tokenizer.added_tokens_decoder.items()}

    @cached_property
    def _puts_the_first_space(self) -> bool:
        """True for tokenizers that put a space before a text by themselves (sentencepiece)."""
        return self.encode("the the") == self.encode("the") * 2

    @cached_property
    def _vocabulary_hash(self) -> str:
        return content_hash(self.tokenizer.backend_tokenizer.to_str())
