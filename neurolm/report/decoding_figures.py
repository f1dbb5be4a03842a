"""How well text is decoded over time, against what chance reaches."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.checks import check_same_length
from neurolm.report.figures import BLUE, FAINT, ORANGE, Picture, new_figure, style


def score_over_time(
    times_s: np.ndarray,
    score: np.ndarray,
    *,
    label: str,
    null: np.ndarray | None = None,
    is_significant: np.ndarray | None = None,
) -> Picture:
    """Similarity of decoded and heard text, window by window.

    Parameters
    ----------
    times_s : array of shape (n_windows,)
        Middle of each window on the story's clock.
    score : array of shape (n_windows,)
        Higher is better; NaN where it is not defined.
    label : str
        Name of the score.
    null : array of shape (n_draws, n_windows), optional
        The same score of text decoded from nothing; its middle 95% is drawn.
    is_significant : bool array of shape (n_windows,), optional
        After correction over windows.
    """
    times, score = np.asarray(times_s, dtype=np.float64), np.asarray(score, dtype=np.float64)
    check_same_length("times_s", len(times), "score", len(score))
    data: dict[str, Any] = {"time_s": times, label: score}
    with style():
        figure, axes = new_figure(9.6, 2.8)
        if null is not None:
            low, high = np.quantile(null, [0.025, 0.975], axis=0)
            axes.fill_between(times, low, high, color=FAINT, lw=0, label="null")
            data |= {"null_low": low, "null_high": high}
        axes.plot(times, score, color=BLUE, lw=1.3, label=label)
        if is_significant is not None:
            above = np.asarray(is_significant, dtype=bool)
            axes.plot(times[above], score[above], "o", color=ORANGE, ms=4, label="above chance")
            data["is_significant"] = above
        axes.set(xlabel="story time (s)", ylabel=label)
        axes.margins(x=0.01)
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.6)
    said = f"{int(data['is_significant'].sum())} of {len(times)} windows are above chance." if is_significant is not None else ""
    return Picture(figure, data, f"{label} of decoded text over {len(times)} windows. {said}".rstrip())
