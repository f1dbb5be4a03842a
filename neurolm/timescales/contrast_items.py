"""Items of a contrast: chosen by their ratings, matched on what must not differ, heard alone or in context."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolm.checks import bad, bad_file, check_choice, check_finite, check_same_length
from neurolm.features import FeatureSpace, Norms
from neurolm.letters import count_letters, plain_spelling
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript
from neurolm.stimuli.text_file import read_annotation
from neurolm.tables import check_unique, first_named
from neurolm.timescales.responder import Responder, UnitResponder

WORD_S = 0.4  # duration of a word; word-rate responses do not depend on it


@dataclass(frozen=True, eq=False)
class MatchedItems:
    """Two lists of items that differ in a rating and not in the covariates.

    first, second : tuple of str
        High and low; second[i] is the partner of first[i].
    ratings : array of shape (2, n_pairs)
    covariates : array of shape (2, n_pairs, n_covariates)
    balance : array of shape (n_covariates,)
        Difference of the means in standard deviations over all candidates: near 0 where matching worked.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    ratings: np.ndarray
    covariates: np.ndarray
    balance: np.ndarray


def match_items(
    items: Sequence[str], ratings: np.ndarray, covariates: np.ndarray, n_pairs: int, *, share: float = 0.25
) -> MatchedItems:
    """Pair items from the top of a rating with items from its bottom that are alike otherwise.

    Parameters
    ----------
    items : sequence of str
        Candidates, words or phrases, such as those that the Brysbaert norms rate.
    ratings : array of shape (n_items,)
        Concreteness, or any other.
    covariates : array of shape (n_items, n_covariates)
        Length, log frequency, surprisal: compared in standard deviations.
    n_pairs : int
    share : float
        Of the candidates that count as top, and as bottom.

    Returns
    -------
    MatchedItems
        Nearest pairs first, each item in one pair; look at `balance` and ask for fewer pairs, or
        give more candidates, where it is not near 0.
    """
    ratings, covariates = np.asarray(ratings, dtype=np.float64), np.asarray(covariates, dtype=np.float64)
    check_same_length("items", len(items), "ratings", len(ratings))
    check_same_length("items", len(items), "covariates", len(covariates))
    check_finite("ratings", ratings, "Leave out items without a rating.")
    check_finite("covariates", covariates, "Leave out items whose covariates are not known.")
    if not 0 < share <= 0.5:
        raise bad("share", "lie in (0, 0.5]", share)
    n_side = int(len(items) * share)
    if not 1 <= n_pairs <= n_side:
        raise bad("n_pairs", f"lie in 1..{n_side}, the items of each side", n_pairs, "Give more candidates or a larger share.")
    order = np.argsort(ratings, kind="stable")
    low, high = order[:n_side], order[-n_side:]
    spread = covariates.std(0)
    z = (covariates - covariates.mean(0)) / np.where(spread > 0, spread, 1)
    distance = np.linalg.norm(z[high][:, None] - z[low][None], axis=2)
    rows, columns = _nearest_pairs(distance, n_pairs)
    first, second = high[rows], low[columns]
    return MatchedItems(
        tuple(items[i] for i in first),
        tuple(items[i] for i in second),
        np.stack([ratings[first], ratings[second]]),
        np.stack([covariates[first], covariates[second]]),
        z[first].mean(0) - z[second].mean(0),
    )


def _nearest_pairs(distance: np.ndarray, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the smallest distances, no row and no column twice."""
    left, chosen = distance.copy(), []
    for _ in range(n_pairs):
        row, column = np.unravel_index(left.argmin(), left.shape)
        left[row], left[:, column] = np.inf, np.inf
        chosen.append((row, column))
    rows, columns = np.array(chosen).T
    return rows, columns


def item_responses(responder: Responder, items: Sequence[str], context: str = "{}") -> np.ndarray:
    """Mean word-rate response over the words of each item: (n_items, n_voxels).

    Parameters
    ----------
    responder : Responder
    items : sequence of str
        Words or phrases.
    context : str
        "{}" hears each item alone; "He thought about {} and left." inside this sentence.

    Raises
    ------
    InputError
        If the context has no place, or more than one, for the item.
    """
    if context.count("{}") != 1:
        raise bad("context", 'hold "{}" once, where the item comes', context)
    before, after = (part.split() for part in context.split("{}"))
    rows = []
    for item in items:
        words = item.split()
        if not words:
            raise bad("items", "hold at least one word each", item)
        story = _evenly_timed([*before, *words, *after], item)
        rows.append(responder.respond(story)[len(before) : len(before) + len(words)].mean(0))
    return np.stack(rows)


def _evenly_timed(words: Sequence[str], name: str) -> Transcript:
    onsets = WORD_S * np.arange(len(words))
    return Transcript(tuple(words), onsets, onsets + WORD_S, name=name)


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
