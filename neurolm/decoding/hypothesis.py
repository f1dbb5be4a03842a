"""What a beam search has so far: hypotheses as back-pointers, never as copied word lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurolm.decoding.lexicon import Lexicon


@dataclass(frozen=True)
class Hypothesis:
    """One decoded text.

    words : tuple of str
    log_likelihood : float
        Of the whole run under these words, up to the noise's own constant.
    log_probability : float
        Of the words under the language model, summed over words.
    parent : int
        Its row in the beam before the last word.
    """

    words: tuple[str, ...]
    log_likelihood: float
    log_probability: float
    parent: int


class Beam:
    """Hypotheses of equal length: for each word, which hypothesis it extended and which word it is.

    Attributes
    ----------
    log_probabilities : (n_hypotheses,)
        Of all words so far, under the language model.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.steps: list[tuple[np.ndarray, np.ndarray]] = []  # (parents, words) of each word
        self.log_probabilities = np.zeros(1)
        self._recent = np.zeros((1, 0), dtype=np.int64)

    @property
    def n_words(self) -> int:
        return len(self.steps)

    @property
    def n_hypotheses(self) -> int:
        return len(self.log_probabilities)

    def extend(self, parents: np.ndarray, words: np.ndarray, log_probabilities: np.ndarray) -> None:
        """Replace the hypotheses by these extensions of them, best first."""
        self.steps.append((parents.astype(np.int32), words.astype(np.int32)))
        self.log_probabilities = np.asarray(log_probabilities, dtype=np.float64)
        self._recent = np.concatenate([self._recent[parents], words[:, None]], axis=1)[:, -256:]

    def last_words(self, n: int) -> np.ndarray:
        """(n_hypotheses, n) word ids, the latest last; fewer columns where the text is shorter."""
        n = min(n, self.n_words)
        if n <= self._recent.shape[1]:
            return self._recent[:, self._recent.shape[1] - n :]
        out = np.empty((self.n_hypotheses, n), dtype=np.int64)
        rows = np.arange(self.n_hypotheses)
        for back in range(1, n + 1):
            parents, words = self.steps[-back]
            out[:, -back] = words[rows]
            rows = parents[rows]
        return out

    def text_of(self, hypothesis: int, n: int | None = None) -> list[str]:
        """The words of one hypothesis, or its last `n`."""
        words: list[str] = []
        row = hypothesis
        for parents, ids in reversed(self.steps if n is None else self.steps[-n:]):
            words.append(self.lexicon.words[int(ids[row])])
            row = int(parents[row])
        return words[::-1]


def extension_counts(log_probabilities: np.ndarray, extensions: int) -> np.ndarray:
    """How many of its candidates each hypothesis may put into the pool, by rank.

    The hypothesis of rank r of n (1 is the least probable under the language model, ties share
    their mean rank) may put ceil(extensions * r / n).
    """
    from scipy.stats import rankdata

    ranks = rankdata(log_probabilities, method="average")
    return np.ceil(extensions * ranks / len(ranks) - 1e-9).astype(np.int64)


def best_extensions(scores: np.ndarray, hypotheses: np.ndarray, counts: np.ndarray, beam_width: int) -> np.ndarray:
    """Indices of the candidates that become the next beam, best first.

    Parameters
    ----------
    scores : (n_candidates,)
    hypotheses : (n_candidates,)
        The hypothesis that each extends; candidates of one hypothesis in the order of the nucleus.
    counts : (n_hypotheses,)
        Each hypothesis's places in the pool, which are taken by its best candidates.
    beam_width : int
        Kept of the pool. Ties go to the earlier hypothesis, then to the likelier word.
    """
    within = np.lexsort((-scores, hypotheses))  # stable: nucleus order breaks ties
    sorted_hypotheses = hypotheses[within]
    begins = np.searchsorted(sorted_hypotheses, sorted_hypotheses)
    pool = np.sort(within[np.arange(len(within)) - begins < counts[sorted_hypotheses]])
    order = np.lexsort((hypotheses[pool], -scores[pool]))
    return pool[order[:beam_width]]
