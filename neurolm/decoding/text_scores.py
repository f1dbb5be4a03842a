"""How alike two texts are: WER, BLEU-1, METEOR, and recall by embeddings."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurolm.checks import check_choice
from neurolm.decoding.embedding_recall import EmbeddingRecall
from neurolm.letters import has_letters, without_signs
from neurolm.stimuli.transcript import Transcript
from neurolm.stimuli.word_entries import split_entries

FILLERS = frozenset({"uh", "um", "uhm", "er", "erm", "mm", "hm", "hmm", "mhm"})
Words = Sequence[str]


class TextScore(Protocol):
    """One way of comparing texts.

    name : key in results
    label : what it is, as a report says it
    is_error : True where less is better
    """

    name: str
    label: str
    is_error: bool

    def __call__(self, heard: Sequence[Words], decoded: Sequence[Words]) -> np.ndarray:
        """(n_texts,) scores; NaN where nothing was heard."""
        ...


@dataclass(frozen=True)
class WordErrorRate:
    """Substitutions, deletions and insertions over the words heard (jiwer). May exceed 1."""

    name: str = "wer"
    label: str = "word error rate"
    is_error: bool = True

    def __call__(self, heard: Sequence[Words], decoded: Sequence[Words]) -> np.ndarray:
        import jiwer

        return _each(lambda a, b: jiwer.wer(" ".join(a), " ".join(b)), heard, decoded)


@dataclass(frozen=True)
class Bleu1:
    """Share of decoded words that were heard, with brevity penalty (sacrebleu, one reference)."""

    name: str = "bleu1"
    label: str = "BLEU-1"
    is_error: bool = False

    def __call__(self, heard: Sequence[Words], decoded: Sequence[Words]) -> np.ndarray:
        from sacrebleu.metrics import BLEU

        bleu = BLEU(max_ngram_order=1, tokenize="none", smooth_method="none", effective_order=True)
        return _each(lambda a, b: bleu.sentence_score(" ".join(b), [" ".join(a)]).score / 100 if b else 0.0, heard, decoded)


class Meteor:
    """METEOR (nltk): recall-weighted matches of words, stems and, where WordNet is available, synonyms.

    Parameters
    ----------
    synonyms : bool or None
        None uses WordNet where nltk has it. Without it the label says so: the scores are lower
        than published ones and not comparable with them.
    """

    name = "meteor"
    is_error = False

    def __init__(self, synonyms: bool | None = None) -> None:
        self._wordnet = _NoSynonyms() if synonyms is False else _wordnet(required=bool(synonyms))
        self.label = "METEOR" if not isinstance(self._wordnet, _NoSynonyms) else "METEOR (exact and stem matches, no WordNet)"

    def __call__(self, heard: Sequence[Words], decoded: Sequence[Words]) -> np.ndarray:
        from nltk.translate.meteor_score import meteor_score

        return _each(lambda a, b: meteor_score([list(a)], list(b), wordnet=self._wordnet) if b else 0.0, heard, decoded)


def text_scores(names: Collection[str] = ("wer", "bleu1", "meteor"), embedding: EmbeddingRecall | None = None) -> list[TextScore]:
    """The scores of these names, and `embedding` where one is given."""
    known: Mapping[str, Any] = {"wer": WordErrorRate, "bleu1": Bleu1, "meteor": Meteor}
    chosen = [known[check_choice("text score", name, known)]() for name in names]
    return [*chosen, *([embedding] if embedding is not None else [])]


def normalised(transcript: Transcript, fillers: Collection[str] = FILLERS) -> Transcript:
    """Words as they are compared: lower case, letters, marks, digits and apostrophes only, no fillers.

    Times stay with their words; an entry that holds white space is as many words. Both texts are brought to NFC.
    """
    split = split_entries(transcript)
    words = [without_signs(word) for word in split.words]
    keep = [i for i, word in enumerate(words) if has_letters(word) and word not in fillers]
    return Transcript(tuple(words[i] for i in keep), split.onsets[keep], split.offsets[keep], name=transcript.name)


def _each(score: Any, heard: Sequence[Words], decoded: Sequence[Words]) -> np.ndarray:
    return np.array([score(a, b) if len(a) else np.nan for a, b in zip(heard, decoded, strict=True)], dtype=np.float64)


class _NoSynonyms:
    """Stands in for WordNet where it is not available: no word has synonyms."""

    def synsets(self, word: str) -> list[Any]:
        return []


@functools.cache
def _wordnet(required: bool) -> Any:
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        if required:
            from neurolm.checks import bad

            raise bad(
                "synonyms", "be None or False without WordNet", True, "Get it with python -m nltk.downloader wordnet."
            ) from None
        return _NoSynonyms()
    return wordnet
