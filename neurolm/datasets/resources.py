"""Word norms and corpora that analyses use: where each comes from, under which licence, pinned by hash."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neurolm.checks import FileError, bad_file, check_choice, check_file
from neurolm.datasets.dataset import DatasetNotFound
from neurolm.datasets.fetch import Pinned, fetch_file, is_intact
from neurolm.datasets.places import cached_copy, find_copy

_NLTK = "https://raw.githubusercontent.com/nltk/nltk_data/5db857e6f7df11eabb5e5665836db9ec8df07e28/packages/corpora/"
_PUBLIC_DOMAIN = "public domain"


@dataclass(frozen=True)
class Resource:
    """One file that analyses use.

    Parameters
    ----------
    name, description, licence, citation : str
    folder, file : str
        "norms" or "corpora", and the file's name in it: $NEUROLM_DATA/<folder>/<file>, or the same in the cache.
    url : str
        Its public home; empty where it cannot be fetched.
    pinned : Pinned
        SHA-256 and size of the file as it was published.
    """

    name: str
    description: str
    licence: str
    citation: str
    folder: str
    file: str
    url: str
    pinned: Pinned


def _resource(
    name: str, description: str, licence: str, citation: str, place: str, url: str, sha256: str, n_bytes: int
) -> Resource:
    folder, file = place.split("/")
    return Resource(name, description, licence, citation, folder, file, url, Pinned(f"sha256:{sha256}", n_bytes))


_RESOURCES = {
    resource.name: resource
    for resource in (
        _resource(
            "concreteness",
            "Concreteness ratings (1 to 5) of 39,954 English words and two-word expressions, tab-separated",
            "for research; the copy comes without a licence file",
            "Brysbaert, M., Warriner, A. B. & Kuperman, V. (2014). Concreteness ratings for 40 thousand generally known English "
            "word lemmas. Behavior Research Methods 46, 904-911.",
            "norms/Concreteness_ratings_Brysbaert_et_al_BRM.txt",
            "https://raw.githubusercontent.com/lingresearchers/LexCreativity/e3fc119c2e9e7ce3621d7e8e418f02f150f2fb14/"
            "Concreteness_ratings_Brysbaert_et_al_BRM.txt",
            "da53ec1314416d45782ff3277610ece2445e586f48e497e424e1aec22e032e64",
            1646189,
        ),
        _resource(
            "function_words",
            "512 English function words, a JSON list",
            "CC BY-NC-SA 4.0",
            "The Python package functionwords, version 0.8.",
            "norms/functionwords_english.json",
            "",
            "e9a982396f66eeccca3be24d4e1f59657bfb97d0fa22b28905292ba2d2e3c2b3",
            4843,
        ),
        _resource(
            "stopwords",
            "Stop words of many languages, a zip of lists; stopwords/english",
            "none stated",
            "NLTK data, package stopwords.",
            "norms/stopwords.zip",
            _NLTK + "stopwords.zip",
            "15c94179887425ca1bedc265608cab9f27d650211f709bb929e320990a4b01d1",
            34276,
        ),
        _resource(
            "cmudict",
            "Pronunciations of about 127,000 English words, a zip",
            "unrestricted use; acknowledgement of the origin is asked for",
            "The Carnegie Mellon Pronouncing Dictionary 0.7a.",
            "norms/cmudict.zip",
            _NLTK + "cmudict.zip",
            "d07cca47fd72ad32ea9d8ad1219f85301eeaf4568f8b6b73747506a71fb5afd6",
            896069,
        ),
        _resource(
            "masc_tagged",
            "MASC: 392 spoken and written American texts with part-of-speech tags, about 590,000 tokens, a zip",
            "free for linguistic education, research and development, commercial development included",
            "Ide, N. et al., Manually Annotated Sub-Corpus, American National Corpus (2014).",
            "corpora/masc_tagged.zip",
            _NLTK + "masc_tagged.zip",
            "678a5141cf3381bedb1839c58a330507337be07c7c71603279c0ef5337032304",
            1602143,
        ),
        _resource(
            "movie_reviews",
            "2,000 film reviews labelled positive or negative, a zip",
            "CC BY 4.0",
            "Pang, B. & Lee, L. (2004). Sentiment Polarity Dataset Version 2.0.",
            "corpora/movie_reviews.zip",
            _NLTK + "movie_reviews.zip",
            "a41211ae685019137410268134db6a1a14428c89b671eb83056151a878539008",
            4004848,
        ),
        _resource(
            "genesis",
            "The book of Genesis in several translations, a zip",
            _PUBLIC_DOMAIN,
            "NLTK data, package genesis.",
            "corpora/genesis.zip",
            _NLTK + "genesis.zip",
            "0cac241f88d7999f81a45e26b1764b2d1f3b4d21654aa954e0d5349eb4784cd0",
            473239,
        ),
        _resource(
            "inaugural",
            "Inaugural addresses of US presidents, 1789 to 2021, a zip",
            _PUBLIC_DOMAIN,
            "NLTK data, package inaugural.",
            "corpora/inaugural.zip",
            _NLTK + "inaugural.zip",
            "7c5fb5793e31fbeae12bf1aa0ffda5336468f07cedb50654c6d31ca384e2046b",
            346476,
        ),
        _resource(
            "state_union",
            "State of the Union addresses of US presidents, 1945 to 2006, a zip",
            _PUBLIC_DOMAIN,
            "NLTK data, package state_union.",
            "corpora/state_union.zip",
            _NLTK + "state_union.zip",
            "366c1dc82b2abf896f42b2ec50ba802a0141a29f75d29ca48a7a243ce5bfbe8d",
            808757,
        ),
        _resource(
            "anna_karenina",
            "Tolstoy's Anna Karenina in English, plain text",
            _PUBLIC_DOMAIN,
            "Tolstoy, L., Anna Karenina; the copy used by Chien, Zhang & Honey (2021).",
            "corpora/anna_karenina.txt",
            "https://raw.githubusercontent.com/sherrychien/LSTM_timescales/1b47546f2f2727226a6b683b57296614d5386edc/code/data/anna.txt",
            "73034374852b4b09c846100b1d0b13189363626896d2631433e79875e3e4bb50",
            1966135,
        ),
        _resource(
            "tinyshakespeare",
            "One megabyte of Shakespeare's plays, plain text",
            _PUBLIC_DOMAIN,
            "Karpathy, A., char-rnn.",
            "corpora/tinyshakespeare.txt",
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            1115394,
        ),
    )
}


def list_resources() -> list[Resource]:
    """Every norm and corpus with its licence; opens no file."""
    return list(_RESOURCES.values())


def find_resource(name: str, *, download: bool = True) -> Path:
    """The file of a norm or corpus: in $NEUROLM_DATA/<folder>, else in the user's cache, else downloaded into it.

    Raises
    ------
    DatasetNotFound
        If it is in neither place and cannot be downloaded.
    FileError
        If the copy found differs from the published file.
    """
    resource = _RESOURCES[check_choice("resource", name, _RESOURCES)]
    cached = cached_copy(resource.folder) / resource.file
    named = find_copy(resource.folder)
    path = named / resource.file if named is not None and (named / resource.file).is_file() else cached
    if path.is_file():
        if not is_intact(path, resource.pinned):
            raise bad_file(path, "differs from the published file", "Delete it to have it fetched again.")
        return path
    if not resource.url or not download:
        hint = f"Put {resource.file} there ({resource.citation})" if not resource.url else "Allow the download."
        raise DatasetNotFound(f"{name}: not in $NEUROLM_DATA/{resource.folder} nor {cached.parent}. {hint}")
    try:
        return fetch_file(resource.url, resource.pinned, cached)
    except FileError as error:
        raise DatasetNotFound(f"{name}: not in $NEUROLM_DATA/{resource.folder} nor {cached.parent}. {error}") from error


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
