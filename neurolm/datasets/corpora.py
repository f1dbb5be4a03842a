"""Corpora with labels, read from their archives without unpacking them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from neurolm.checks import bad_file, check_file
from neurolm.datasets.resources import find_resource


def tagged_texts(path: str | Path | None = None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """MASC: (name of the text, its (token, Penn Treebank tag) pairs), text by text.

    Parameters
    ----------
    path : path, optional
        masc_tagged.zip; by default it is found or fetched. 89 of its 592,536 tokens lack a tag or a word
        and are left out.
    """
    for name, text in _texts(path or find_resource("masc_tagged")):
        pairs = (token.rsplit("_", 1) for token in text.split() if "_" in token)
        yield name, [(word, tag) for word, tag in pairs if word]


def movie_reviews(path: str | Path | None = None) -> list[tuple[str, str]]:
    """2,000 film reviews as (text, "pos" or "neg"), lower-cased and tokenised as published."""
    return [(text, name.split("/")[0]) for name, text in _texts(path or find_resource("movie_reviews"))]


def _texts(path: str | Path) -> Iterator[tuple[str, str]]:
    """(folder/name, text) of the archive's texts, which lie one folder below its top folder, sorted."""
    try:
        with zipfile.ZipFile(check_file(path)) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".txt") and name.count("/") == 2:
                    yield name.split("/", 1)[1], archive.read(name).decode("utf-8")
    except (zipfile.BadZipFile, zlib.error, RuntimeError, UnicodeDecodeError, OSError, EOFError) as error:
        raise bad_file(path, f"is not a whole archive of texts ({error})", "Delete it to have it fetched again.") from None
