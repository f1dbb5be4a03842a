"""Which rows are fitted and which are held out: whole runs, or contiguous blocks with a gap.

A fold is a pair (train, test) of row indices. BOLD rows that lie close together are not
independent, so folds are never shuffled.
"""

from __future__ import annotations

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

    Examples
    --------
    >>> for train, test in contiguous_blocks(12, 3, gap=1):
    ...     print(train.tolist(), test.tolist())
    [5, 6, 7, 8, 9, 10, 11] [0, 1, 2, 3]
    [0, 1, 2, 9, 10, 11] [4, 5, 6, 7]
    [0, 1, 2, 3, 4, 5, 6] [8, 9, 10, 11]
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


def run_folds(
    run_onsets: Any, n_trs: int, n_folds: int | None = 5, gap: int = 5, *, run_groups: Any = None, rows: Any = None
) -> list[Fold]:
    """Folds over whole runs; runs of one stimulus are held out together. The one home of folds over runs.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of each run.
    n_folds : int, optional
        With more stimuli than folds, neighbouring ones are held out together. None: one fold for each stimulus.
    gap : int
        TRs left out on both sides of a held-out block, where there is only one stimulus: then the same blocks of
        all its runs are held out together.
    run_groups : sequence of int, optional
        The stimulus of each run, as `stimulus_groups` numbers them; by default all differ.
    rows : array of int, optional
        The rows to divide, such as an outer training set; default all.
    """
    run_of_row = _run_of_row(run_onsets, n_trs)
    rows = np.arange(n_trs) if rows is None else np.asarray(rows)
    group_of_row = check_groups(run_groups, int(run_of_row[-1]) + 1)[run_of_row]
    groups = list(dict.fromkeys(group_of_row[rows].tolist()))
    if n_folds is not None and n_folds < 2:
        raise bad("n_folds", "be >= 2", n_folds)
    if len(groups) == 1:
        return _same_blocks(rows, np.asarray(run_onsets)[run_of_row], n_folds or 5, gap)
    parts = np.array_split(np.array(groups), min(n_folds or len(groups), len(groups)))
    held = [np.isin(group_of_row[rows], part) for part in parts]
    return [(rows[~h], rows[h]) for h in held]


def check_groups(run_groups: Any, n_runs: int) -> np.ndarray:
    """(n_runs,) the stimulus of each run; all differ by default."""
    if run_groups is None:
        return np.arange(n_runs)
    groups = np.asarray(run_groups)
    if groups.shape != (n_runs,):
        raise bad("run_groups", f"hold one number for each of the {n_runs} runs", groups)
    return groups


def without_repeats(folds: Sequence[Fold], run_onsets: Any, n_trs: int, run_groups: Any, gap: int = 5) -> list[Fold]:
    """Folds whose training rows leave out what a test row's stimulus gave in another run, `gap` TRs around it."""
    run = _run_of_row(run_onsets, n_trs)
    group = check_groups(run_groups, int(run[-1]) + 1)[run]
    if len(np.unique(group)) == len(np.unique(run)):
        return list(folds)
    at = np.arange(n_trs) - np.asarray(run_onsets)[run]
    kept = []
    for train, test in folds:
        leaks = np.zeros(n_trs, dtype=bool)
        for one in np.unique(run[test]):
            mine = test[run[test] == one]
            others = np.flatnonzero((group == group[mine[0]]) & (run != one))
            place = np.searchsorted(at[mine], at[others])
            nearest = np.minimum(
                np.abs(at[others] - at[mine][np.minimum(place, len(mine) - 1)]),
                np.abs(at[others] - at[mine][np.maximum(place - 1, 0)]),
            )
            leaks[others[nearest <= gap]] = True
        train = train[~leaks[train]]
        if not len(train):
            raise bad("run_groups", "leave rows to fit", "repeats of what is held out only", "Add runs of another story.")
        kept.append((train, test))
    return kept


def _run_of_row(run_onsets: Any, n_trs: int) -> np.ndarray:
    return np.searchsorted(np.asarray(run_onsets), np.arange(n_trs), side="right") - 1


def _same_blocks(rows: np.ndarray, onset_of_row: np.ndarray, n_folds: int, gap: int) -> list[Fold]:
    """`blocks_of_rows` of one stimulus: the same stretch of every run that has it."""
    at = rows - onset_of_row[rows]
    return [(rows[np.isin(at, train)], rows[np.isin(at, test)]) for train, test in blocks_of_rows(np.unique(at), n_folds, gap)]


class LeaveOneRunOut:
    """A scikit-learn splitter that holds out one whole run at a time, with the runs of the same stimulus.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of every run in the stacked matrix; begins with 0 and rises.
    run_groups : sequence of int, optional
        The stimulus of each run; by default all differ.
    """

    def __init__(self, run_onsets: Sequence[int] | np.ndarray, run_groups: Sequence[int] | np.ndarray | None = None) -> None:
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
        self.run_groups = check_groups(run_groups, len(onsets))
        if len(set(self.run_groups.tolist())) < 2:
            hint = "Hold out blocks of time instead: run_folds(run_onsets, n_trs, 5, gap=5, run_groups=run_groups)."
            raise bad("run_groups", "hold at least two stimuli", self.run_groups.tolist(), hint)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:
        """(train, test) for every stimulus of a matrix with len(X) rows."""
        n_trs = len(X)
        if self.run_onsets[-1] >= n_trs:
            raise bad("run_onsets", f"lie below the number of rows, here {n_trs}", self.run_onsets.tolist())
        yield from run_folds(self.run_onsets, n_trs, None, run_groups=self.run_groups)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of stimuli: of runs, where none is repeated."""
        return len(set(self.run_groups.tolist()))

    def __repr__(self) -> str:
        return f"leave_one_run_out({self.run_onsets.tolist()})"


def leave_one_run_out(
    run_onsets: Sequence[int] | np.ndarray, n_trs: int | None = None, run_groups: Sequence[int] | np.ndarray | None = None
) -> Any:
    """Hold out one whole run at a time.

    Parameters
    ----------
    run_onsets : sequence of int
        First row of every run in the stacked matrix; begins with 0 and rises.
    n_trs : int, optional
        Rows of the stacked matrix. Onsets alone do not say where the last run ends, so without
        it the answer is a scikit-learn splitter that makes the pairs when it sees the matrix.
    run_groups : sequence of int, optional
        The stimulus of each run (`neurolm.stimuli.stimulus_groups`): runs of one stimulus are held out together.

    Returns
    -------
    list of (train, test), or a `LeaveOneRunOut` splitter
        Either goes into `RidgeCV(cv=...)`.

    Raises
    ------
    InputError
        With a single run: hold out blocks of it instead.

    Examples
    --------
    >>> import numpy as np
    >>> splitter = leave_one_run_out([0, 3, 5])
    >>> [test.tolist() for _, test in splitter.split(np.zeros((8, 1)))]
    [[0, 1, 2], [3, 4], [5, 6, 7]]
    """
    splitter = LeaveOneRunOut(run_onsets, run_groups)
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
