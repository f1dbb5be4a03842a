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

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from neurolm.brain import BoldRun
from neurolm.checks import bad, check_choice
from neurolm.decoding.beam_search import BeamSearch, check_word_times
from neurolm.progress import Progress, silent
from neurolm.statistics import circular_shifts
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash, read_json, write_json

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
    folder: str | Path | None = None,
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
    folder : path, optional
        Where finished texts are kept, so that a call that was killed goes on after the last of them.

    Raises
    ------
    InputError
        If the run is too short for `n` different shifts.
    """
    check_choice("kind", kind, ("circular_shift", "random_likelihood"))
    times, rng = check_word_times(word_times), np.random.default_rng(rng)
    if n == 0:
        return []
    if kind == "circular_shift":
        likelihoods = _shifted(search.likelihood, n, min_shift_s, rng)
        width = beam_width or search.beam_width
    else:
        likelihoods = [RandomLikelihood(search.likelihood, own) for own in rng.spawn(n)]
        width = beam_width or PUBLISHED_NULL_WIDTH
    kept = None if folder is None else _Kept(Path(folder), kind, search, times, width)
    texts: list[Transcript] = []
    for i, likelihood in enumerate(likelihoods):
        words = kept.words(i, likelihood) if kept is not None else None
        if words is None:
            words = search.with_likelihood(likelihood, width).decode(times, progress=_within(progress, i, n)).words
            if kept is not None:
                kept.keep(i, likelihood, words)
        texts.append(Transcript(words, times, times, name=getattr(likelihood.run, "story", "") or "decoded"))
        progress(len(texts), n, "null decodes")
    return texts


def _within(progress: Progress, i: int, n: int) -> Progress:
    """The progress of one decode as a part of all."""

    def report(done: float, total: float, unit: str = "", note: str = "") -> None:
        progress(i + done / total, n, "null decodes")

    return report


class _Kept:
    """Words of finished null decodes, one file each, named by what determines them."""

    def __init__(self, folder: Path, kind: str, search: BeamSearch, times: np.ndarray, width: int) -> None:
        self.folder, self.kind, self.width = folder, kind, width
        self.key = content_hash(kind, search.key(times), width)

    def words(self, i: int, likelihood: Any) -> tuple[str, ...] | None:
        path = self._path(i, likelihood)
        return tuple(read_json(path)) if path.is_file() else None

    def keep(self, i: int, likelihood: Any, words: tuple[str, ...]) -> None:
        write_json(self._path(i, likelihood), list(words))

    def _path(self, i: int, likelihood: Any) -> Path:
        name = content_hash(self.key, i, likelihood.content_hash())
        return self.folder / f"{self.kind}-{i:03d}-{name[:16]}.json"


def check_shifts(run: BoldRun, n: int, min_shift_s: float) -> None:
    """Refuse more circular shifts than a run has: before a long search, not after it."""
    most = max(0, run.n_trs - 2 * _min_shift_trs(run, min_shift_s) + 1)
    if n > most:
        raise bad("n", f"be at most {most}, the circular shifts of this run beyond {min_shift_s:g} s", n, "Shorten min_shift_s.")


def _min_shift_trs(run: BoldRun, min_shift_s: float) -> int:
    return max(1, round(min_shift_s / run.tr))


def _shifted(likelihood: Any, n: int, min_shift_s: float, rng: np.random.Generator) -> list[Any]:
    run = likelihood.run
    check_shifts(run, n, min_shift_s)
    shifts = circular_shifts([run.n_trs], n, _min_shift_trs(run, min_shift_s), rng)[:, 0]
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

    def content_hash(self) -> str:
        """Of the random numbers to come."""
        return content_hash("random likelihood", repr(self.rng.bit_generator.state))

    def start(self, word_times: Any) -> RandomScore:
        return RandomScore(self.rng, len(np.asarray(word_times)))


class RandomScore:
    """Uniform random likelihoods, drawn again for every candidate at every word."""

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
