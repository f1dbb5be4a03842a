"""Byte-level byte-pair encoding, as GPT-2 uses it; the merging itself is the `tokenizers` library's.

Every byte has a token, so every text, and every byte string, comes back exactly.

References
----------
Sennrich, Haddow & Birch (2016), ACL, 1715-1725. Radford et al. (2019), Language models are
unsupervised multitask learners, section 2.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, bad_file, check_file
from neurolm.lm.tokenizer import WordTokens, encode_segments
from neurolm.storage import content_hash, write_json, write_text

END_OF_TEXT = "<|endoftext|>"


class BytePairTokenizer:
    """A `Tokenizer` around one of the `tokenizers` library.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        A byte-level one; see `train`, `from_files` and `from_dict`. It is copied, and its truncation and padding
        are left out: every text gives all of its tokens and no others.
    eos : str
        The separator between documents, which also stands before the first word.
    """

    kind = "byte-pairs"
    texts_begin_with_bos = False

    def __init__(self, tokenizer: Any, *, eos: str = END_OF_TEXT) -> None:
        self.tokenizer = _copy_without_cuts(tokenizer)
        self.vocab_size: int = 1 + max(tokenizer.get_vocab().values(), default=-1)
        self.eos = eos
        self.eos_id: int | None = tokenizer.token_to_id(eos)
        self.bos_id = self.eos_id
        lacking = [byte for byte, sign in enumerate(_BYTE_SIGNS) if tokenizer.token_to_id(sign) is None]
        if lacking:
            raise bad("tokenizer", "have a token for each of the 256 bytes", f"one without {len(lacking)} of them")

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = False, eos: str = END_OF_TEXT
    ) -> BytePairTokenizer:
        """Learn merges from a corpus. The same texts in the same order give the same vocabulary.

        With `lowercase` capitals are read as small letters, for models of transcribed speech; a
        text then comes back in small letters.
        """
        from tokenizers.normalizers import Lowercase
        from tokenizers.trainers import BpeTrainer

        if vocab_size < 257:
            raise bad("vocab_size", "be at least 257", vocab_size, "256 bytes and the separator come first.")
        tokenizer = _byte_level(None, None)
        if lowercase:
            tokenizer.normalizer = Lowercase()
        trainer = BpeTrainer(
            vocab_size=vocab_size, min_frequency=2, show_progress=False, special_tokens=[eos], initial_alphabet=_BYTE_SIGNS
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer, eos=eos)

    @classmethod
    def from_files(cls, vocab: str | Path, merges: str | Path, *, eos: str = END_OF_TEXT) -> BytePairTokenizer:
        """GPT-2's own format: vocab.json and merges.txt."""
        from tokenizers.models import BPE

        try:
            ids, pairs = BPE.read_file(str(check_file(vocab)), str(check_file(merges)))
            tokenizer = _byte_level(ids, pairs)
        except Exception as error:  # the library raises bare Exception
            raise bad_file(vocab, f"is not a byte-pair vocabulary ({error})", "Give GPT-2's vocab.json and merges.txt.") from None
        tokenizer.add_special_tokens([eos])
        return cls(tokenizer, eos=eos)

    @classmethod
    def from_tokenizers_file(cls, path: str | Path, *, eos: str = END_OF_TEXT) -> BytePairTokenizer:
        """A tokenizer.json of the `tokenizers` library, as transformers saves it."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(check_file(path))), eos=eos)
        except Exception as error:  # the library raises bare Exception
            raise bad_file(path, f"is not a byte-pair tokenizer ({error})", "Copy or save it again.") from None

    def save_for_transformers(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers reads."""
        write_text(folder / "tokenizer.json", self.tokenizer.to_str())
        special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), self.eos)
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **special})

    def encode(self, text: str, *, special_tokens: bool = False) -> list[int]:
        """See `Tokenizer.encode`."""
        self.tokenizer.encode_special_tokens = not special_tokens
        try:
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        finally:
            self.tokenizer.encode_special_tokens = True

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any byte string; bytes that are not UTF-8 become one token each."""
        ids: list[int] = []
        while data:
            try:
                return ids + self.encode(data.decode("utf-8"))
            except UnicodeDecodeError as error:
                ids += self.encode(data[: error.start].decode("utf-8"))
                ids += [self.tokenizer.token_to_id(_BYTE_SIGNS[byte]) for byte in data[error.start : error.end]]
                data = data[error.end :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes behind the ids: nothing is replaced, even where a character is cut in two."""
        return b"".join(self._bytes_of[int(i)] for i in ids if int(i) < self.vocab_size)

    def encode_words(self, words: Sequence[str], *, leading_space: bool = True, spaces: str = "auto") -> WordTokens:
        def encode(text: str, is_start: bool) -> tuple[Sequence[int], np.ndarray]:
            coded = self.tokenizer.encode(text, add_special_tokens=False)
            return coded.ids, np.array(coded.offsets)

        return encode_segments(words, encode, leading_space=leading_space, spaces=spaces)

    def settings(self) -> dict[str, object]:
        return {"kind": self.kind, "vocabulary": self._vocabulary_hash, "lowercase": self.tokenizer.normalizer is not None}

    def to_dict(self) -> dict[str, Any]:
        """Everything that `from_dict` needs, as JSON knows it."""
        return {"kind": self.kind, "eos": self.eos, "tokenizer": json.loads(self.tokenizer.to_str())}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> BytePairTokenizer:
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(json.dumps(content["tokenizer"])), eos=content["eos"])

    @cached_property
    def _vocabulary_hash(self) -> str:
        return content_hash(self.tokenizer.to_str())

    @cached_property
    def _bytes_of(self) -> list[bytes]:
        """Per id, the bytes it stands for; an added token, special or not, stands for its own text."""
        byte_of = {sign: byte for byte, sign in enumerate(_BYTE_SIGNS)}
        added = self.tokenizer.get_added_tokens_decoder()
        rows = []
        for i in range(self.vocab_size):
            token = self.tokenizer.id_to_token(i) or ""
            rows.append(token.encode("utf-8") if i in added else bytes(byte_of[sign] for sign in token))
        return rows


def _copy_without_cuts(tokenizer: Any) -> Any:
    """A tokenizer with the same vocabulary and rules that neither truncates, pads, nor reads special tokens in a text."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = True
    return copy


def _byte_level(vocabulary: dict[str, int] | None, merges: list[tuple[str, str]] | None) -> Any:
    """GPT-2's pipeline: its splitting pattern, bytes as signs, no normalisation, no added space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges) if vocabulary else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _signs() -> list[str]:
    """The printable character that stands for each byte: itself where it is printable, else from 256 up."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


_BYTE_SIGNS = _signs()
