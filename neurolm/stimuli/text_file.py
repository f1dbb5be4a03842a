"""Annotation files as text: UTF-8, UTF-16, Windows-1252 and Mac-Roman, with any line ends."""

from __future__ import annotations

import codecs
import re
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from neurolm.checks import bad_file, check_file

_MARKED = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_annotation(path: str | Path, hint: str = "") -> str:
    """Read a text file in the encodings that annotation tools write.

    A byte-order mark decides; without one, UTF-8 is tried, then UTF-16 (every second byte of Western text is
    zero), then Windows-1252 (Latin-1 is a part of it) and Mac-Roman, of which the one is taken whose words are
    plausible; a warning says which, with some of the words. Line ends become "\\n".

    Raises
    ------
    FileError
        If the file is missing, unreadable or empty, is not text, or is text of another code page.
    """
    path = check_file(path, hint)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise bad_file(path, f"cannot be read ({error.strerror})", "Check its permissions.") from None
    if not raw.strip():
        raise bad_file(path, "is empty", hint or "Copy it again from its source.")
    text = _decode(raw, path)
    if text is None or "\0" in text:
        raise bad_file(path, "is not a text file", hint or "Save it as text (UTF-8).")
    if not text.strip():
        raise bad_file(path, "is empty", hint or "Copy it again from its source.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(raw: bytes, path: Path) -> str | None:
    for mark, encoding in _MARKED.items():
        if raw.startswith(mark):
            return _try(raw, encoding)
    if b"\0" in raw:
        little = raw[1::2].count(0) >= raw[0::2].count(0)
        return _try(raw, "utf-16-le" if little else "utf-16-be")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found, line = decode_western(raw), raw.count(b"\n", 0, error.start) + 1
    if found is None:
        problem = "is not UTF-8 here, and gives no words as Windows-1252 or Mac-Roman"
        raise bad_file(path, problem, "Save it as UTF-8.", line=line)
    such_as = f", with words such as {', '.join(found.examples)}" if found.examples else ""
    warnings.warn(f"{path} is not UTF-8: read as {CODE_PAGES[found.code_page]}{such_as}. Save it as UTF-8.", stacklevel=3)
    return found.text


def _try(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


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
