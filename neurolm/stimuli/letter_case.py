"""Transcripts in capitals: what to do with them, in one place.

LeBel et al. (2023) and other corpora give every word in capitals. A language model reads THE as
another, rarer token than the. Readers keep words as the file has them; features that a language
model computes lower-case a transcript that is all in capitals, and say so.
"""

from __future__ import annotations

from neurolm.letters import lower_case
from neurolm.stimuli.transcript import Transcript

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
