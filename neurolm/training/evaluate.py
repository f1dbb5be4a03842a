"""How well a model predicts a text: nats per token, perplexity per word, bits per byte.

A sum of nats over all tokens divided by what the text was made of, words or bytes, so that
models with different vocabularies can be compared (per token they cannot).

Letters: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from neurolm.checks import bad
from neurolm.lm.language_model import LanguageModel, State, reorder_state
from neurolm.lm.tokenizer import Tokenizer, join_words
from neurolm.progress import Progress, silent
from neurolm.stimuli.transcript import Transcript
from neurolm.training.corpus import Document, encode_document

Text = str | Document | Transcript


@dataclass(frozen=True)
class Perplexity:
    """What a text cost, and what it was made of.

    nats : float
        Sum of -ln p over the tokens that were predicted.
    n_tokens, n_words, n_bytes : int
        Tokens predicted; original words and UTF-8 bytes of the text they stand for.
    n_unknown : int
        Tokens outside a closed vocabulary. Their words were not predicted, only that they are
        unknown, so such a number compares with others of the same vocabulary alone.
    """

    nats: float
    n_tokens: int
    n_words: int
    n_bytes: int
    n_unknown: int = 0

    @property
    def per_token(self) -> float:
        """exp(nats per token): comparable between models with the same tokenizer only."""
        return _exp(self.nats / self.n_tokens)

    @property
    def per_word(self) -> float:
        """exp(nats per original word), whatever the words were cut into."""
        return _exp(self.nats / self.n_words)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the text; NaN where unknown words make the code incomplete."""
        return math.nan if self.n_unknown else self.nats / math.log(2) / self.n_bytes

    def __str__(self) -> str:
        return (
            f"{self.per_word:.1f} per word, {self.per_token:.1f} per token, {self.bits_per_byte:.3f} bits/byte "
            f"({self.n_words:,} words, {self.n_tokens:,} tokens)"
        )


def perplexity(
    lm: LanguageModel,
    text: Text | Sequence[Text],
    *,
    context: int | None = None,
    stride: int | None = None,
    tokens_per_batch: int = 2048,
    progress: Progress = silent,
) -> Perplexity:
    """Next-word cross-entropy of a model on a text, a transcript or several.

    Every document begins again, from the model's start-of-text token. A model without one cannot
    predict a document's first token: that token is context only, and the word that it begins is
    not counted.

    Parameters
    ----------
    lm : LanguageModel
    text : str, Document, Transcript, or a sequence of them
        A transcript is read word by word, as features are; its bytes are those of its running
        text, with spaces where its language has them.
    context : int, optional
        Most tokens that a prediction may rest on; at most what the model holds. Left out, a
        recurrent model streams every document from its beginning.
    stride : int, optional
        With a limited context: how far each window moves on. Every token rests on between
        `context - stride` and `context` tokens (fewer at a document's start). Default context / 2;
        1 gives every token the whole context and costs the most.
    tokens_per_batch : int
        Tokens in one forward pass.

    Raises
    ------
    InputError
        If there is nothing to predict, or `context` is longer than the model's.
    """
    texts: list[Text] = [text] if isinstance(text, (str, Document, Transcript)) else list(text)
    pieces = [read_text(lm.tokenizer, piece) for piece in texts]
    nats = token_nats(
        lm,
        [ids for ids, _, _ in pieces],
        context=context,
        stride=stride,
        tokens_per_batch=tokens_per_batch,
        progress=progress,
    )
    unknown = getattr(lm.tokenizer, "unknown_id", None)
    return Perplexity(
        nats=float(sum(part.sum() for part in nats)),
        n_tokens=sum(len(part) for part in nats),
        n_words=sum(n_words for _, n_words, _ in pieces),
        n_bytes=sum(n_bytes for _, _, n_bytes in pieces),
        n_unknown=sum(int((ids[1:] == unknown).sum()) for ids, _, _ in pieces) if unknown is not None else 0,
    )


def token_nats(
    lm: LanguageModel,
    documents: Sequence[np.ndarray],
    *,
    context: int | None = None,
    stride: int | None = None,
    tokens_per_batch: int = 2048,
    progress: Progress = silent,
) -> list[np.ndarray]:
    """-ln p of every token but the first of each document: (n_tokens - 1,) float64 each.

    Put the start-of-text token in front to have the first word predicted too.
    """
    limit = lm.max_context if context is None else context
    if context is not None and lm.max_context is not None and context > lm.max_context:
        raise bad("context", f"be at most {lm.max_context}, what {lm.name} holds", context)
    with torch.no_grad():
        if limit is None:
            return _stream(lm, documents, tokens_per_batch, progress)
        return _windows(lm, documents, limit, stride or max(1, limit // 2), tokens_per_batch, progress)


def read_text(tokenizer: Tokenizer, text: Text) -> tuple[np.ndarray, int, int]:
    """Token ids with what they start from, and the words and bytes that they predict.

    Raises
    ------
    InputError
        If the tokenizer lacks a character of the text, or no word is left to predict; of a document by name.
    """
    name = f"document {text.name}" if isinstance(text, Document) else "text"
    if isinstance(text, Transcript):
        words, ids = join_words(text.words, leading_space=False), tokenizer.encode_words(text.words, leading_space=False).ids
    elif isinstance(text, Document):
        words, ids = text.text, encode_document(text, tokenizer)
    else:
        words, ids = text, np.asarray(tokenizer.encode(text), dtype=np.int64)
    n_words = len((text.text if isinstance(text, Transcript) else words).split())
    n_bytes = len(words.encode())
    bos = tokenizer.bos_id
    if bos is not None:
        ids = np.concatenate([[bos], ids])
    else:
        n_words, n_bytes = n_words - 1, n_bytes - len(tokenizer.decode(ids[:1].tolist()).encode())
    if len(ids) < 2 or n_words < 1:
        hint = "Without a start-of-text token the first word is context only." if bos is None else "Leave it out."
        raise bad(name, "hold a word to predict", words, hint)
    return ids, n_words, n_bytes


def _stream(lm: LanguageModel, documents: Sequence[np.ndarray], budget: int, progress: Progress) -> list[np.ndarray]:
    """Carry the state through each document; up to 16 documents side by side, longest first."""
    nats: list[list[np.ndarray]] = [[] for _ in documents]
    order = sorted(range(len(documents)), key=lambda i: -len(documents[i]))
    total, done = sum(len(document) - 1 for document in documents), 0
    for first in range(0, len(order), 16):
        rows = order[first : first + 16]
        length, start, state = max(1, budget // len(rows)), 0, None
        while rows:
            n_left = [len(documents[i]) - 1 - start for i in rows]
            part, state = _read_rows(lm, [documents[i][start : start + length + 1] for i in rows], state)
            for i, values in zip(rows, part):
                nats[i].append(values)
                done += len(values)
            start += length
            n_active = sum(left > length for left in n_left)  # rows are sorted: the first ones go on
            rows, state = rows[:n_active], reorder_state(state, torch.arange(n_active))
            progress(done, total, "tokens")
    return [np.concatenate(parts) if parts else np.empty(0) for parts in nats]


def _windows(
    lm: LanguageModel, documents: Sequence[np.ndarray], length: int, stride: int, budget: int, progress: Progress
) -> list[np.ndarray]:
    """Overlapping windows of `length` inputs; each token is predicted in the first that holds it."""
    if not 1 <= stride <= length:
        raise bad("stride", f"lie in 1..{length}, the context", stride)
    nats = [np.full(max(0, len(document) - 1), np.nan) for document in documents]
    windows = [
        (i, start)
        for i, document in enumerate(documents)
        for start in range(0, max(1, len(document) - 1 - length + stride), stride)
        if len(document) > 1
    ]
    per_batch = max(1, budget // length)
    for first in range(0, len(windows), per_batch):
        chosen = windows[first : first + per_batch]
        part, _ = _read_rows(lm, [documents[i][start : start + length + 1] for i, start in chosen], None)
        for (i, start), values in zip(chosen, part):
            new = 0 if start == 0 else length - stride
            nats[i][start + new : start + len(values)] = values[new:]
        progress(first + len(chosen), len(windows), "windows")
    return nats


def _read_rows(lm: LanguageModel, rows: Sequence[np.ndarray], state: State) -> tuple[list[np.ndarray], State]:
    """-ln p of all but the first token of each row; right padding is never looked back at."""
    lengths = [len(row) - 1 for row in rows]
    ids = torch.zeros(len(rows), max(lengths) + 1, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row)
    ids = ids.to(lm.device)
    output = lm.step(ids[:, :-1], state, [])
    logits: Any = output.logits
    nats = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(rows), -1)
    return [nats[i, :n].double().cpu().numpy() for i, n in enumerate(lengths)], output.state


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf
