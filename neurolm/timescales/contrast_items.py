"""Items of a contrast: chosen by their ratings, matched on what must not differ, heard alone or in context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurolm.checks import bad, check_finite, check_same_length
from neurolm.stimuli import Transcript
from neurolm.timescales.responder import Responder

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
