"""Word vectors that know no context, from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad_file, check_file
from neurolm.features.feature_space import Features
from neurolm.features.word_values import MissingRule, look_up, lookup_forms, word_features
from neurolm.letters import plain_spelling
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import file_hash


class StaticEmbeddings:
    """A vector for every word, wherever it stands.

    Parameters
    ----------
    path : path
        Text as word2vec and GloVe write it (a word and its numbers per line, with or without a
        first line of two counts), or .npz with arrays `words` and `vectors`. Only the words that a
        story needs are kept in memory. Pickled arrays are refused.
    missing : "error", "mean" or number
        For words that the file lacks; see `MissingRule`.

    References
    ----------
    Mikolov et al. (2013), Efficient estimation of word representations in vector space.
    Pennington, Socher and Manning (2014), GloVe: global vectors for word representation, EMNLP.
    """

    def __init__(self, path: str | Path, missing: str | float = "error") -> None:
        self.path = check_file(path, "Give a file of word vectors.")
        self.missing = MissingRule(missing)

    def extract(self, transcript: Transcript) -> Features:
        wanted = {form for word in transcript.words for form in lookup_forms(word)}
        vectors, mean = _read_vectors(self.path, wanted, self.missing.rule == "mean")
        rows = look_up(transcript.words, vectors.get)
        values = self.missing.fill(rows, lambda: mean, transcript.words, self.path.name)
        names = [f"embedding_{i}" for i in range(values.shape[1])]
        n_missing = sum(row is None for row in rows)
        return word_features(values, transcript, names, "static_embeddings", self.settings(), n_missing)

    def settings(self) -> dict[str, Any]:
        return {"kind": "static_embeddings", "file": file_hash(self.path), "missing": self.missing.rule}


def _read_vectors(path: Path, wanted: set[str], with_mean: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The vectors of these words, and the mean over all words of the file (zeros if it is not asked for)."""
    read = _read_npz if path.suffix == ".npz" else _read_text
    kept: dict[str, np.ndarray] = {}
    total, n_rows = np.zeros(1), 0
    for word, vector in read(path, None if with_mean else wanted):
        if (spelling := plain_spelling(word)) in wanted:
            kept.setdefault(spelling, vector)
        total = total + vector
        n_rows += 1
    return kept, total / max(n_rows, 1) * with_mean


def _read_text(path: Path, wanted: set[str] | None) -> Iterator[tuple[str, np.ndarray]]:
    """Words and vectors; only those wanted are turned into numbers. The first line gives the width."""
    width = 0
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            parts = line.rstrip("\n ").split(" ")
            if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                continue  # "400000 300": how many words of how many numbers
            width = width or len(parts) - 1
            word = " ".join(parts[: len(parts) - width])  # may hold spaces: "new york"
            if wanted is None or plain_spelling(word) in wanted or not word:
                yield word, _vector(path, number, parts, width)
    if width == 0:
        raise bad_file(path, "holds no word vectors")


def _vector(path: Path, line: int, parts: Sequence[str], width: int) -> np.ndarray:
    try:
        vector = np.array([float(part) for part in parts[len(parts) - width :]], dtype=np.float32)
    except ValueError:
        vector = np.empty(0, dtype=np.float32)
    if width < 1 or len(parts) <= width or len(vector) != width or not np.isfinite(vector).all():
        raise bad_file(path, f"has no word followed by {width} numbers", "Each line is a word and its vector.", line=line)
    return vector


def _read_npz(path: Path, wanted: set[str] | None) -> Iterator[tuple[str, np.ndarray]]:
    words = _array(path, "words", lambda a: a.ndim == 1 and a.dtype.kind == "U")
    vectors = _array(path, "vectors", lambda a: a.ndim == 2 and a.dtype.kind == "f")
    if len(words) != len(vectors) or not len(words):
        raise bad_file(path, f"has {len(words)} words and {len(vectors)} vectors")
    if not np.isfinite(vectors).all():
        raise bad_file(path, "holds NaN or infinity")
    for word, vector in zip(words.tolist(), vectors):
        if wanted is None or plain_spelling(word) in wanted:
            yield word, vector


def _array(path: Path, name: str, is_right: Callable[[np.ndarray], bool]) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            array = np.asarray(file[name])
    except KeyError:
        raise bad_file(path, f"lacks the array {name!r}", "It needs `words` (text) and `vectors` (numbers).") from None
    except (OSError, ValueError) as error:
        raise bad_file(
            path, f"cannot be read ({error})", "Save words as text and vectors as numbers; nothing is unpickled."
        ) from None
    if not is_right(array):
        raise bad_file(
            path, f"has {name} of type {array.dtype} and shape {array.shape}", "words is (n,) text, vectors (n, width)."
        )
    return array
