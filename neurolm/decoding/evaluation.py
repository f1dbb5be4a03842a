"""One decoded story, judged: scores beside both nulls, identification, the table of words, and why it errs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.decoding.beam_search import BeamSearch
from neurolm.decoding.diagnosis import ErrorKind, WordRanks, error_kind, teacher_forced_ranks
from neurolm.decoding.embedding_recall import EmbeddingRecall
from neurolm.decoding.gist import Comparison, compare_texts
from neurolm.decoding.identification import Identification, identify_similarity
from neurolm.decoding.null import null_decodes
from neurolm.decoding.text_scores import TextScore, normalised, text_scores
from neurolm.decoding.window_scores import WindowScores, cut_windows, score_windows, window_centres
from neurolm.progress import Progress, silent
from neurolm.stimuli.transcript import Transcript


@dataclass(frozen=True, eq=False)
class DecodingEvaluation:
    """What is known of one decode.

    scores : WindowScores against decodes of circularly shifted BOLD, the primary null
    published_null : WindowScores of the same texts against random likelihoods, as published
    identification : Identification of windows by their words; None where there are fewer than two
    comparison : Comparison, the side-by-side table
    error : ErrorKind of the whole text
    ranks : WordRanks under teacher forcing
    """

    scores: WindowScores
    published_null: WindowScores | None
    identification: Identification | None
    comparison: Comparison
    error: ErrorKind
    ranks: WordRanks | None

    def summary(self) -> dict[str, Any]:
        """The numbers a report shows, as JSON-able values."""
        out: dict[str, Any] = {
            "scores": self.scores.table(),
            "published_null": None if self.published_null is None else self.published_null.table(),
            "error": {"kind": self.error.kind, "heard": self.error.heard, "decoded": self.error.decoded},
            "words": {mark: self.comparison.share(mark) for mark in ("exact", "gist", "error")},
            "rule": self.comparison.rule,
        }
        if self.comparison.null_shares:
            null = self.comparison.null_shares
            out["words_by_chance"] = {
                mark: {"mean": float(null[mark].mean()), "p": self.comparison.share_p(mark), "n_null": len(null[mark])}
                for mark in null
            }
        if self.identification is not None:
            out["identification"] = {
                "mean_percentile_rank": self.identification.mean_percentile_rank,
                "p_value": self.identification.p_value,
                "n_null": len(self.identification.null),
                "n_windows": len(self.identification.percentile_ranks),
            }
        if self.ranks is not None:
            out["teacher_forced"] = {"coverage": self.ranks.coverage, "percentile_rank": self.ranks.percentile_rank}
        return out


def evaluate_decode(
    search: BeamSearch,
    decoded: Transcript,
    story: Transcript,
    *,
    n_nulls: int = 19,
    n_random: int = 0,
    scores: Collection[str] = ("wer", "bleu1", "meteor"),
    embedding: EmbeddingRecall | None = None,
    window_s: float = 20.0,
    step_s: float = 1.0,
    segment: tuple[float, float] | None = None,
    min_shift_s: float = 30.0,
    with_ranks: bool = True,
    rng: np.random.Generator | int = 0,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> DecodingEvaluation:
    """Judge a decode against the story that was heard.

    Parameters
    ----------
    search : BeamSearch
        That decoded; nulls are decoded with it.
    decoded, story : Transcript
    n_nulls : int
        Decodes of circularly shifted BOLD; each takes as long as the decode itself.
    n_random : int
        Decodes with random likelihoods, the published null (200 there).
    scores : names of `text_scores`
    embedding : EmbeddingRecall, optional
        BERTScore or another recall by embeddings; its encoder calibrates gist.
    window_s, step_s, segment
        Of `score_windows`.
    min_shift_s : float
        Least lag of a circular shift.
    with_ranks : bool
        Rank each true word by teacher forcing (about the time of a decode at beam width 1).
    folder : path, optional
        Where finished null decodes are kept (`null_decodes`).
    """
    rng = np.random.default_rng(rng)
    scorers = text_scores(scores, embedding)
    if not scorers:
        raise bad("scores", "name at least one score, or come with an embedding", list(scores))
    own: dict[str, Any] = {"rng": rng, "folder": folder, "progress": progress}
    nulls = null_decodes(search, decoded.mid_times, n_nulls, min_shift_s=min_shift_s, **own)
    random = null_decodes(search, decoded.mid_times, n_random, kind="random_likelihood", **own)
    settings: dict[str, Any] = {"window_s": window_s, "segment": segment}
    return DecodingEvaluation(
        score_windows(decoded, story, scores=scorers, null=nulls, step_s=step_s, **settings),
        score_windows(decoded, story, scores=scorers, null=random, step_s=step_s, **settings) if random else None,
        identify_text(decoded, story, embedding or _most_telling(scorers), rng=rng, **settings),
        compare_texts(
            decoded,
            story,
            encoder=embedding.encoder if embedding is not None and nulls else None,
            null=nulls,
            scores=scorers,
            function_words=search.proposals.function_words,
            **settings,
        ),
        error_kind(search.likelihood, decoded, story),
        teacher_forced_ranks(search, story, progress) if with_ranks else None,
    )


def _most_telling(scorers: Sequence[TextScore]) -> TextScore:
    """The score by which windows are identified: one that grows with likeness, where there is one."""
    return next((score for score in scorers if not score.is_error), scorers[0])


def identify_text(
    decoded: Transcript,
    story: Transcript,
    score: TextScore,
    *,
    window_s: float = 20.0,
    segment: tuple[float, float] | None = None,
    n_permutations: int = 2000,
    rng: np.random.Generator | int = 0,
) -> Identification | None:
    """Tell windows apart by their words: is decoded window i most like heard window i?

    Windows do not overlap, and those in which nothing was heard are left out; None where fewer than two
    remain. Similarity [i, j] is the score of decoded window i with heard window j. p comes from pairings
    in other orders: all windows shifted in a circle where there are at least 20 of them.
    """
    centres = window_centres(story, window_s, window_s, segment)
    heard = cut_windows(normalised(story), centres, window_s)
    own = cut_windows(normalised(decoded), centres, window_s)
    keep = [i for i, words in enumerate(heard) if words]
    if len(keep) < 2:
        return None
    similarity = similarity_of_texts([own[i] for i in keep], [heard[i] for i in keep], score)
    null = "circular_shift" if len(keep) >= 20 else "permutation"
    return identify_similarity(similarity, null=null, n_permutations=n_permutations, rng=rng)


def similarity_of_texts(decoded: Sequence[Sequence[str]], heard: Sequence[Sequence[str]], score: TextScore) -> np.ndarray:
    """(n, n): [i, j] how much decoded text i is like heard text j; errors count negative."""
    sign = -1.0 if score.is_error else 1.0
    return np.stack([sign * score(heard, [own] * len(heard)) for own in decoded])
