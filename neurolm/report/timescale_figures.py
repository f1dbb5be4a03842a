"""How much past a region uses: curves over context, and the window of every region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.report.figures import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PURPLE,
    SOFT,
    Picture,
    long_table,
    new_figure,
    plain_log_axis,
    short,
    style,
)
from neurolm.report.markup import number

MOST_PANELS = 48


def context_curves(
    scales: np.ndarray,
    curve: np.ndarray,
    regions: Sequence[str],
    *,
    units: str,
    interval: np.ndarray | None = None,
    null: np.ndarray | None = None,
    index: np.ndarray | None = None,
    label: str = "held-out correlation",
    scale: str = "context",
    n_columns: int = 3,
) -> Picture:
    """A curve over context lengths for each region, with the window that was read from it.

    Parameters
    ----------
    scales : array of shape (n_scales,)
        Context lengths, lags or block sizes, rising, in `units`. Drawn on a logarithmic axis when positive.
    curve : array of shape (n_scales, n_regions)
    interval, null : array of shape (2, n_scales, n_regions), optional
    index : array of shape (n_regions,), optional
        The window of each region in `units`, NaN where there is none.
    label, scale : str
        What the curve and its axis are.
    """
    if len(regions) > MOST_PANELS:
        raise bad("regions", f"be at most {MOST_PANELS}", len(regions), "Draw a choice of regions, or a timescale_map of all.")
    n_columns = min(n_columns, len(regions))
    n_rows = -(-len(regions) // n_columns)
    with style():
        figure, grid = new_figure(
            3.1 * n_columns, 2.3 * n_rows + 0.3, nrows=n_rows, ncols=n_columns, squeeze=False, sharey=True, sharex=True
        )
        for i, axes in enumerate(grid.flat):
            if i >= len(regions):
                axes.set_visible(False)
                continue
            for band, colour, name in ((null, FAINT, "null"), (interval, BLUE, "interval")):
                if band is not None:
                    alpha = 0.2 if colour == BLUE else 1.0
                    axes.fill_between(scales, band[0][:, i], band[1][:, i], color=colour, alpha=alpha, lw=0, label=name)
            axes.plot(scales, curve[:, i], "o-", color=BLUE, ms=3.5, label=label)
            if index is not None and np.isfinite(index[i]):
                axes.axvline(index[i], color=ORANGE, lw=1.4, ls="--", label="window")
            axes.set_title(short(regions[i]))
            if np.min(scales) > 0 and len(scales) > 1:
                axes.set_xscale("log", base=2)
                axes.set_xticks(*_ticks(scales))
                axes.minorticks_off()
        for axes in grid[:, 0]:
            axes.set_ylabel(label)
        for axes in grid.flat[max(0, len(regions) - n_columns) : len(regions)]:
            axes.set_xlabel(f"{scale} ({units})")
            axes.tick_params(labelbottom=True)
        _shared_legend(figure, grid.flat)
    ends: dict[str, Any] = {}
    for name, pair in (("interval", interval), ("null", null)):
        if pair is not None:
            ends |= {f"{name}_low": pair[0], f"{name}_high": pair[1]}
    column = f"{scale.replace(' ', '_')}_{units}"
    data = long_table((column, "region"), (list(scales), regions), value=curve, **ends, window=index)
    return Picture(figure, data, f"{label} by {scale} for {len(regions)} regions.")


def timescale_map(
    regions: Sequence[str],
    index: np.ndarray,
    *,
    units: str,
    interval: np.ndarray | None = None,
    label: str = "window",
    models: Mapping[str, np.ndarray] | None = None,
) -> Picture:
    """The window of every region on one logarithmic axis, shortest first; regions without one are named last.

    Parameters
    ----------
    index : array of shape (n_regions,)
        In `units`, above zero; NaN where nothing was found.
    interval : array of shape (2, n_regions), optional
    models : mapping of str to array, optional
        Windows of the units of language models, drawn behind: the middle half of the units, and the median.
    """
    index = np.asarray(index, dtype=np.float64)
    if (index <= 0).any():
        raise bad("index", "be above zero or NaN", float(np.nanmin(index)))
    order = np.argsort(np.where(np.isnan(index), np.inf, index), kind="stable")
    y = np.arange(len(order))
    with style():
        figure, axes = new_figure(5.0, min(16.0, (1.2 if models else 0.9) + 0.3 * len(order)))
        known = np.isfinite(index[order])
        quartiles = {n: np.nanquantile(w, [0.25, 0.5, 0.75]) for n, w in (models or {}).items() if np.isfinite(w).any()}
        for (name, (low, median, high)), colour in zip(quartiles.items(), (GREEN, PURPLE)):
            axes.axvspan(low, high, color=colour, alpha=0.12, lw=0)
            axes.axvline(median, color=colour, lw=1.4, ls="--", label=name)
        if quartiles:
            figure.legend(loc="outside upper left", ncols=len(quartiles), handlelength=1.6)
        if interval is not None:
            low, high = (np.asarray(end)[order][known] for end in interval)
            axes.hlines(y[known], low, high, color=SOFT, lw=1.6)
        axes.plot(index[order][known], y[known], "o", color=BLUE, ms=7)
        for row in y[~known]:
            axes.annotate(
                "n/a", (0, row), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center", color=SOFT,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        axes.set(
            yticks=y, yticklabels=[short(regions[i]) for i in order], ylim=(len(order) - 0.4, -0.6), xlabel=f"{label} ({units})"
        )
        if known.any() or quartiles:
            axes.set_xscale("log")
            plain_log_axis(axes.xaxis, subs=(1.0, 2.0, 5.0))
        else:
            axes.set_xticks([])
        axes.grid(axis="y", color=FAINT, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    data: dict[str, Any] = {"region": list(regions), f"{label}_{units}": index}
    if interval is not None:
        data |= {"low": interval[0], "high": interval[1]}
    for name, (low, median, high) in quartiles.items():
        data |= {f"{name}, {q}": [value] * len(order) for q, value in (("25%", low), ("median", median), ("75%", high))}
    known_names = [regions[i] for i in order if np.isfinite(index[i])]
    ends = (
        f"from {known_names[0]}, {number(np.nanmin(index), 1)}, to {known_names[-1]}, {number(np.nanmax(index), 1)} {units}"
        if known_names
        else "none was found"
    )
    return Picture(figure, data, f"{label.capitalize()} of {len(regions)} regions: {ends}.")


def timescale_histogram(index: np.ndarray, *, units: str, label: str = "window") -> Picture:
    """How many voxels have which window, on a logarithmic axis; those without one are counted in the description."""
    index = np.asarray(index, dtype=np.float64)
    known = index[np.isfinite(index)]
    if (known <= 0).any():
        raise bad("index", "be above zero or NaN", float(known.min()))
    edges = (
        np.geomspace(known.min(), known.max() * (1 + 1e-9), 25)
        if len(np.unique(known)) > 1
        else np.array([0.5, 2.0]) * max(known, default=1.0)
    )
    counts = np.histogram(known, edges)[0]
    with style():
        figure, axes = new_figure(5.0, 2.8)
        axes.stairs(counts, edges, fill=True, color=BLUE)
        axes.set_xscale("log")
        plain_log_axis(axes.xaxis, subs=(1.0, 2.0, 5.0))
        axes.set(xlabel=f"{label} ({units})", ylabel="voxels")
    text = f"{label.capitalize()} of {len(known):,} voxels" + (
        f", median {number(np.median(known), 1)} {units}" if len(known) else ""
    )
    data = {"from": edges[:-1], "to": edges[1:], "n_voxels": counts}
    return Picture(figure, data, f"{text}; {len(index) - len(known):,} have none.")


def _ticks(scales: np.ndarray, n_most: int = 6) -> tuple[list[float], list[str]]:
    """Some of the scales for a logarithmic axis: evenly picked, those in equal steps (lags) evenly by their logarithm."""
    picked = np.arange(0, len(scales), -(-len(scales) // n_most))
    if len(scales) > n_most and np.allclose(np.diff(scales), scales[1] - scales[0]):
        wanted = np.geomspace(scales[0], scales[-1], n_most)
        picked = np.unique(np.abs(scales[:, None] - wanted).argmin(axis=0))
    shown = [float(scales[i]) for i in picked]
    return shown, [f"{s:.3g}" for s in shown]


def _shared_legend(figure: Any, axes: Any) -> None:
    """One legend for panels in which not every mark occurs."""
    entries: dict[str, Any] = {}
    for one in axes:
        entries |= dict(reversed(pair) for pair in zip(*one.get_legend_handles_labels()))
    figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=len(entries), handlelength=1.6)
