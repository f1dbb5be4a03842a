"""Sentence and paragraph marks from the plain text of a story.

Aligned transcripts carry words and times and seldom punctuation. Where the text is given along,
its words are aligned with the transcript's and lend them their sentences and paragraphs; what does
not match is shown, never hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from neurolm.checks import bad
from neurolm.letters import has_letters, without_signs
from neurolm.stimuli.transcript import Transcript

ABBREVIATIONS = frozenset(
    (
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "rev",
        "hon",
        "gen",
        "col",
        "capt",
        "lt",
        "sgt",
        "mt",
        "vs",
        "i.e",
        "e.g",
        "cf",
        "fig",
    )
)

_BREAK = re.compile(r"\n[ \t]*\n")
_DASHES = re.compile(r"(?<=\S)(?:--+|[—–])(?=\S)")  # "time—well" is two words
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]»]*$")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


class TextWord(NamedTuple):
    """One word of a plain text, without the punctuation around it, which is in `before` and `after`."""

    word: str
    sentence: int
    paragraph: int
    before: str = ""
    after: str = ""


class Mismatch(NamedTuple):
    """A stretch where transcript and text differ: the words of each, and where they begin."""

    heard: tuple[str, ...]
    written: tuple[str, ...]
    transcript_index: int
    text_index: int

    def __str__(self) -> str:
        heard, written = " ".join(self.heard) or "nothing", " ".join(self.written) or "nothing"
        return f"word {self.transcript_index}: heard {heard!r}, the text has {written!r}"


@dataclass(frozen=True)
class MarkedTranscript:
    """A transcript with marks, and how well the text fitted it.

    Parameters
    ----------
    transcript : Transcript
        The words and times that were given, now with `sentences` and `paragraphs`.
    mismatches : tuple of Mismatch
        Every stretch that differs, in order.
    n_matched : int
        Words of the transcript that stand in the text (case and punctuation apart).
    """

    transcript: Transcript
    mismatches: tuple[Mismatch, ...]
    n_matched: int


def words_of_text(text: str) -> list[TextWord]:
    """Split plain text into words with sentence and paragraph numbers.

    Blank lines part paragraphs. A sentence ends with a word that ends in `.`, `!`, `?` or an
    ellipsis (closing quotes and brackets may follow), if the next word begins with a capital or a
    digit (opening quotes apart) and the word is neither a usual abbreviation (`Mr.`) nor an initial
    (`J.`); and always with its paragraph. Dashes part words; tokens without a letter or a digit
    are no words.
    """
    words: list[TextWord] = []
    sentence = 0
    for paragraph, block in enumerate(b for b in _BREAK.split(text.replace("\r\n", "\n")) if has_letters(b)):
        tokens = [token for token in _DASHES.sub(lambda m: m.group() + " ", block).split() if has_letters(token)]
        for i, token in enumerate(tokens):
            before, word, after = _peel(token)
            words.append(TextWord(word, sentence, paragraph, before, after))
            if i + 1 == len(tokens) or _ends_sentence(token, tokens[i + 1]):
                sentence += 1
    return words


def mark_sentences(transcript: Transcript, text: str, *, min_match: float = 0.8) -> MarkedTranscript:
    """Give a transcript the sentences and paragraphs of the text that was read.

    Words are compared without case and punctuation and aligned with the fewest edits. A word that
    the text lacks belongs to the sentence of the word before it.

    Parameters
    ----------
    transcript : Transcript
    text : str
        The same story; small differences are allowed and shown.
    min_match : float
        Smallest share of the transcript's words that must stand in the text.

    Raises
    ------
    InputError
        If less than `min_match` of the words match: the text is another one.
    """
    written = [w for w in words_of_text(text) if _plain(w.word)]
    heard = [_plain(word) or "?" for word in transcript.words]
    if not heard or not written:
        raise bad("text", "hold words, as the transcript must", f"{len(written)} in the text, {len(heard)} in the transcript")
    partner, mismatches, n_matched = _align(heard, transcript.words, written)
    if n_matched < min_match * len(heard):
        first = f"; first difference: {mismatches[0]}" if mismatches else ""
        raise bad(
            f"the text of {transcript.name}",
            f"hold at least {min_match:.0%} of the transcript's words in their order",
            f"{n_matched} of {len(heard)}{first}",
            "Is it the text of another story?",
        )
    marked = replace(
        transcript,
        sentences=_consecutive([written[j].sentence for j in partner]),
        paragraphs=_consecutive([written[j].paragraph for j in partner]),
    )
    return MarkedTranscript(marked, tuple(mismatches), n_matched)


def _align(heard: list[str], words: tuple[str, ...], written: list[TextWord]) -> tuple[list[int], list[Mismatch], int]:
    """For every heard word its place in the text; the stretches that differ; how many match."""
    import jiwer

    result = jiwer.process_words(" ".join(heard), " ".join(_plain(w.word) for w in written))
    partner, n_matched = [0] * len(heard), 0
    differ: list[tuple[int, int, int, int]] = []
    for chunk in result.alignments[0]:
        i, i_end, j, j_end = chunk.ref_start_idx, chunk.ref_end_idx, chunk.hyp_start_idx, chunk.hyp_end_idx
        for k in range(i, i_end):
            partner[k] = j + (k - i) if j_end > j else max(j - 1, 0)
        if chunk.type == "equal":
            n_matched += i_end - i
        elif differ and differ[-1][1::2] == (i, j):  # goes on where the last one ended: one mismatch
            differ[-1] = (differ[-1][0], i_end, differ[-1][2], j_end)
        else:
            differ.append((i, i_end, j, j_end))
    mismatches = [Mismatch(words[i:i_end], tuple(w.word for w in written[j:j_end]), i, j) for i, i_end, j, j_end in differ]
    return partner, mismatches, n_matched


def _consecutive(numbers: list[int]) -> np.ndarray:
    """The same borders, numbered 0, 1, 2, ... without holes."""
    return np.unique(numbers, return_inverse=True)[1]


def _ends_sentence(token: str, following: str) -> bool:
    if not _SENTENCE_END.search(token):
        return False
    first = next(c for c in following if c.isalnum())
    if not (first.isupper() or first.isdigit()):
        return False
    stem = _SENTENCE_END.sub("", token).lstrip("\"'“‘([«")
    return not (token.rstrip("\"'”’)]»").endswith(".") and (stem.lower() in ABBREVIATIONS or _is_initial(stem)))


def _is_initial(stem: str) -> bool:
    return len(stem) == 1 and stem.isupper() and stem != "I"


def _peel(token: str) -> tuple[str, str, str]:
    word = _EDGES.sub("", token)
    start = token.index(word)
    return token[:start], word, token[start + len(word) :]


def _plain(word: str) -> str:
    """Letters, marks and digits only, without case: I’m and i'm are the same."""
    return without_signs(word.casefold()).replace("'", "")
