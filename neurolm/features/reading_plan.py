"""Which stretches of tokens a model must read so that every word is seen with its own context.

A *pass* is one stretch of tokens, read from the model's blank state; a *read* is where in a pass
one word is looked at. Models are causal, so one pass serves every word whose window begins at
the same token: whatever comes later in the pass cannot reach it. That is left-edge sharing: a pass
of C words holds the states of C words with contexts of 1 to C words. Passes of the same tokens are
made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from neurolm.checks import bad
from neurolm.lm.tokenizer import WordTokens
from neurolm.stimuli.context_window import ContextWindow
from neurolm.storage import content_hash


@dataclass(frozen=True)
class ReadingPlan:
    """Passes, and the reads in them, sorted by pass.

    starts, stops : (n_passes,) tokens that a pass reads, after the beginning-of-text token if `bos`
    bos : whether every pass begins with the beginning-of-text token
    passes, contexts, words : (n_reads,) the pass, the index of the context and the word of each read
    firsts, lasts : (n_reads,) positions in the pass (the beginning-of-text token counts) that
        belong to the word, `lasts` exclusive
    seen : (n_contexts, n_words) how much each word really sees, in the context's own unit
    shortened : (n_contexts, n_words) True where that is less than asked
    """

    starts: np.ndarray
    stops: np.ndarray
    bos: bool
    passes: np.ndarray
    contexts: np.ndarray
    words: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    seen: np.ndarray
    shortened: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """(n_passes,) positions in each pass."""
        return self.stops - self.starts + int(self.bos)

    def content_hash(self) -> str:
        """SHA-256 of the passes and of where each word is read in them."""
        return content_hash(self.starts, self.stops, self.bos, self.passes, self.contexts, self.words, self.firsts, self.lasts)

    def input_ids(self, ids: np.ndarray, which: int, bos_id: int | None) -> np.ndarray:
        """The token ids of one pass."""
        tokens = ids[self.starts[which] : self.stops[which]]
        return np.concatenate([[bos_id], tokens]) if self.bos else tokens


def plan_reading(
    tokens: WordTokens, contexts: Sequence[ContextWindow], *, bos: bool, before: bool = False, max_length: int | None = None
) -> ReadingPlan:
    """Plan the passes for one or many contexts.

    Parameters
    ----------
    tokens : WordTokens
        The whole story, tokenised once.
    contexts : sequence of ContextWindow
    bos : bool
        Begin every pass with the beginning-of-text token.
    before : bool
        False: look at a word's own tokens, and its context counts the word. True: look at the
        tokens before each of the word's tokens, which is where it is predicted; its context then
        counts what comes before it. Needs `bos`.
    max_length : int or None
        Positions that the model has.

    Raises
    ------
    InputError
        If a pass is longer than the model can hold, or a word longer than a sliding chunk.
    """
    spans = tokens.spans
    windows = [_window_starts(context, spans, before) for context in contexts]
    starts = np.stack([window[0] for window in windows])  # (n_contexts, n_words), first token seen
    ends = np.broadcast_to(spans[:, 1] - int(before), starts.shape)  # one after the last token seen
    pass_starts, passes = np.unique(starts, return_inverse=True)
    passes = passes.reshape(starts.shape)
    pass_stops = pass_starts.copy()
    np.maximum.at(pass_stops, passes, ends)
    _check_length(contexts, ends - starts + int(bos), max_length, spans, before)

    shift = int(bos) - int(before)
    firsts = np.maximum(spans[:, 0] - starts, 0) + shift
    lasts = spans[:, 1] - starts + shift
    kept, same = _drop_duplicates(tokens.ids, pass_starts, pass_stops)
    passes = same[passes]
    context_index, word_index = np.indices(starts.shape)
    order = np.lexsort((word_index.ravel(), context_index.ravel(), passes.ravel()))
    return ReadingPlan(
        pass_starts[kept],
        pass_stops[kept],
        bos,
        passes.ravel()[order],
        context_index.ravel()[order],
        word_index.ravel()[order],
        firsts.ravel()[order],
        lasts.ravel()[order],
        seen=np.stack([window[1] for window in windows]),
        shortened=np.stack([window[2] for window in windows]),
    )


def check_context(context: ContextWindow) -> ContextWindow:
    """`context`, if it is one."""
    if not isinstance(context, ContextWindow):
        raise bad("context", "be a ContextWindow", context, 'For example ContextWindow(64, "words").')
    return context


def check_contexts(contexts: Iterable[int]) -> list[int]:
    """Numbers of words for a sweep: sorted, each once."""
    words = sorted({int(n) if isinstance(n, np.integer) else n for n in contexts})
    if not words:
        raise bad("contexts", "hold at least one number of words", words)
    for n in words:
        ContextWindow(n)
    return words


def _window_starts(context: ContextWindow, spans: np.ndarray, before: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first token seen, how much is seen, less than asked) of every word."""
    words = np.arange(len(spans))
    if context.unit == "story":
        return np.zeros_like(words), words + (not before), np.zeros(len(words), dtype=bool)
    n = int(context.n or 0)
    if context.unit == "words":
        first = np.maximum(words - n + (not before), 0)
        seen = words - first + (not before)
        return spans[first, 0], seen, seen < n
    if context.unit == "tokens":
        anchor = spans[:, 0 if before else 1]
        starts = np.maximum(anchor - n, 0)
        return starts, anchor - starts, anchor - starts < n
    starts = _chunk_starts(n, spans)
    return starts, spans[:, 0 if before else 1] - starts, spans[:, 1] - starts <= n - n // 2


def _chunk_starts(n: int, spans: np.ndarray) -> np.ndarray:
    """Start of the first chunk that holds each word whole; chunks of n tokens begin every n // 2."""
    step = n // 2
    starts = np.maximum(-(-(spans[:, 1] - n) // step), 0) * step
    cut = np.flatnonzero(starts > spans[:, 0])
    if len(cut):
        word = int(cut[0])
        raise bad(
            "n of a sliding context",
            "be long enough that some chunk holds every word whole",
            f"{n} tokens, and word {word} has {spans[word, 1] - spans[word, 0]}",
            "Ask for longer chunks.",
        )
    return starts


def _check_length(
    contexts: Sequence[ContextWindow], lengths: np.ndarray, max_length: int | None, spans: np.ndarray, before: bool
) -> None:
    """lengths : (n_contexts, n_words) positions from the window's start to the word's end."""
    if max_length is None or lengths.size == 0 or lengths.max() <= max_length:
        return
    row, word = divmod(int(lengths.argmax()), lengths.shape[1])
    context = contexts[row]
    hint = f"Ask for at most {max_length - 1} tokens."
    if context.unit == "story":
        hint = (
            f'This model cannot hold the whole story: use ContextWindow({max_length // 2}, "sliding") '
            f"or a window of words or tokens; only recurrent models stream a story of any length."
        )
    elif context.unit == "words":
        hint = f"Ask for at most {_longest_words(spans, max_length - 1) - before} words of this story, or for tokens instead of words."
    raise bad(
        "context", f"fit in the {max_length} positions of the model", f"{context}, {lengths[row, word]} at word {word}", hint
    )


def _longest_words(spans: np.ndarray, n_tokens: int) -> int:
    """The largest n such that every n neighbouring words have at most `n_tokens` tokens."""
    first = np.searchsorted(spans[:, 0], spans[:, 1] - n_tokens)  # earliest word that still fits
    reached = (np.arange(len(spans)) - first + 1)[first > 0]
    return max(int(reached.min()), 0) if len(reached) else len(spans)


def _drop_duplicates(ids: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(passes to make, which of those each pass equals)."""
    kept: list[int] = []
    known: dict[bytes, int] = {}
    same = np.empty(len(starts), dtype=np.int64)
    for i, (start, stop) in enumerate(zip(starts, stops)):
        content = blake2b(np.ascontiguousarray(ids[start:stop]).tobytes(), digest_size=16).digest()
        if content not in known:
            known[content] = len(kept)
            kept.append(i)
        same[i] = known[content]
    return np.array(kept, dtype=np.int64), same
