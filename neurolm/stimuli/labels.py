"""From the marks of an annotation file to a transcript, the same way for every format."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neurolm.checks import bad_file
from neurolm.letters import has_letters
from neurolm.stimuli.transcript import Transcript

UNTIMED = "untimed"
ZERO_LENGTH = "zero length"
EMPTY = "empty"


class Label(NamedTuple):
    """One mark of an annotation file: text, times in seconds (None: untimed), line, sentence and paragraph."""

    text: str
    onset: float | None
    offset: float | None
    line: int | None = None
    sentence: int | None = None
    paragraph: int | None = None


class _Word(NamedTuple):
    text: str
    onset: float
    offset: float
    line: int | None


def transcript_from_labels(
    labels: Sequence[Label], path: str | Path, *, what: str, name: str, zero_length_is_mark: bool = False
) -> Transcript:
    """Keep the words, count what is left out, check the order of time.

    Parameters
    ----------
    labels : sequence of Label
        In the order of the file.
    path : path
        For messages.
    what : str
        What holds the labels, for the message when there is no word: "tier 'word'", "the table".
    name : str
        The transcript's name.
    zero_length_is_mark : bool
        Leave out words whose onset equals their offset, counted as "zero length".

    Raises
    ------
    FileError
        If there is no word, or a word begins before its predecessor.
    """
    words: list[_Word] = []
    sentences: list[int] = []
    paragraphs: list[int] = []
    left_out: Counter[str] = Counter()
    sentence = _SentenceCounter()
    for label in labels:
        text = strip_label(label.text)
        if not is_speech(text):
            left_out[text or EMPTY] += 1
            sentence.pass_mark(text)
        elif label.onset is None or label.offset is None:
            left_out[UNTIMED] += 1
        elif zero_length_is_mark and label.offset == label.onset:
            left_out[ZERO_LENGTH] += 1
        else:
            words.append(_Word(text, label.onset, label.offset, label.line))
            sentences.append(sentence.pass_word() if label.sentence is None else label.sentence)
            paragraphs.append(-1 if label.paragraph is None else label.paragraph)
    if not words:
        raise bad_file(path, f"{what} holds no word, only {sum(left_out.values())} other mark(s)", "Choose another tier or file.")
    _check_times(words, path)
    has_sentences = sentence.seen or any(label.sentence is not None for label in labels)
    return Transcript(
        tuple(w.text for w in words),
        np.array([w.onset for w in words]),
        np.array([w.offset for w in words]),
        np.array(sentences) if has_sentences else None,
        np.array(paragraphs) if min(paragraphs) >= 0 else None,
        name,
        dict(left_out),
    )


class _SentenceCounter:
    """Numbers sentences by SENTENCE_START and SENTENCE_END: a word after either begins a new one."""

    def __init__(self) -> None:
        self.seen = False
        self._number = 0
        self._is_begun = False

    def pass_mark(self, text: str) -> None:
        if is_sentence_mark(text):
            self.seen = True
            self._number += self._is_begun
            self._is_begun = False

    def pass_word(self) -> int:
        self._is_begun = True
        return self._number


def _check_times(words: Sequence[_Word], path: str | Path) -> None:
    for word in words:
        if word.offset < word.onset:
            problem = f"{word.text!r} ends at {word.offset:g} s, before it begins at {word.onset:g} s"
            raise bad_file(path, problem, "Correct that row.", line=word.line)
    for before, word in itertools.pairwise(words):
        if word.onset < before.onset:
            problem = f"{word.text!r} begins at {word.onset:.3f} s, after {before.text!r} at {before.onset:.3f} s"
            hint = "Words must be in time order: correct that time, or read one part of the file at a time."
            raise bad_file(path, problem, hint, line=word.line)


SENTENCE_MARK = re.compile(r"sentence[_ ](start|end)", re.IGNORECASE)
PAUSES_AND_NOISES = frozenset({"sp", "sil", "SIL", "spn", "br", "lg", "ls", "ns", "cg", "ig", "sl"})
OPENING_BRACKETS = "{[(<"

_EDGES = re.compile(r"^[\s\x00-\x1f\x7f-\x9f]+|[\s\x00-\x1f\x7f-\x9f]+$")


def strip_label(label: str) -> str:
    """A label without surrounding blanks and control characters."""
    return _EDGES.sub("", label)


def is_sentence_mark(label: str) -> bool:
    """True for SENTENCE_START, SENTENCE_END and their spellings."""
    return SENTENCE_MARK.fullmatch(strip_label(label)) is not None


def is_speech(label: str) -> bool:
    """True if a label is a word by the rule of this module."""
    label = strip_label(label)
    if not has_letters(label) or label.startswith(tuple(OPENING_BRACKETS)):
        return False
    return label not in PAUSES_AND_NOISES and SENTENCE_MARK.fullmatch(label) is None
