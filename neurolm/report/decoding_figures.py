"""How well text is decoded over time, against what chance reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurolm.checks import check_same_length
from neurolm.report.figures import BLUE, FAINT, ORANGE, SOFT, Picture, new_figure, style


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
            axes.plot(times[above], score[above], "o", color=ORANGE, ms=4, label="above the null, corrected over windows")
            data["is_significant"] = above
        axes.set(xlabel="story time (s)", ylabel="score")  # the legend has its name, which may be long
        axes.margins(x=0.01)
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.6)
    said = (
        f"{int(data['is_significant'].sum())} of {len(times)} windows lie above the null after correction over windows."
        if is_significant is not None
        else ""
    )
    return Picture(figure, data, f"{label} of decoded text over {len(times)} windows. {said}".rstrip())


def identification_ranks(found: Mapping[str, tuple[Sequence[float], np.ndarray]]) -> Picture:
    """How well windows are identified in every listener, beside the null of the group's mean.

    Parameters
    ----------
    found : mapping of str to (ranks, null)
        By way of comparing: the mean percentile rank of each listener, and the group's mean under random
        pairings.
    """
    data: dict[str, Any] = {}
    with style():
        figure, axes = new_figure(6.4, 0.9 + 0.9 * len(found))
        for row, (name, (each, null)) in enumerate(found.items()):
            ranks = np.asarray(each, dtype=np.float64)
            low, high = np.quantile(null, [0.025, 0.975])
            axes.barh(
                row, high - low, left=low, height=0.5, color=FAINT, label="95 % of the null of the mean" if not row else None
            )
            offsets = row + np.linspace(-0.2, 0.2, len(ranks))
            axes.plot(np.sort(ranks), offsets, "o", color=BLUE, ms=3.5, alpha=0.7, label=None if row else "listeners")
            axes.plot([ranks.mean()] * 2, [row - 0.32, row + 0.32], color=ORANGE, lw=2.2, label=None if row else "their mean")
            data[name] = ranks
        axes.axvline(0.5, color=SOFT, lw=0.8, ls=":")
        axes.set(xlabel="mean percentile rank of the window that was heard (chance .5)", yticks=range(len(found)))
        axes.set_yticklabels(list(found))
        axes.invert_yaxis()
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.4)
    said = "; ".join(f"by {name} {np.mean(ranks):.3f}" for name, (ranks, _) in found.items())
    return Picture(figure, data, f"Mean percentile rank over listeners held out: {said}. Chance is .5.")
