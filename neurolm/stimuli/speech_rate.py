"""When words would be spoken: a plausible speech-rate model for texts without a recording."""

from __future__ import annotations

import re

import numpy as np

from neurolm.stimuli.text_marks import TextWord, words_of_text
from neurolm.stimuli.transcript import Transcript

BASE_S, PER_SYLLABLE_S, PER_LETTER_S = 0.09, 0.15, 0.008
JITTER = 0.12  # standard deviation of the logarithm of a word's duration
PAUSE_S = {"word": 0.0, "comma": 0.2, "sentence": 0.5, "paragraph": 0.9}

_VOWELS = re.compile(r"[aeiouy]+")


def n_syllables(word: str) -> int:
    """Syllables of an English word by its spelling: vowel groups, a final silent e not counted; at least 1."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    groups = len(_VOWELS.findall(letters))
    is_silent = letters.endswith("e") and not letters.endswith("le") and groups > 1
    return max(1, groups - is_silent)


def speak(text: str, *, rng: np.random.Generator, start: float = 0.0, name: str = "story") -> Transcript:
    """Give every word of a text a time, as a calm reader would: about 160 words a minute.

    A word lasts 0.09 s + 0.15 s a syllable + 0.008 s a letter, times a log-normal jitter of 12 %;
    pauses of 0.2 s follow commas, 0.5 s sentences, 0.9 s paragraphs. The values are chosen to give a
    usual rate of reading aloud; they are not fitted to recordings.

    Parameters
    ----------
    text : str
        Plain text; blank lines part paragraphs.
    rng : numpy Generator
    start : float
        Seconds; onset of the first word.

    Returns
    -------
    transcript : Transcript
        Words without punctuation, with times, sentences and paragraphs.
    """
    words = words_of_text(text)
    spoken = np.array([BASE_S + PER_SYLLABLE_S * n_syllables(w.word) + PER_LETTER_S * len(w.word) for w in words])
    spoken *= np.exp(JITTER * rng.standard_normal(len(words)))
    pauses = np.array([PAUSE_S[_pause_after(word, after)] for word, after in zip(words, [*words[1:], None], strict=True)])
    offsets = start + np.cumsum(spoken + pauses) - pauses
    return Transcript(
        tuple(w.word for w in words),
        offsets - spoken,
        offsets,
        np.array([w.sentence for w in words]),
        np.array([w.paragraph for w in words]),
        name,
    )


def _pause_after(word: TextWord, following: TextWord | None) -> str:
    if following is None or following.paragraph != word.paragraph:
        return "paragraph"
    if following.sentence != word.sentence:
        return "sentence"
    return "comma" if any(mark in word.after for mark in ",;:—–") else "word"
