"""Interpolated modified Kneser-Ney: the n-gram model that any neural one should be compared with.

Chen & Goodman (1998), "An empirical study of smoothing techniques for language modeling", TR-10-98,
section 3. All counts are in sorted arrays, so that millions of tokens take seconds.

An n-gram's row in its table is its name: `context * V + word`, where `context` is the row of its
first n - 1 tokens in the table of order n - 1. For order 1 the row is the token itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurolm.checks import bad
from neurolm.training.evaluate import Perplexity


@dataclass(frozen=True)
class _Table:
    """All n-grams of one order.

    keys : (n,) int64, sorted
    counts : (n,) raw counts at the highest order, else how many different tokens come before
    totals : (n_contexts,) sum of counts after each context
    reserved : (n_contexts,) probability that each context gives to the order below
    discounts : (4,) what is taken off a count of 0, 1, 2, 3 or more
    """

    keys: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    reserved: np.ndarray
    discounts: np.ndarray

    def find(self, contexts: np.ndarray, words: np.ndarray, n_vocabulary: int) -> np.ndarray:
        """Rows of n-grams, -1 where they (or their context) were never seen."""
        if not len(self.keys):
            return np.full(len(words), -1)
        wanted = contexts * n_vocabulary + words
        rows = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((contexts >= 0) & (self.keys[rows] == wanted), rows, -1)


class KneserNey:
    """p(token | the n - 1 tokens before it), never reaching across the start of a document.

    Parameters
    ----------
    order : int
        Longest n-gram.
    vocab_size : int
    bos_id : int
        Stands before every document and is never predicted.
    """

    def __init__(self, order: int, vocab_size: int, bos_id: int) -> None:
        if order < 1:
            raise bad("order", "be at least 1", order)
        self.order, self.vocab_size, self.bos_id = order, vocab_size, bos_id

    def fit(self, documents: Sequence[np.ndarray]) -> KneserNey:
        """Count the n-grams of token sequences, each (n_tokens,) int64 without the start token."""
        if not sum(len(document) for document in documents):
            raise bad("documents", "hold some tokens", "none", "An empty corpus trains nothing.")
        tokens, depth = self._lay_out(documents)
        rows = [np.where(depth >= 0, tokens, -1)]  # rows[n - 1][t]: the n-gram that ends at t, -1 where it would not fit
        keys = [np.arange(self.vocab_size)]
        for n in range(2, self.order + 1):
            context = np.where(depth >= n - 1, np.roll(rows[-1], 1), -1)
            fits = context >= 0
            unique, inverse = np.unique(context[fits] * self.vocab_size + tokens[fits], return_inverse=True)
            row = np.full(len(tokens), -1)
            row[fits] = inverse
            rows.append(row)
            keys.append(unique)
        self._tables = [self._table(n, keys, rows, tokens, depth) for n in range(1, self.order + 1)]
        return self

    def token_nats(self, documents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-ln p of every token of every document: (n_tokens,) float64 each."""
        tokens, depth = self._lay_out(documents)
        if len(tokens) and (tokens.min() < 0 or tokens.max() >= self.vocab_size):
            raise bad("documents", f"hold token ids in 0..{self.vocab_size - 1}", (int(tokens.min()), int(tokens.max())))
        first = self._tables[0]
        n_events = self.vocab_size - 1  # the start token is never predicted
        p = _discounted(first, tokens) / first.totals[0] + first.reserved[0] / n_events
        seen = tokens  # row of the (n - 1)-gram that ends at t
        for n, table in enumerate(self._tables[1:], start=2):
            if not len(table.keys):  # no document is that long: the lower orders stand
                break
            context = np.where(depth >= n - 1, np.roll(seen, 1), -1)
            seen = table.find(context, tokens, self.vocab_size)
            known = (context >= 0) & (table.totals[context] > 0)
            higher = np.where(seen >= 0, _discounted(table, seen), 0) / np.maximum(table.totals[context], 1)
            p = np.where(known, higher + table.reserved[context] * p, p)
        with np.errstate(divide="ignore"):
            nats = -np.log(p)
        ends = np.cumsum([len(document) + 1 for document in documents])
        return [nats[end - len(document) : end] for document, end in zip(documents, ends)]

    def perplexity(self, documents: Sequence[np.ndarray], n_words: int, n_bytes: int) -> Perplexity:
        """The same measures as for a neural model with the same tokens."""
        nats = self.token_nats(documents)
        return Perplexity(float(sum(part.sum() for part in nats)), sum(map(len, nats)), n_words, n_bytes)

    def _lay_out(self, documents: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """All documents, each after a start token, and every token's distance from it."""
        tokens = np.concatenate([np.r_[self.bos_id, document].astype(np.int64) for document in documents])
        depth = np.concatenate([np.arange(len(document) + 1) for document in documents])
        return tokens, depth

    def _table(self, n: int, keys: list[np.ndarray], rows: list[np.ndarray], tokens: np.ndarray, depth: np.ndarray) -> _Table:
        counts = self._count(n, keys, rows, depth)
        n_contexts = 1 if n == 1 else len(keys[n - 2])
        context = np.zeros(len(counts), np.int64) if n == 1 else keys[n - 1] // self.vocab_size
        discounts = _discounts(counts)
        totals = np.bincount(context, counts, n_contexts)
        taken = np.bincount(context, discounts[np.minimum(counts, 3)], n_contexts)
        return _Table(keys[n - 1], counts, totals, taken / np.maximum(totals, 1), discounts)

    def _count(self, n: int, keys: list[np.ndarray], rows: list[np.ndarray], depth: np.ndarray) -> np.ndarray:
        """Raw counts at the highest order; below it the number of different tokens before each
        n-gram, but raw counts for n-grams at a document's start, which nothing comes before."""
        predicted = rows[n - 1] >= 0 if n > 1 else depth > 0
        here = rows[n - 1]
        if n == self.order:
            return np.bincount(here[predicted], minlength=len(keys[n - 1]))
        longer = rows[n]
        _, example = np.unique(longer[longer >= 0], return_index=True)
        counts = np.bincount(here[longer >= 0][example], minlength=len(keys[n - 1]))
        at_start = predicted & (depth == n - 1)
        return counts + np.bincount(here[at_start], minlength=len(keys[n - 1]))


def _discounted(table: _Table, rows: np.ndarray) -> np.ndarray:
    counts = table.counts[rows]
    return np.maximum(counts - table.discounts[np.minimum(counts, 3)], 0)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """(0, D1, D2, D3+) from how many n-grams were seen once, twice, ... (Chen & Goodman, eq. 26).

    Text too small for that gets 0.5, 1, 1.5, as in KenLM.
    """
    n = [int((counts == k).sum()) for k in range(5)]
    if min(n[1:]) == 0:
        return np.array([0, 0.5, 1.0, 1.5])
    y = n[1] / (n[1] + 2 * n[2])
    discounts = [0.0] + [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
    if any(not 0 <= d <= k for k, d in enumerate(discounts)) or math.isnan(y):
        return np.array([0, 0.5, 1.0, 1.5])
    return np.array(discounts)
