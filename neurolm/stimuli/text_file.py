"""Annotation files as text: UTF-8, UTF-16 and Latin-1, with any line ends."""

from __future__ import annotations

import codecs
from pathlib import Path

from neurolm.checks import bad_file, check_file

_MARKED = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_annotation(path: str | Path, hint: str = "") -> str:
    """Read a text file in the encodings that annotation tools write.

    A byte-order mark decides; without one, UTF-8 is tried, then UTF-16 (every second byte of
    Western text is zero), then Latin-1, which Praat wrote before version 5. Line ends become "\\n".

    Raises
    ------
    FileError
        If the file is missing, unreadable or empty, or is not text.
    """
    path = check_file(path, hint)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise bad_file(path, f"cannot be read ({error.strerror})", "Check its permissions.") from None
    if not raw.strip():
        raise bad_file(path, "is empty", hint or "Copy it again from its source.")
    text = _decode(raw)
    if text is None or "\0" in text:
        raise bad_file(path, "is not a text file", hint or "Save it as text (UTF-8).")
    if not text.strip():
        raise bad_file(path, "is empty", hint or "Copy it again from its source.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(raw: bytes) -> str | None:
    for mark, encoding in _MARKED.items():
        if raw.startswith(mark):
            return _try(raw, encoding)
    if b"\0" in raw:
        little = raw[1::2].count(0) >= raw[0::2].count(0)
        return _try(raw, "utf-16-le" if little else "utf-16-be")
    return _try(raw, "utf-8") or raw.decode("latin-1")


def _try(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None
