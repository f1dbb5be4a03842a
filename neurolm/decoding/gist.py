"""Actual and decoded words side by side: exact, gist or error, by a rule that is written down.

exact   the word was heard: paired by a longest common subsequence of the window's words
gist    it is close in meaning to another heard word that is not taken yet: cosine similarity of their
        vectors in context at or above a threshold, both of them content words
error   neither

The threshold is the 95th percentile of each content word's largest such similarity in null decodes, so
that one in twenty words that mean nothing would be called gist. The same word out of order is no
gist: in null decodes it is the rule among function words. (Published tables were marked by hand.)

Null decodes are marked by the same function, each by the threshold of the other null decodes, as the decode is: their
shares of exact and gist words are what chance gives.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.decoding.embedding_recall import Encoder
from neurolm.decoding.lexicon import FUNCTION_WORDS
from neurolm.decoding.text_scores import TextScore, normalised
from neurolm.decoding.window_scores import cut_windows, window_centres
from neurolm.statistics import permutation_p
from neurolm.stimuli.transcript import Transcript

EXACT, GIST, ERROR = "exact", "gist", "error"


@dataclass(frozen=True)
class ComparedWindow:
    """One window of a story: the words heard, the words decoded, and what each decoded word is.

    start_s, end_s : seconds on the story's clock
    heard, decoded : words
    marks : "exact", "gist" or "error" for each decoded word
    scores : name -> score of this window
    """

    start_s: float
    end_s: float
    heard: tuple[str, ...]
    decoded: tuple[str, ...]
    marks: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)

    def to_text(self) -> str:
        """Three lines: the time, what was heard, and what was decoded with *exact* and ~gist~ words."""
        signs = {EXACT: "*{}*", GIST: "~{}~", ERROR: "{}"}
        decoded = " ".join(signs[mark].format(word) for word, mark in zip(self.decoded, self.marks))
        return f"{round(self.start_s, 1):g}-{round(self.end_s, 1):g} s\n  heard    {' '.join(self.heard)}\n  decoded  {decoded}"


@dataclass(frozen=True)
class Comparison:
    """All windows of a story, and the rule that marked them.

    threshold : cosine similarity from which a word is gist; NaN where no encoder was given
    encoder : its name
    n_null_words : words that the threshold was calibrated on
    quantile : of those words' similarities that the threshold is
    null_shares : for "exact" and, with an encoder, "gist": (n_nulls,) the share of each null decode's words
    """

    windows: tuple[ComparedWindow, ...]
    threshold: float
    encoder: str
    n_null_words: int
    quantile: float = 0.95
    null_shares: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)

    def share(self, mark: str) -> float:
        """Share of all decoded words with this mark."""
        return _share([window.marks for window in self.windows], mark)

    def share_p(self, mark: str) -> float:
        """One-sided p of so large a share: (1 + null decodes with as large a one) / (1 + null decodes); NaN without them."""
        if mark not in self.null_shares:
            return float("nan")
        return float(permutation_p(np.array(self.share(mark)), self.null_shares[mark], tolerance=1e-12))

    @property
    def rule(self) -> str:
        """One sentence for the table's caption."""
        if np.isnan(self.threshold):
            why = "null decodes hold no content words to calibrate it on" if self.encoder else "no encoder was given"
            return f"Exact: the same word in a longest common subsequence of the window. No gist: {why}."
        return (
            "Exact: the same word in a longest common subsequence of the window. Gist: a content word whose cosine similarity with "
            f"another heard content word is at least {self.threshold:.3f} ({self.encoder}), which {1 - self.quantile:.0%} of "
            f"{self.n_null_words} content words of null decodes reach."
        )

    def to_text(self) -> str:
        """The whole table for a terminal."""
        return "\n".join([*(window.to_text() for window in self.windows), self.rule])

    def to_records(self) -> list[dict[str, Any]]:
        """One row per window, for CSV or JSON."""
        return [
            {
                "start_s": w.start_s,
                "end_s": w.end_s,
                "heard": " ".join(w.heard),
                "decoded": " ".join(w.decoded),
                "marks": " ".join(w.marks),
                **w.scores,
            }
            for w in self.windows
        ]


def compare_texts(
    decoded: Transcript,
    story: Transcript,
    *,
    encoder: Encoder | None = None,
    null: Sequence[Transcript] = (),
    window_s: float = 20.0,
    segment: tuple[float, float] | None = None,
    scores: Sequence[TextScore] = (),
    quantile: float = 0.95,
    function_words: Collection[str] = FUNCTION_WORDS,
) -> Comparison:
    """Put decoded beside heard words in windows that do not overlap, and mark each decoded word.

    Parameters
    ----------
    encoder : Encoder, optional
        Word vectors for gist; without it words are exact or error.
    null : sequence of Transcript
        Null decodes that calibrate the threshold and say what share of words chance gives; needed with an encoder. If
        they hold function words alone, no word is gist, and the rule says so.
    scores : sequence of TextScore
        Shown with each window.
    function_words : collection of str
        Words that are never gist; the default is English.

    Raises
    ------
    InputError
        If an encoder comes without null decodes.
    """
    centres = window_centres(story, window_s, window_s, segment)
    heard, own = cut_windows(normalised(story), centres, window_s), cut_windows(normalised(decoded), centres, window_s)
    if encoder is not None and not null:
        raise bad("null", "hold null decodes when an encoder is given", "none", "The gist threshold is calibrated on them.")
    texts = [own, *(cut_windows(normalised(text), centres, window_s) for text in null)]
    similar = [_similarities(encoder, heard, text, function_words) for text in texts]
    best = [_best_similarities(heard, *pair) for pair in zip(texts, similar)] if encoder is not None else []
    marks, thresholds = [], []
    for i, (text, similarities) in enumerate(zip(texts, similar)):
        others = np.concatenate([one for j, one in enumerate(best) if j > 0 and (j != i or len(null) == 1)] or [np.empty(0)])
        thresholds.append(float(np.quantile(others, quantile)) if len(others) else float("nan"))
        marks.append([mark_words(a, b, similarity, thresholds[i]) for a, b, similarity in zip(heard, text, similarities)])
    threshold, n_null = thresholds[0], sum(len(one) for one in best[1:])
    told = (EXACT, GIST) if np.isfinite(threshold) else (EXACT,)
    null_shares = {mark: np.array([_share(one, mark) for one in marks[1:]]) for mark in told} if null else {}
    values = {score.name: score(heard, own) for score in scores}
    windows = tuple(
        ComparedWindow(
            float(centre - window_s / 2),
            float(centre + window_s / 2),
            a,
            b,
            marks[0][i],
            {name: float(value[i]) for name, value in values.items()},
        )
        for i, (centre, a, b) in enumerate(zip(centres, heard, own))
    )
    return Comparison(windows, threshold, "" if encoder is None else encoder.name, n_null, quantile, null_shares)


def _share(marks: Sequence[Sequence[str]], mark: str) -> float:
    """Share of all words of all windows with this mark."""
    every = [one for window in marks for one in window]
    return every.count(mark) / len(every) if every else float("nan")


def _similarities(
    encoder: Encoder | None, heard: Sequence[tuple[str, ...]], text: Sequence[tuple[str, ...]], function_words: Collection[str]
) -> list[np.ndarray]:
    if encoder is None:
        return [np.zeros((len(a), len(b))) for a, b in zip(heard, text)]
    return word_similarities(encoder, heard, text, function_words)


def mark_words(heard: Sequence[str], decoded: Sequence[str], similarity: np.ndarray, threshold: float) -> tuple[str, ...]:
    """Mark each decoded word; each heard word is used once, exact ones first, then the most similar pairs.

    `similarity` is (n_heard, n_decoded); a threshold of NaN makes no word gist.
    """
    marks = [ERROR] * len(decoded)
    free = np.ones(len(heard), dtype=bool)
    for i, j in common_subsequence(heard, decoded):
        marks[j], free[i] = EXACT, False
    pairs = np.argwhere(similarity >= threshold) if len(heard) and len(decoded) else np.empty((0, 2), dtype=np.int64)
    for i, j in sorted(pairs.tolist(), key=lambda pair: (-similarity[pair[0], pair[1]], pair)):
        if free[i] and marks[j] == ERROR:
            marks[j], free[i] = GIST, False
    return tuple(marks)


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence, rising in both."""
    length = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int64)
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            length[i, j] = length[i + 1, j + 1] + 1 if a[i] == b[j] else max(length[i + 1, j], length[i, j + 1])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif length[i + 1, j] >= length[i, j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def word_similarities(
    encoder: Encoder,
    heard: Sequence[tuple[str, ...]],
    decoded: Sequence[tuple[str, ...]],
    function_words: Collection[str] = FUNCTION_WORDS,
) -> list[np.ndarray]:
    """(n_heard, n_decoded) cosine similarities of the words of each window, each word seen in its window.

    -inf where either is a function word, or both are the same word.
    """
    vectors = _word_vectors(encoder, [*heard, *decoded])
    out = []
    for a, b in zip(heard, decoded):
        own = vectors[a] @ vectors[b].T if a and b else np.zeros((len(a), len(b)))
        excluded = [[x == y or x in function_words or y in function_words for y in b] for x in a]
        out.append(np.where(np.array(excluded, dtype=bool).reshape(own.shape), -np.inf, own))
    return out


def _best_similarities(
    heard: Sequence[tuple[str, ...]], decoded: Sequence[tuple[str, ...]], similarities: Sequence[np.ndarray]
) -> np.ndarray:
    """For every content word of a text that is not exact: its largest similarity with a heard word that is not taken."""
    best = [np.empty(0)]
    for a, b, similarity in zip(heard, decoded, similarities):
        exact = common_subsequence(a, b)
        rows = np.setdiff1d(np.arange(len(a)), [i for i, _ in exact])
        columns = np.setdiff1d(np.arange(len(b)), [j for _, j in exact])
        if len(rows) and len(columns):
            best.append(similarity[np.ix_(rows, columns)].max(axis=0))
    found = np.concatenate(best)
    return found[np.isfinite(found)]


def _word_vectors(encoder: Encoder, texts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], np.ndarray]:
    distinct = [text for text in dict.fromkeys(texts) if text]
    return {text: embedded.word_vectors(len(text)) for text, embedded in zip(distinct, encoder.embed(distinct))}
