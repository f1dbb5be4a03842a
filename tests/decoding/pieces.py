"""A tokenizer of word pieces so small that every word can be listed."""

from __future__ import annotations

import numpy as np

from neurolm.lm.tokenizer import WordTokens


class PieceTokenizer:
    """Greedy longest pieces; a piece with a leading space begins a word."""

    def __init__(self, pieces, bos="<s>"):
        self.pieces = [bos, *pieces]
        self.vocab_size = len(self.pieces)
        self.bos_id = self.eos_id = 0

    def encode(self, text):
        ids = []
        while text:
            fits = [i for i, piece in enumerate(self.pieces) if i and text.startswith(piece)]
            best = max(fits, key=lambda i: len(self.pieces[i]))
            ids.append(best)
            text = text[len(self.pieces[best]) :]
        return ids

    def decode(self, ids):
        return "".join(self.pieces[int(i)] for i in ids)

    def encode_words(self, words, *, leading_space=True):
        parts = [self.encode((" " if i or leading_space else "") + word) for i, word in enumerate(words)]
        ends = np.cumsum([len(p) for p in parts])
        return WordTokens(np.array([i for p in parts for i in p]), np.stack([np.r_[0, ends[:-1]], ends], axis=1))

    def settings(self):
        return {"kind": "pieces", "pieces": self.pieces}


PIECES = [" a", " b", " c", " A", "a", "b", "c", "ab", "'", ",", ".", "\n", " "]


def small_pieces():
    return PieceTokenizer(PIECES)
