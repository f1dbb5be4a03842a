"""What a decoder says when the BOLD has nothing to do with the story: the chance level of every score.

Two nulls, both with the word times and the language model of the real decode:

circular_shift     decodes the same BOLD, rolled in time by a random lag, at the same beam width.
                   The primary null: the likelihood keeps its preferences (it favours words whose
                   features are small), and only what was heard is destroyed.
random_likelihood  draws every likelihood at random, as published. Its texts come from the language
                   model alone, so a decoder that prefers some words over others can differ from
                   it without having read anything in the brain.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from neurolm.brain.surrogates import circular_shifts
from neurolm.checks import bad, check_choice
from neurolm.decoding.beam_search import BeamSearch, check_word_times
from neurolm.progress import Progress, silent
from neurolm.stimuli.transcript import Transcript

PUBLISHED_NULL_WIDTH = 10


def null_decodes(
    search: BeamSearch,
    word_times: Any,
    n: int = 20,
    *,
    kind: str = "circular_shift",
    min_shift_s: float = 30.0,
    beam_width: int | None = None,
    rng: np.random.Generator | int = 0,
    progress: Progress = silent,
) -> list[Transcript]:
    """Decode `n` times where nothing can be decoded.

    Parameters
    ----------
    search : BeamSearch
        The real one.
    word_times : array of shape (n_words,)
        Those of the real decode.
    n : int
        A p value is never below 1 / (n + 1): 19 can reach .05, 200 were published.
    kind : {"circular_shift", "random_likelihood"}
    min_shift_s : float
        Least lag of a circular shift, either way, in seconds.
    beam_width : int, optional
        Default: that of the search for shifts, 10 for random likelihoods (as published).

    Raises
    ------
    InputError
        If the run is too short for `n` different shifts.
    """
    check_choice("kind", kind, ("circular_shift", "random_likelihood"))
    times, rng = check_word_times(word_times), np.random.default_rng(rng)
    if kind == "circular_shift":
        likelihoods = _shifted(search.likelihood, n, min_shift_s, rng)
        width = beam_width or search.beam_width
    else:
        likelihoods = [RandomLikelihood(search.likelihood, own) for own in rng.spawn(n)]
        width = beam_width or PUBLISHED_NULL_WIDTH
    texts = []
    for likelihood in likelihoods:
        texts.append(search.with_likelihood(likelihood, width).decode(times))
        progress(len(texts), n, "null decodes")
    return texts


def _shifted(likelihood: Any, n: int, min_shift_s: float, rng: np.random.Generator) -> list[Any]:
    run = likelihood.run
    shifts = circular_shifts([run.n_trs], n, max(1, round(min_shift_s / run.tr)), rng)[:, 0]
    if len(shifts) < n:
        raise bad(
            "n", f"be at most {len(shifts)}, the circular shifts of this run beyond {min_shift_s:g} s", n, "Shorten min_shift_s."
        )
    return [likelihood.shifted(int(shift)) for shift in shifts]


class RandomLikelihood:
    """Stands in for a `ResponseLikelihood` and gives every candidate a random score.

    Parameters
    ----------
    likelihood : ResponseLikelihood
        For its feature space and run; its BOLD is not used.
    rng : numpy Generator
    """

    def __init__(self, likelihood: Any, rng: np.random.Generator | int = 0) -> None:
        self.feature_space = _NoFeatures()
        self.run = likelihood.run
        self.rng = np.random.default_rng(rng)

    def start(self, word_times: Any) -> RandomScore:
        return RandomScore(self.rng, len(np.asarray(word_times)))


class RandomScore:
    """Uniform random likelihoods, drawn anew for every candidate at every word."""

    base = 0.0

    def __init__(self, rng: np.random.Generator, n_words: int) -> None:
        self.rng, self.n_words = rng, n_words
        self.scores = torch.zeros(1, dtype=torch.float64)

    def score(self, vectors: Any, which: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.rng.uniform(size=len(which)))

    def commit(self, scores: torch.Tensor, vectors: Any, which: torch.Tensor, parents: torch.Tensor) -> None:
        self.scores = scores.clone()


class _NoFeatures:
    """A feature space of nothing: random scores need no features."""

    words_before = 0

    def extract(self, transcript: Transcript) -> Any:
        return SimpleNamespace(values=np.zeros((len(transcript), 1)))

    def settings(self) -> dict[str, Any]:
        return {"kind": "none"}
