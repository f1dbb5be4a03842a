"""Which labels of an aligned transcript are words, and which are marks for something else.

The rule, in order (a label is stripped of surrounding blanks and control characters first):

1. SENTENCE_START and SENTENCE_END (any case, `_` or a space between) are sentence marks. They
   are not words; a new sentence begins after either.
2. Labels without a letter or a digit are not speech: an empty label, `#`, `?`, an em dash.
3. Labels in brackets are not speech: `{BR}`, `{LG}`, `[laughter]`, `(cough)`, `<unk>`. One bracket
   at the beginning is enough, because published files hold `{LS)`, `{{BR}`, `(BR}` and `{BR`.
4. The aligners' names for pauses and noises, in exactly this case, are not speech: `sp`, `sil`,
   `SIL`, `spn`, `br`, `lg`, `ls`, `ns`, `cg`, `ig`, `sl`.

Everything else is a word. What is left out is counted by label in `Transcript.left_out`.
"""

from __future__ import annotations

import re

from neurolm.letters import has_letters

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
