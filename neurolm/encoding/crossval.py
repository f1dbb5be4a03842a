"""Which rows are fitted and which are held out: whole runs, or contiguous blocks with a gap.

A fold is a pair (train, test) of row indices. BOLD rows that lie close together are not
independent, so folds are never shuffled.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad

Fold = tuple[np.ndarray, np.ndarray]


def contiguous_blocks(n_trs: int, n_folds: int, gap: int = 0) -> list[Fold]:
    """Cut one run into contiguous test blocks, each with a gap around it that nobody fits.

    Parameters
    ----------
    n_trs : int
        Rows of the run.
    n_folds : int
        Test blocks; sizes differ by one row at most (the larger ones first, as in KFold).
    gap : int
        TRs dropped from the training rows on each side of the test block. The haemodynamic
        response and the FIR delays carry over about 10 s: 5 TRs of 2 s.

    Returns
    -------
    list of (train, test)
        Row indices, rising.

    Raises
    ------
    InputError
        With fewer rows than folds, or when a gap leaves no training rows.
    """
    _check_whole("n_trs", n_trs, 2)
    return blocks_of_rows(np.arange(n_trs), n_folds, gap)


def blocks_of_rows(rows: Any, n_folds: int, gap: int = 0) -> list[Fold]:
    """`contiguous_blocks` of some rows of a run, such as an outer training set.

    Indices are those of the run; the gap is counted in its TRs, so that rows on both sides of
    a hole (the outer test block) are as far apart as they really are.
    """
    _check_whole("n_folds", n_folds, 2)
    _check_whole("gap", gap, 0)
    rows = np.sort(np.asarray(rows))
    if n_folds > len(rows):
        raise bad("n_folds", f"be at most the number of TRs, here {len(rows)}", n_folds, "Every fold needs a row to test on.")
    folds = []
    for test in np.array_split(rows, n_folds):
        place = np.searchsorted(test, rows)
        to_next = np.abs(test[np.minimum(place, len(test) - 1)] - rows)
        to_previous = np.abs(rows - test[np.maximum(place - 1, 0)])
        train = rows[np.minimum(to_next, to_previous) > gap]
        if not len(train):
            raise bad("gap", "leave rows to train on", gap, f"There are {len(rows)} TRs in {n_folds} folds.")
        folds.append((train, test))
    return folds


class LeaveOneRunOut:
    """A scikit-learn splitter that holds out one whole run at a time.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of every run in the stacked matrix; begins with 0 and rises.
    """

    def __init__(self, run_onsets: Sequence[int] | np.ndarray) -> None:
        onsets = np.asarray(run_onsets).reshape(-1)
        if len(onsets) < 2:
            raise bad(
                "run_onsets",
                "hold at least two runs",
                onsets.tolist(),
                "With one run hold out blocks of it: contiguous_blocks(n_trs, 5, gap=5).",
            )
        if onsets[0] != 0 or (np.diff(onsets) <= 0).any() or not np.array_equal(onsets, onsets.astype(int)):
            raise bad("run_onsets", "be whole numbers that begin with 0 and rise", onsets.tolist())
        self.run_onsets = onsets.astype(int)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:
        """(train, test) for every run of a matrix with len(X) rows."""
        n_trs = len(X)
        if self.run_onsets[-1] >= n_trs:
            raise bad("run_onsets", f"lie below the number of rows, here {n_trs}", self.run_onsets.tolist())
        edges = np.append(self.run_onsets, n_trs)
        rows = np.arange(n_trs)
        for start, stop in itertools.pairwise(edges):
            yield np.delete(rows, slice(start, stop)), rows[start:stop]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of runs."""
        return len(self.run_onsets)

    def __repr__(self) -> str:
        return f"leave_one_run_out({self.run_onsets.tolist()})"


def leave_one_run_out(run_onsets: Sequence[int] | np.ndarray, n_trs: int | None = None) -> Any:
    """Hold out one whole run at a time.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of every run in the stacked matrix; begins with 0 and rises.
    n_trs : int, optional
        Rows of the stacked matrix. Onsets alone do not say where the last run ends, so without
        it the answer is a scikit-learn splitter that makes the pairs when it sees the matrix.

    Returns
    -------
    list of (train, test), or a `LeaveOneRunOut` splitter
        Either goes into `RidgeCV(cv=...)`.

    Raises
    ------
    InputError
        With a single run: hold out blocks of it instead.
    """
    splitter = LeaveOneRunOut(run_onsets)
    return splitter if n_trs is None else list(splitter.split(range(n_trs)))


def resolve_folds(cv: Any, X: Any, Y: Any = None) -> list[Fold]:
    """What `cv` says, as checked (train, test) pairs of rising row indices.

    Parameters
    ----------
    cv : int, scikit-learn splitter, or iterable of (train, test)
        An int means contiguous, unshuffled folds.
    X, Y : arrays of n_trs rows

    Raises
    ------
    InputError
        If a row is named twice, lies outside, or is both fitted and held out.
    """
    n_trs = X.shape[0]
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        return contiguous_blocks(n_trs, int(cv))
    if hasattr(cv, "split") and not isinstance(cv, str):
        pairs = list(cv.split(X, Y))
    elif hasattr(cv, "__iter__") and not isinstance(cv, str):
        pairs = list(cv)
    else:
        raise bad("cv", "be an int, a scikit-learn splitter or (train, test) pairs", cv)
    if not pairs:
        raise bad("cv", "hold at least one fold", cv)
    return [_check_fold(pair, n_trs) for pair in pairs]


def _check_fold(pair: Any, n_trs: int) -> Fold:
    try:
        train, test = (_rows(part, n_trs) for part in pair)
    except (TypeError, ValueError) as error:
        raise bad("cv", "hold pairs (train, test) of row indices", pair, str(error)) from None
    if np.intersect1d(train, test).size:
        raise bad("cv", "hold folds whose test rows are not fitted", "rows in both train and test")
    return train, test


def _rows(part: Any, n_trs: int) -> np.ndarray:
    rows = np.asarray(part)
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or not rows.size or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError("Each is a one-dimensional array of whole numbers, at least one.")
    unique = np.unique(rows)
    if unique[0] < 0 or unique[-1] >= n_trs or len(unique) != len(rows):
        raise ValueError(f"Rows lie in [0, {n_trs}) and are named once.")
    return unique


def _check_whole(argument: str, value: Any, at_least: int) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < at_least:
        raise bad(argument, f"be a whole number >= {at_least}", value)
