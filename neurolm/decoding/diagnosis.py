"""Why a decoder is wrong: its model, its search, or words that were never proposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurolm.decoding.beam_search import BeamSearch
from neurolm.decoding.hypothesis import Beam
from neurolm.decoding.likelihood import ResponseLikelihood
from neurolm.decoding.word_rate import length_aware_times
from neurolm.progress import Progress, silent
from neurolm.stimuli.transcript import Transcript
from neurolm.stimuli.word_entries import lower_case_words


@dataclass(frozen=True)
class ErrorKind:
    """The likelihood of what was heard beside that of what was decoded.

    heard, decoded : float
        Log-likelihood of the whole run under each text.
    """

    heard: float
    decoded: float

    @property
    def gain(self) -> float:
        """heard - decoded. Positive: the true words were likelier and the search lost them."""
        return self.heard - self.decoded

    @property
    def kind(self) -> str:
        """ "search error" where the truth is likelier than the output, else "model error"; "none" where they are equal."""
        if abs(self.gain) <= 1e-6 * max(1.0, abs(self.heard)):
            return "none"
        return "search error" if self.gain > 0 else "model error"


def error_kind(likelihood: ResponseLikelihood, decoded: Transcript, story: Transcript) -> ErrorKind:
    """Say whether the encoding model prefers its output to the truth, or the search never got there.

    Each text is scored in full, at its own word times.
    """
    return ErrorKind(likelihood.log_likelihood_of(lower_case(story)), likelihood.log_likelihood_of(decoded))


@dataclass(frozen=True, eq=False)
class WordRanks:
    """Where each true word stands among its candidates when everything before it is true.

    proposed : (n_words,) bool, whether the language model proposed the true word at all
    rank : (n_words,) 1 where the true word is the likeliest of all candidates given the BOLD (it is
        added to them where it was not proposed)
    model_rank : (n_words,) its rank by the language model; NaN where it was not proposed
    n_candidates : (n_words,) with the true word
    """

    proposed: np.ndarray
    rank: np.ndarray
    model_rank: np.ndarray
    n_candidates: np.ndarray

    @property
    def coverage(self) -> float:
        """Share of true words that are proposed after the true words before them."""
        return float(self.proposed.mean())

    @property
    def percentile_rank(self) -> float:
        """Mean share of the other candidates that are less likely than the true word; .5 is chance."""
        n = self.n_candidates - 1
        return float(np.mean((self.n_candidates - self.rank)[n > 0] / n[n > 0]))


def teacher_forced_ranks(search: BeamSearch, story: Transcript, progress: Progress = silent) -> WordRanks:
    """Rank every true word among the proposals after the true words before it, by likelihood and by language model."""
    story = lower_case(story)
    words, times = story.words, story.mid_times
    beam, running = Beam(search.proposals.lexicon), search.likelihood.start(times)
    rows = []
    for i, true in enumerate(beam.lexicon.ids_of(words).tolist()):
        options, _ = search.proposals.propose(beam, times)
        place = np.flatnonzero(options.words == true)
        candidates = options.words if len(place) else np.append(options.words, true)
        zeros = np.zeros(len(candidates), dtype=np.int64)
        vectors, which = search.candidate_features.vectors(beam, zeros, candidates)
        device = running.scores.device
        scores = running.score(vectors, torch.as_tensor(which, device=device), torch.as_tensor(zeros, device=device))
        own = int(place[0]) if len(place) else len(candidates) - 1
        rank = 1 + int((scores > scores[own]).sum())
        rows.append((len(place) > 0, rank, own + 1.0 if len(place) else np.nan, len(candidates)))
        kept, parent = torch.as_tensor(which[[own]], device=device), torch.zeros(1, dtype=torch.int64, device=device)
        running.commit(scores[[own]], vectors, kept, parent)
        beam.extend(np.zeros(1, dtype=np.int64), np.array([true]), np.zeros(1))
        progress(i + 1, len(words), "words")
    proposed, rank_, model_rank, n_candidates = (np.array(column) for column in zip(*rows))
    return WordRanks(proposed, rank_, model_rank, n_candidates)


def rescore(
    likelihood: ResponseLikelihood, texts: Sequence[Transcript], *, length_aware: bool = False
) -> list[tuple[Transcript, float]]:
    """Order finished texts by the likelihood of the whole run, best first.

    Parameters
    ----------
    texts : sequence of Transcript
        For example every `SearchResult.transcript_of(rank)`.
    length_aware : bool
        Give long words more of their TR before scoring (`length_aware_times`): during the search all
        hypotheses have to share their word times, here they need not.
    """
    scored = []
    for text in texts:
        if length_aware:
            times = length_aware_times(text.words, text.mid_times, likelihood.run.tr_times)
            text = Transcript(text.words, times, times, name=text.name)
        scored.append((text, likelihood.log_likelihood_of(text)))
    return sorted(scored, key=lambda item: -item[1])


def lower_case(story: Transcript) -> Transcript:
    """The story with words as the decoder writes them."""
    return lower_case_words(story)


def word_accuracy(decoded: Transcript, story: Transcript) -> float:
    """Share of positions with the true word, for decodes at the true word times."""
    pairs: list[Any] = list(zip(decoded.words, lower_case(story).words, strict=True))
    return float(np.mean([a == b for a, b in pairs]))


def comparable_words(story: Transcript) -> list[set[str]]:
    """Each true word as a set of its own: `extra_words` that put the truth among every hypothesis's candidates."""
    return [{word} for word in lower_case(story).words]
