"""Entries of a transcript as words: an entry that holds white space becomes as many words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurolm.letters import count_letters, lower_case
from neurolm.stimuli.transcript import Transcript


def split_entries(transcript: Transcript) -> Transcript:
    """One entry for each word: "New York" becomes two words that share its time in proportion to their letters."""
    parts = [entry.replace("\u200b", " ").split() for entry in transcript.words]
    if all(len(part) == 1 for part in parts):
        return transcript.with_words([part[0] for part in parts])
    words, onsets, offsets = [], [], []
    for part, onset, offset in zip(parts, transcript.onsets.tolist(), transcript.offsets.tolist()):
        shares = np.cumsum([0] + [max(1, count_letters(word)) for word in part])
        edges = onset + (offset - onset) * shares / shares[-1]
        edges[-1] = offset
        words += part
        onsets += edges[:-1].tolist()
        offsets += edges[1:].tolist()
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.argsort(onsets, kind="stable")  # entries may overlap: a second half may begin after the next entry
    marks: dict[str, Any] = {
        name: None if value is None else value[owner][order]
        for name, value in (("sentences", transcript.sentences), ("paragraphs", transcript.paragraphs))
    }
    words = [words[i] for i in order]
    return replace(transcript, words=tuple(words), onsets=np.array(onsets)[order], offsets=np.array(offsets)[order], **marks)


def lower_case_words(transcript: Transcript) -> Transcript:
    """The words of a transcript as a decoder handles them: one to an entry, in lower case, in NFC."""
    split = split_entries(transcript)
    return split.with_words([lower_case(word) for word in split.words])


SHARE_IN_CAPITALS = 0.9


def is_all_caps(transcript: Transcript) -> bool:
    """True if more than nine in ten words of two or more letters are in capitals only.

    Not all of them, because published transcripts in capitals hold a few "I'm" and "lg". Words of
    one letter say nothing ("I", "A"); without longer words the answer is False.
    """
    longer = [word for word in transcript.words if sum(c.isalpha() for c in word) > 1]
    return sum(word.isupper() for word in longer) > SHARE_IN_CAPITALS * len(longer)


def lowercase_if_all_caps(transcript: Transcript) -> Transcript:
    """Lower-case every word ("I" too) of a transcript that is all in capitals; else give it back as it is."""
    return transcript.with_words([lower_case(word) for word in transcript.words]) if is_all_caps(transcript) else transcript
