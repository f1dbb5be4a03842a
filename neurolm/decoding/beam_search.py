"""From a BOLD run and word times to words: the beam search of continuous language.

    search = BeamSearch(lm, likelihood, beam_width=200)
    decoded = search.decode(word_rate.predict_times(run))            # a Transcript

Each step puts all hypotheses and all their candidate words into one batch: proposals by the language
model, features of the distinct (context, word) pairs, one likelihood product, one sort. The method
is that of Tang et al. (2023), Nature Neuroscience 26:858-866, written from its equations. A patent
application (WO2023/163991) claims the loop of hypotheses, continuations and scoring by an encoding
model: check what that means for your use.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurolm.checks import bad, bad_file, check_finite, check_same_length
from neurolm.decoding.candidate_features import CandidateFeatures
from neurolm.decoding.hypothesis import Beam, Hypothesis, best_extensions, extension_counts
from neurolm.decoding.journal import Journal
from neurolm.decoding.likelihood import ResponseLikelihood, RunningScore
from neurolm.decoding.proposals import WordProposals
from neurolm.decoding.word_search import NextWords
from neurolm.letters import lower_case
from neurolm.lm.language_model import LanguageModel
from neurolm.progress import Progress, silent
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    hypotheses : tuple of Hypothesis
        The last beam, best first.
    word_times : (n_words,) seconds
    story : str
    n_candidates : (n_words,) candidates scored at each word
    relaxed : dict of int to str
        Words at which no hypothesis had a candidate, and the rule that was left out there.
    seconds : float
        Time taken by this process.
    """

    hypotheses: tuple[Hypothesis, ...]
    word_times: np.ndarray
    story: str
    n_candidates: np.ndarray
    relaxed: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def transcript(self) -> Transcript:
        """The best hypothesis. Words have an instant, not a duration: onset and offset are equal."""
        return self.transcript_of(0)

    def transcript_of(self, rank: int) -> Transcript:
        return Transcript(self.hypotheses[rank].words, self.word_times, self.word_times, name=self.story or "decoded")


class BeamSearch:
    """Search for the words that make the BOLD likely.

    Parameters
    ----------
    proposals : LanguageModel or WordProposals
        A language model proposes with the published settings and any word; `WordProposals` has
        the settings, among them the vocabulary.
    likelihood : ResponseLikelihood
        Or anything with its `start`, `feature_space`, `run` (see `null.RandomLikelihood`).
    beam_width : int
        Hypotheses kept (published: 200).
    extensions : int
        Candidates that the hypothesis most probable under the language model may bring into the
        pool (published: 5); the others fewer, by rank.
    lm_weight : float
        0, as published, lets the likelihood alone decide what is kept. Else this times the
        log-probability of the words is added.
    rows_at_once, call_cost
        Of the feature model's calls; only time and memory depend on them.
    """

    def __init__(
        self,
        proposals: LanguageModel | WordProposals,
        likelihood: ResponseLikelihood | Any,
        beam_width: int = 200,
        *,
        extensions: int = 5,
        lm_weight: float = 0.0,
        rows_at_once: int = 256,
        call_cost: int = 16,
    ) -> None:
        if beam_width < 1 or extensions < 1:
            raise bad("beam_width and extensions", "be at least 1", (beam_width, extensions))
        self.proposals = proposals if isinstance(proposals, WordProposals) else WordProposals(proposals)
        self.likelihood = likelihood
        self.beam_width, self.extensions, self.lm_weight = beam_width, extensions, lm_weight
        self.rows_at_once, self.call_cost = rows_at_once, call_cost
        self.candidate_features = CandidateFeatures(
            likelihood.feature_space, self.proposals.lexicon, rows_at_once=rows_at_once, call_cost=call_cost
        )

    def with_likelihood(self, likelihood: Any, beam_width: int | None = None) -> BeamSearch:
        """The same search in other BOLD: another run's likelihood, or a null's."""
        return BeamSearch(
            self.proposals,
            likelihood,
            beam_width or self.beam_width,
            extensions=self.extensions,
            lm_weight=self.lm_weight,
            rows_at_once=self.rows_at_once,
            call_cost=self.call_cost,
        )

    def decode(self, word_times: Any, **settings: Any) -> Transcript:
        """The most likely words at these times; settings as for `search`."""
        return self.search(word_times, **settings).transcript

    def search(
        self,
        word_times: Any,
        *,
        extra_words: Sequence[Collection[str]] | None = None,
        journal: str | Path | None = None,
        progress: Progress = silent,
    ) -> SearchResult:
        """Search, and give the whole last beam.

        Parameters
        ----------
        word_times : array of shape (n_words,)
            Middles of the words in seconds, rising: from a `WordRateModel`, or true ones.
        extra_words : sequence of collections of str, optional
            Words that every hypothesis may take at each word beside its proposals: with the true
            words here, what is left is the error of the search and of the encoding model.
        journal : path, optional
            Folder that is written after every word. A search that was killed, started again with
            the same folder, goes on after its last word and finds the same words.
        progress : Progress
            Told words done, words a second and the end of the best text.
        """
        times = check_word_times(word_times)
        if extra_words is not None:
            check_same_length("extra_words", len(extra_words), "word_times", len(times))
        begun = time.monotonic()
        search = _Search(self, times, extra_words)
        with contextlib.ExitStack() as stack:
            if journal is not None:
                search.open(Journal(journal, self.key(times, extra_words)), stack)
            first = search.beam.n_words
            for word in range(first, len(times)):
                search.step()
                search.report(progress, word + 1, (word + 1 - first) / max(time.monotonic() - begun, 1e-9))
        return search.result(time.monotonic() - begun)

    def key(self, times: np.ndarray, extra_words: Any = None) -> dict[str, Any]:
        """What determines a search, as JSON-able values."""
        return {
            "proposals": self.proposals.settings(),
            "features": self.likelihood.feature_space.settings(),
            "likelihood": self.likelihood.content_hash(),
            "word_times": content_hash(times),
            "extra_words": None if extra_words is None else [sorted(words) for words in extra_words],
            "beam": [self.beam_width, self.extensions, self.lm_weight],
        }


class _Search:
    """The state of one search."""

    def __init__(self, settings: BeamSearch, times: np.ndarray, extra_words: Sequence[Collection[str]] | None) -> None:
        self.settings, self.times, self.extra_words = settings, times, extra_words
        self.running: RunningScore = settings.likelihood.start(times)
        self.beam = Beam(settings.proposals.lexicon)
        self.journal: Journal | None = None
        self.n_candidates: list[int] = []
        self.relaxed: dict[int, str] = {}

    def step(self) -> None:
        """Decode one word."""
        beam, settings = self.beam, self.settings
        options, relaxed = settings.proposals.propose(beam, self.times)
        options = self._with_extra(options)
        log_p = beam.log_probabilities[options.contexts] + options.log_probabilities
        vectors, which = settings.candidate_features.vectors(beam, options.contexts, options.words)
        scores = self.running.score(vectors, *self._tensors(which, options.contexts))
        ranked = scores.cpu().numpy() + settings.lm_weight * log_p
        counts = extension_counts(beam.log_probabilities, settings.extensions)
        kept = best_extensions(ranked, options.contexts, counts, settings.beam_width)
        parents = options.contexts[kept]
        self.running.commit(scores[torch.as_tensor(kept, device=scores.device)], vectors, *self._tensors(which[kept], parents))
        beam.extend(parents, options.words[kept], log_p[kept])
        self._note(len(options), relaxed)
        if self.journal is not None:
            self._write(vectors[torch.as_tensor(which[kept], device=vectors.device)])

    def open(self, journal: Journal, stack: contextlib.ExitStack) -> None:
        """Take up what the journal holds."""
        if not stack.enter_context(journal.lock()):
            raise bad_file(journal.folder, "is in use by another process", "Wait for it, or stop it.")
        self.journal = journal
        lexicon = self.beam.lexicon
        steps = journal.steps()
        for step in steps:
            self.beam.extend(np.array(step["parents"]), lexicon.ids_of(step["words"]), np.array(step["log_probabilities"]))
            self._note(step["n_candidates"], step["relaxed"])
        if steps:
            needed = range(self.running.oldest_needed(len(steps)), len(steps))
            vectors = {word: torch.as_tensor(journal.vectors(word)) for word in needed}
            lineage = _ancestors(self.beam, needed)
            scores = torch.tensor(steps[-1]["scores"], dtype=torch.float64)
            self.running.resume(len(steps), scores, {word: vectors[word][lineage[word]] for word in needed})

    def report(self, progress: Progress, done: int, rate: float) -> None:
        text = " ".join(self.beam.text_of(0, 12))[-60:]
        progress(done, len(self.times), "words", f"{rate:.1f} words/s, {text}")

    def result(self, seconds: float) -> SearchResult:
        beam = self.beam
        scores = self.running.scores.cpu().numpy() + self.running.base
        hypotheses = tuple(
            Hypothesis(tuple(beam.text_of(i)), float(scores[i]), float(beam.log_probabilities[i]), int(beam.steps[-1][0][i]))
            for i in range(beam.n_hypotheses)
        )
        story = getattr(self.settings.likelihood.run, "story", "")
        return SearchResult(hypotheses, self.times, story, np.array(self.n_candidates), self.relaxed, seconds)

    def _with_extra(self, options: NextWords) -> NextWords:
        """Add this word's extra words where they are not proposed, as likely as the least likely proposal."""
        if self.extra_words is None or not self.extra_words[self.beam.n_words]:
            return options
        ids = self.beam.lexicon.ids_of(lower_case(word) for word in sorted(self.extra_words[self.beam.n_words]))
        n = self.beam.n_hypotheses
        floor = np.full(n, options.log_probabilities.min(initial=0.0))
        np.minimum.at(floor, options.contexts, options.log_probabilities)
        proposed = set(zip(options.contexts.tolist(), options.words.tolist()))
        missing = np.array([(h, w) for h in range(n) for w in ids.tolist() if (h, w) not in proposed], dtype=np.int64).reshape(
            -1, 2
        )
        contexts = np.concatenate([options.contexts, missing[:, 0]])
        order = np.argsort(contexts, kind="stable")
        words = np.concatenate([options.words, missing[:, 1]])
        values = np.concatenate([options.log_probabilities, floor[missing[:, 0]]])
        return NextWords(contexts[order], words[order], values[order])

    def _note(self, n_candidates: int, relaxed: str) -> None:
        self.n_candidates.append(n_candidates)
        if relaxed:
            self.relaxed[len(self.n_candidates) - 1] = relaxed

    def _write(self, vectors: torch.Tensor) -> None:
        assert self.journal is not None
        beam = self.beam
        parents, words = beam.steps[-1]
        step = {
            "word": beam.n_words - 1,
            "parents": parents.tolist(),
            "words": [beam.lexicon.words[i] for i in words],
            "log_probabilities": beam.log_probabilities.tolist(),
            "scores": self.running.scores.tolist(),
            "n_candidates": self.n_candidates[-1],
            "relaxed": self.relaxed.get(beam.n_words - 1, ""),
        }
        self.journal.append(step, vectors.cpu().numpy(), self.running.oldest_needed(beam.n_words))

    def _tensors(self, *arrays: np.ndarray) -> list[torch.Tensor]:
        return [torch.as_tensor(array, device=self.running.scores.device) for array in arrays]


def check_word_times(word_times: Any) -> np.ndarray:
    """Word times as an array: at least one, rising, finite."""
    times = np.asarray(word_times, dtype=np.float64).reshape(-1)
    check_finite("word_times", times)
    if not len(times):
        raise bad("word_times", "hold at least one word", "none", "The word rate model predicts no word anywhere in this run.")
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise bad("word_times", "never fall", f"{times[back[0]]:g} s, then {times[back[0] + 1]:g} s", "Sort them.")
    return times


def _ancestors(beam: Beam, words: range) -> dict[int, np.ndarray]:
    """For each of these words, the row of its own beam that each present hypothesis descends from."""
    rows = np.arange(beam.n_hypotheses)
    out = {}
    for word in range(beam.n_words - 1, words.start - 1, -1):
        out[word] = rows
        rows = beam.steps[word][0][rows]
    return out
