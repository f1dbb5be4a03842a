"""Candidates for a contrast from a table of ratings, with what they must be matched on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolm.checks import bad, bad_file, check_choice
from neurolm.features import FeatureSpace, Norms
from neurolm.letters import count_letters, plain_spelling
from neurolm.progress import Progress, silent
from neurolm.stimuli.text_file import read_annotation
from neurolm.tables import check_unique, first_named
from neurolm.timescales.contrast_items import item_responses
from neurolm.timescales.responder import UnitResponder

COVARIATES = ("letters", "log10 frequency", "surprisal")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Words or phrases with a rating and how frequent they are.

    items : tuple of str
    ratings : (n_items,)
    frequency : (n_items,) log10 of 1 + occurrences; zeros where the table has no such column
    """

    items: tuple[str, ...]
    ratings: np.ndarray
    frequency: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Candidates:
        return Candidates(tuple(self.items[i] for i in index), self.ratings[index], self.frequency[index])


def read_candidates(
    path: str | Path,
    rating: str,
    frequency: str = "",
    *,
    kind: str = "words",
    only: Mapping[str, Sequence[str]] | None = None,
    least_frequency: float = 0,
) -> Candidates:
    """Items of a table of norms, in its order.

    Parameters
    ----------
    path : path
        Text with a header line, columns separated by tabs, commas or semicolons; items in the first column.
    rating, frequency : str
        Columns; frequency counts occurrences and may be missing.
    kind : {"words", "phrases"}
        Items without, or with, a space in them.
    only : mapping of column to values
        Rows with other values are left out, for example {"Dom_Pos": ["Noun"]}.
    least_frequency : float
        Rarer words are left out; phrases have no count in most tables and stay.
    """
    check_choice("kind", kind, ("words", "phrases"))
    table = Norms(path, [rating, frequency] if frequency else [rating]).table
    rows = [plain_spelling(word).strip() for word in _rows_with(Path(path), only or {})]
    kept = [w for w in rows if w in table and (" " in w) == (kind == "phrases")]
    values = np.array([table[word] for word in kept]).reshape(len(kept), 2 if frequency else 1)
    counts = values[:, 1] if frequency else np.zeros(len(kept))
    common = np.flatnonzero((counts >= least_frequency) | (kind == "phrases") | (not frequency))
    if not len(common):
        raise bad_file(path, f"holds no {kind} that are asked for", "Ask for rarer words, or other rows.")
    everything = Candidates(tuple(kept), values[:, 0], np.log10(1 + counts))
    return everything[common]


def extremes(candidates: Candidates, n_candidates: int, share: float, rng: np.random.Generator) -> Candidates:
    """So many candidates drawn at random, and of them the highest and lowest `share` by rating."""
    drawn = candidates[np.sort(rng.permutation(len(candidates.items))[:n_candidates])]
    n_side = int(len(drawn.items) * share)
    if n_side < 3:
        raise bad("candidates", f"leave at least 3 on each side with a share of {share:g}", len(drawn.items),
                  "Ask for more candidates, or rarer words.")  # fmt: skip
    order = np.argsort(drawn.ratings, kind="stable")
    return drawn[np.concatenate([order[:n_side], order[-n_side:]])]


def covariates_of(
    candidates: Candidates, surprisal: FeatureSpace, sentences: Sequence[str], progress: Progress = silent
) -> np.ndarray:
    """What conditions are matched on, (n_items, 3): letters, log10 frequency, surprisal by word in the sentences.

    Parameters
    ----------
    surprisal : FeatureSpace
        `Surprisal(lm, context)`: its first column counts.
    sentences : sequence of str
        Each with "{}" where the item comes.
    """
    responder = UnitResponder(surprisal)
    found = []
    for i, sentence in enumerate(sentences):
        found.append(item_responses(responder, candidates.items, sentence)[:, 0])
        progress(i + 1, len(sentences), "sentences")
    letters = [count_letters(item) for item in candidates.items]
    return np.column_stack([letters, candidates.frequency, np.mean(found, axis=0)]).astype(np.float64)


def _rows_with(path: Path, only: Mapping[str, Sequence[str]]) -> list[str]:
    """Cells of the first column that has a name, of the rows that have these values."""
    lines = read_annotation(path, "Give a table with a header line.").splitlines()
    rows = csv.DictReader(lines, delimiter=max("\t,;", key=lines[0].count))
    names = check_unique(list(rows.fieldnames or []), path)
    for column in only:
        if column not in names:
            raise bad_file(path, f"has no column {column!r}, only {', '.join(names)}")
    return [row[first_named(names)] for row in rows if all(row[column] in values for column, values in only.items())]
