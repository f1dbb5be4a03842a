"""A run's whole TR grid, of which the measured rows are a part."""

from __future__ import annotations

from typing import Any

import numpy as np


def whole_grid(tr_times: Any, story_start: float) -> tuple[np.ndarray, int]:
    """Extend a run's TR times back to where its story began.

    What was heard before the first measured row still drives that row through the delays, so
    features are made on the whole grid and unmeasured rows are dropped afterwards.

    Parameters
    ----------
    tr_times : array of shape (n_trs,)
        Seconds on the story's clock, evenly spaced: the rows that were measured.
    story_start : float
        Seconds; the onset of the first word.

    Returns
    -------
    grid : array of shape (n_before + n_trs,)
        The same spacing, beginning at or before `story_start` (or at tr_times[0] if that is earlier).
    n_before : int
        Rows of the grid that were not measured.
    """
    tr_times = np.asarray(tr_times, dtype=np.float64)
    tr = (tr_times[-1] - tr_times[0]) / (len(tr_times) - 1)
    n_before = max(0, int(np.ceil((tr_times[0] - story_start) / tr - 1e-9)))
    before = tr_times[0] - tr * np.arange(n_before, 0, -1)
    return np.concatenate([before, tr_times]), n_before


def story_gaps(word_times: Any, tr_times: Any) -> tuple[float, float]:
    """How far the ends of a story and of its BOLD lie apart.

    Parameters
    ----------
    word_times : array of shape (n_words,)
        The middles of the words (s).
    tr_times : array of shape (n_trs,)

    Returns
    -------
    late, misfit : float
        Seconds by which the first word follows the first row (negative: the story began before), and by which the last
        word lies past the end of the last row (negative: silence at the end).
    """
    word_times, tr_times = np.asarray(word_times, dtype=np.float64), np.asarray(tr_times, dtype=np.float64)
    end = tr_times[-1] + (tr_times[-1] - tr_times[0]) / (len(tr_times) - 1)
    return float(word_times.min() - tr_times[0]), float(word_times.max() - end)
