"""Do the words and the BOLD belong together? Pictures to look at before any result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neurolm.report.alignment import LagCurve, StoryAlignment
from neurolm.report.figures import BLUE, FAINT, INK, ORANGE, SKY, SOFT, Picture, long_table, new_figure, short, style


def word_rate_above_bold(story: StoryAlignment) -> Picture:
    """Words per TR above the mean BOLD with its standard deviation, on the story's clock."""
    times, mean = story.tr_times, np.asarray(story.bold_mean, dtype=np.float64)
    sd = np.zeros_like(mean) if story.bold_sd is None else np.asarray(story.bold_sd, dtype=np.float64)
    with style():
        figure, (top, bottom) = new_figure(9.6, 3.3, nrows=2, sharex=True, height_ratios=(1, 1.5))
        top.stairs(story.word_rate, [*times, times[-1] + story.tr], fill=True, color=SKY, edgecolor="none")
        top.set(ylabel="words per TR")
        bottom.fill_between(times, mean - sd, mean + sd, color=FAINT, lw=0)
        bottom.plot(times, mean, color=INK, lw=1.1)
        bottom.axhline(0, color=SOFT, lw=0.6)
        bottom.set(ylabel="BOLD (z)", xlabel="story time (s)", xlim=story.measured_s)
        figure.align_ylabels()
    data = {"time_s": times, "words_per_tr": story.word_rate, "bold_mean": mean, "bold_sd": sd}
    return Picture(
        figure,
        data,
        f"{story.story}: words per TR (mean {np.mean(story.word_rate):.1f}) above the mean BOLD with one standard "
        f"deviation, {len(times)} rows from {times[0]:g} s.",
    )


def run_spans(stories: Sequence[StoryAlignment]) -> Picture:
    """Where speech and measured rows begin and end, run by run."""
    with style():
        figure, axes = new_figure(9.6, 0.8 + 0.6 * len(stories))
        for i, story in enumerate(stories):
            for (begin, end), colour, offset, name in (
                (story.speech_s, SKY, -0.2, f"words: {story.n_words:,}"),
                (story.measured_s, SOFT, 0.2, f"BOLD: {len(story.tr_times):,} rows"),
            ):
                axes.barh(i + offset, end - begin, 0.32, begin, color=colour)
                axes.annotate(name, (end, i + offset), (6, 0), textcoords="offset points", va="center", fontsize=9.5)
        end = max(max(story.speech_s[1], story.measured_s[1]) for story in stories)
        begin = min(min(story.speech_s[0], story.measured_s[0], 0.0) for story in stories)
        axes.set(yticks=range(len(stories)), yticklabels=[short(s.story) for s in stories], xlabel="story time (s)")
        axes.set(xlim=(begin, end + 0.2 * (end - begin)), ylim=(len(stories) - 0.5, -0.5))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    data = {
        "story": [s.story for s in stories],
        "first_word_s": [s.speech_s[0] for s in stories],
        "last_word_s": [s.speech_s[1] for s in stories],
        "first_row_s": [s.measured_s[0] for s in stories],
        "last_row_end_s": [s.measured_s[1] for s in stories],
        "n_rows": [len(s.tr_times) for s in stories],
        "n_words": [s.n_words for s in stories],
        "n_words_before": [s.n_words_before for s in stories],
        "n_words_after": [s.n_words_after for s in stories],
    }
    return Picture(figure, data, "Bars of the seconds with words and of the seconds with measured rows of BOLD, for each run.")


def lag_curve(lags: LagCurve, *, story: str = "") -> Picture:
    """Correlation of word rate with BOLD at each lag, with its null band."""
    with style():
        figure, axes = new_figure(4.8, 3.1)
        axes.axvspan(*lags.expected_s, color=FAINT, lw=0, label="expected")
        if np.isfinite(lags.null_95):
            axes.axhline(lags.null_95, color=SOFT, lw=1, ls="--", label="95% of shifted BOLD below")
        axes.plot(lags.lags_s, lags.r, color=BLUE, marker="o", ms=3)
        if np.isfinite(lags.best_lag_s):
            axes.plot(lags.best_lag_s, np.nanmax(lags.r), "o", color=ORANGE, ms=6, label=f"best: {lags.best_lag_s:g} s")
        axes.axhline(0, color=SOFT, lw=0.6)
        axes.set(xlabel="lag of BOLD behind the words (s)", ylabel="correlation")
        axes.margins(x=0.02, y=0.12)
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.6, columnspacing=1.2)
    data = {"lag_s": lags.lags_s, "r": lags.r, "null_95": np.full(len(lags.r), lags.null_95)}
    return Picture(
        figure,
        data,
        f"{story + ': ' if story else ''}correlation of word rate with BOLD by lag; the largest value lies at {lags.best_lag_s:g} s.",
    )


def lag_of_each_run(runs: Mapping[str, LagCurve], *, story: str = "", n_columns: int = 6) -> Picture:
    """A small lag curve for each subject's run: one that peaks elsewhere than the others is seen at once."""
    n_rows = -(-len(runs) // n_columns)
    known = np.concatenate([lags.r[np.isfinite(lags.r)] for lags in runs.values()] + [np.zeros(1)])
    with style():
        figure, grid = new_figure(9.6, 0.8 + 1.1 * n_rows, nrows=n_rows, ncols=n_columns, sharex=True, sharey=True, squeeze=False)
        for axes, (subject, lags) in zip(grid.flat, runs.items(), strict=False):
            is_clear = lags.p < 0.05
            axes.axvspan(*lags.expected_s, color=FAINT, lw=0)
            axes.axhline(0, color=SOFT, lw=0.6)
            axes.plot(lags.lags_s, lags.r, color=BLUE if is_clear else SOFT, lw=1.2, ls="-" if is_clear else ":")
            best = f" {lags.best_lag_s:g} s" if is_clear else ""
            axes.set_title(f"{short(subject, 12)}{best}", fontsize=9, fontweight="normal")
        for axes in grid.flat[len(runs) :]:
            axes.set_visible(False)
        grid[0, 0].set(ylim=(known.min() - 0.05, known.max() + 0.05))
        figure.supxlabel("lag of BOLD behind the words (s)", fontsize=10)
        figure.supylabel("correlation", fontsize=10)
    first = next(iter(runs.values()))
    curves = np.array([lags.r for lags in runs.values()])
    data = long_table(
        ("run", "lag_s"), (list(runs), list(first.lags_s)), r=curves, p=np.array([lags.p for lags in runs.values()])[:, None]
    )
    clear = sum(lags.p < 0.05 for lags in runs.values())
    said = f"correlation of word rate with the BOLD of each of {len(runs)} runs by lag; {clear} have a clear peak (solid)."
    return Picture(figure, data, f"{story + ': ' if story else ''}{said}")
