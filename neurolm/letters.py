"""Letters and words in all scripts: what belongs to a word, and when two spellings are the same word.

A letter is any character of the Unicode categories L (letters), M (combining marks: vowel signs of Hindi
and Tamil, harakat, niqqud, the tone marks of decomposed Vietnamese) and N (numbers). Text is compared
after canonical composition (NFC), with one sign for all apostrophes and without invisible format characters.
"""

from __future__ import annotations

import functools
import re
import unicodedata

APOSTROPHES = "\u2019\u2018\u201b\u02bc\uff07\u05f3"  # ’ ‘ ‛ modifier letter, full width, Hebrew geresh
JOINERS = "\u200c\u200d"  # zero-width (non-)joiners stand inside words of Persian, Hindi, Sinhala ...
_STRAIGHT = str.maketrans(dict.fromkeys(APOSTROPHES, "'"))
_UNSEEN = "\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufe00-\ufe0f"
_INVISIBLE = re.compile(f"[{_UNSEEN}]")
_DOTTED_I = "i\u0307"  # what str.lower makes of the Turkish capital I with a dot


def is_letter(character: str) -> bool:
    """True for letters, combining marks, digits and the zero-width joiners inside words."""
    return unicodedata.category(character)[0] in "LMN" or character in JOINERS


def has_letters(text: str) -> bool:
    """True if the text holds a letter or a digit; marks alone are no word."""
    return any(character.isalnum() for character in text)


def count_letters(word: str) -> int:
    """Letters and digits of a word; a mark belongs to its letter, in whatever form it is encoded."""
    return sum(character.isalnum() for character in plain_spelling(word))


def plain_spelling(text: str) -> str:
    """The spelling under which a text is compared and looked up: NFC, straight apostrophes, no invisible characters.

    A zero-width space, which separates words in Khmer and Thai, becomes a space. Joiners are left out: they
    shape letters, and the same word is found with and without them.
    """
    text = unicodedata.normalize("NFC", text).translate(_STRAIGHT).replace("\u200b", " ")
    return _INVISIBLE.sub("", text).replace(JOINERS[0], "").replace(JOINERS[1], "")


def lower_case(text: str) -> str:
    """Lower case in NFC; the Turkish capital I with a dot becomes a plain i."""
    return unicodedata.normalize("NFC", text.lower().replace(_DOTTED_I, "i"))


def without_signs(word: str) -> str:
    """A word as it is compared: lower case, letters, digits and apostrophes only."""
    return _patterns().signs.sub("", lower_case(plain_spelling(word)))


def spoken_text(text: str) -> str:
    """Running text in lower case without punctuation, one space between words; apostrophes inside words stay."""
    text = unicodedata.normalize("NFC", text).translate(_STRAIGHT).replace("\u200b", " ")
    text = _patterns().signs.sub(" ", lower_case(_INVISIBLE.sub("", text)))
    return " ".join(word for part in _patterns().loose.sub(" ", text).split() if (word := part.strip(JOINERS)))


def words_of(text: str) -> list[str]:
    """Words of a text in lower case: runs of letters, with apostrophes and hyphens inside."""
    return _patterns().word.findall(lower_case(plain_spelling(text)).replace("_", " "))


class _Patterns:
    """Regular expressions over all scripts: `re` knows letters and digits (\\w) but not combining marks."""

    def __init__(self) -> None:
        letter = rf"\w{_marks()}{JOINERS}"
        self.signs = re.compile(rf"[^{letter}']+|_+")
        self.loose = re.compile(rf"(?<![{letter}])'+|'+(?![{letter}])")
        self.word = re.compile(rf"[{letter}]+(?:['-][{letter}]+)*")


@functools.cache
def _patterns() -> _Patterns:
    return _Patterns()


def _marks() -> str:
    """All combining marks as ranges of a character class."""
    codes = [code for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)) if unicodedata.category(chr(code))[0] == "M"]
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
