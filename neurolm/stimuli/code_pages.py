"""Text of Western 8-bit code pages: Windows-1252 (of which Latin-1 is a part) or Mac-Roman, decided by what the words become.

In the wrong code page letters turn into signs inside words (cafŽ, donÕt) or capitals after small letters. Each character
beyond ASCII is scored by its neighbours, and the code page in which the text is more plausible is taken; where both are alike,
as for a file whose only such byte is 0x92 (’ or í), it is Windows-1252. Text of other scripts has long runs of such
characters, or signs inside words in both, and is not decided.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

CODE_PAGES = {"cp1252": "Windows-1252", "mac-roman": "Mac-Roman"}
MOST_IMPLAUSIBLE = 0.05  # share of the characters beyond ASCII
_RUN = re.compile(r"[^\x00-\x7f]+")
_RARE = frozenset("šžŠŽŸýÝþÞðÐıƒ")
_NO_LETTERS = frozenset("ªºﬁﬂ")
_BETWEEN_LETTERS = {"–": 0.5, "—": 0.5, "…": 0.75, "·": 0.75}
_SIGNS = frozenset("\u00a0–—…·‚“”„«»‹›¿¡£€¥¢§©®™°±×÷²³¹¼½¾µ¶†‡•%")
_APOSTROPHES = "’‘"
_CLITIC_AFTER = re.compile(r"(?:t|s|m|d|re|ve|ll|em|all|clock|cause)\b", re.IGNORECASE)
_CLITIC_BEFORE = re.compile(
    r"(?:\b(?:[ldjcnmtsoy]|qu|jusqu|lorsqu|puisqu|quelqu|aujourd|un|dell|all|nell|dall|sull))$", re.IGNORECASE
)


class Decoded(NamedTuple):
    """Text, the code page that gave it, and some of its words with characters beyond ASCII."""

    text: str
    code_page: str
    examples: tuple[str, ...]


def decode_western(raw: bytes) -> Decoded | None:
    """Decode 8-bit text of a Western language; None where neither code page gives plausible words."""
    best: tuple[float, Decoded] | None = None
    for code_page in CODE_PAGES:
        try:
            text = raw.decode(code_page)
        except UnicodeDecodeError:  # a byte that the code page does not define
            continue
        scores = list(_scores(text))
        if scores and sum(score == 0 for score in scores) <= MOST_IMPLAUSIBLE * len(scores):
            mean = sum(scores) / len(scores)
            if best is None or mean > best[0]:
                best = mean, Decoded(text, code_page, _examples(text))
    return None if best is None else best[1]


def _scores(text: str) -> Iterator[float]:
    """How plausible each character beyond ASCII is where it stands: 0 for never, 1 for usual."""
    for run in _RUN.finditer(text):
        n_letters = sum(map(_is_letter, run[0]))
        for i in range(run.start(), run.end()):
            yield 0.0 if n_letters > 2 else _score(text, i)  # no Western word has three such letters in a row


def _score(text: str, i: int) -> float:
    char, before, after = text[i], text[i - 1 : i], text[i + 1 : i + 2]
    if _is_letter(char):
        is_odd = before.islower() if char.isupper() else before.isupper() and after.isupper()
        return 0.0 if is_odd else 0.5 if char in _RARE or before.isdigit() else 1.0
    inside = before.isalpha() and after.isalpha()
    if char in _APOSTROPHES:
        if not inside:
            return 1.0 if before.isalpha() or after.isalpha() else 0.75
        is_clitic = _CLITIC_AFTER.match(text, i + 1) or _CLITIC_BEFORE.search(text[max(0, i - 9) : i])
        return 1.0 if is_clitic else 0.25
    if inside and char in _BETWEEN_LETTERS:
        return _BETWEEN_LETTERS[char]
    if inside or unicodedata.category(char) in ("Cc", "Co", "Cn", "Sk"):
        return 0.0
    return 1.0 if char in _SIGNS else 0.25


def _is_letter(char: str) -> bool:
    return char.isalpha() and char not in _NO_LETTERS and unicodedata.name(char, "").startswith("LATIN")


def _examples(text: str) -> tuple[str, ...]:
    words = re.findall(r"[\w’‘]*[^\x00-\x7f][\w’‘]*", text)
    return tuple(dict.fromkeys(word for word in words if len(word) > 1))[:3]
