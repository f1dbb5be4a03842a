"""Letters and words in all scripts: what belongs to a word, when two spellings are the same, where spaces go.

A letter is any character of the Unicode categories L (letters), M (combining marks: vowel signs of Hindi
and Tamil, harakat, niqqud, the tone marks of decomposed Vietnamese) and N (numbers). Text is compared
after canonical composition (NFC), with one sign for all apostrophes and without invisible format characters.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

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


SPACES = ("auto", "always", "never")

_SPACELESS = (
    (0x0E00, 0x0EFF, "Thai, Lao"),
    (0x0F00, 0x0FFF, "Tibetan"),
    (0x1000, 0x109F, "Burmese"),
    (0x1780, 0x17FF, "Khmer"),
    (0x1950, 0x19FF, "Tai Le, New Tai Lue, Khmer symbols"),
    (0x1A20, 0x1AAF, "Tai Tham"),
    (0x1B00, 0x1B7F, "Balinese"),
    (0x2E80, 0x303F, "radicals, CJK signs"),
    (0x3040, 0x312F, "Hiragana, Katakana, Bopomofo"),
    (0x3190, 0x9FFF, "Han, Katakana extensions"),
    (0xA980, 0xA9FF, "Javanese, Burmese extensions"),
    (0xAA60, 0xAADF, "Burmese extensions, Tai Viet"),
    (0xF900, 0xFAFF, "Han, compatibility"),
    (0xFE30, 0xFE4F, "CJK compatibility forms"),
    (0xFF00, 0xFF9F, "full-width letters and signs, half-width Katakana"),
    (0x1AFF0, 0x1B16F, "Kana extensions"),
    (0x20000, 0x3FFFF, "Han extensions"),
)
_PASSED_OVER = range(0x2000, 0x2070)  # quotes, dashes and dots that all scripts share


def is_spaceless(character: str) -> bool:
    """True for characters of scripts that put no space between words, their own signs included. Korean has spaces."""
    return any(first <= ord(character) <= last for first, last, _ in _SPACELESS)


def space_between(left: str, right: str, spaces: str = "auto") -> bool:
    """Whether running text has a space between two words.

    Parameters
    ----------
    spaces : {"auto", "always", "never"}
        "auto": none where the last character of `left` and the first of `right` both belong to scripts
        written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese ...), else one. Quotes and dashes
        that all scripts share are passed over.
    """
    if spaces != "auto":
        return spaces == "always"
    ends = (_first_own(reversed(left)), _first_own(right))
    return not all(end and is_spaceless(end) for end in ends)


def _first_own(characters: Iterable[str]) -> str:
    return next((c for c in characters if ord(c) not in _PASSED_OVER), "")
