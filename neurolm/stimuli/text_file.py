"""Annotation files as text: UTF-8, UTF-16, Windows-1252 and Mac-Roman, with any line ends."""

from __future__ import annotations

import codecs
import warnings
from pathlib import Path

from neurolm.checks import bad_file, check_file
from neurolm.stimuli.code_pages import CODE_PAGES, decode_western

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
