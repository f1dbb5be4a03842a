"""What an encoding model learned: responses over delays, and what each band of features explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.report.figures import BLUE, INK, MARKERS, SERIES, SKY, SOFT, Picture, long_table, new_figure, short, style


def haemodynamic_response(delays: Sequence[int], response: np.ndarray, regions: Sequence[str], *, tr: float) -> Picture:
    """The response to a feature over its delays: each region's own curve, or all in grey with their median.

    Parameters
    ----------
    delays : sequence of int
        TRs, rising.
    response : array of shape (n_delays, n_regions)
        Weight of the feature (or of a direction in feature space) at each delay.
    tr : float
        Seconds.
    """
    response = np.asarray(response, dtype=np.float64)
    if response.shape != (len(delays), len(regions)):
        raise bad("response", f"have shape ({len(delays)}, {len(regions)})", response.shape)
    seconds = np.asarray(delays) * tr
    with style():
        figure, axes = new_figure(5.0, 3.2)
        if len(regions) <= len(SERIES):
            for i, (colour, marker) in enumerate(zip(SERIES[: len(regions)], MARKERS)):
                axes.plot(seconds, response[:, i], color=colour, marker=marker, ms=4.5, label=short(regions[i]))
        else:
            known = response[:, np.isfinite(response).all(axis=0)]
            axes.plot(seconds, known, color=SOFT, lw=0.6, alpha=0.35)
            if known.size:
                axes.plot(
                    seconds,
                    np.median(known, axis=1),
                    color=BLUE,
                    lw=2.4,
                    marker="o",
                    label=f"median of {known.shape[1]:,} regions",
                )
        axes.axhline(0, color=SOFT, lw=0.6)
        axes.set(xlabel="seconds after the word", ylabel="weight", xticks=seconds)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=3, handlelength=2, columnspacing=1.2)
    data = long_table(("delay_s", "region"), (list(seconds), regions), weight=response)
    return Picture(figure, data, f"Weights of {len(regions)} regions at delays of {', '.join(f'{s:g}' for s in seconds)} s.")


def parts_scatter(
    first: np.ndarray, second: np.ndarray, regions: Sequence[str], *, labels: tuple[str, str], quantity: str = "unique R²"
) -> Picture:
    """What two bands of features explain in every region or voxel, against each other.

    Parameters
    ----------
    first, second : array of shape (n_regions,)
        NaN where nothing was measured; those are not drawn, and counted in the description.
    labels : (str, str)
        Names of the two bands.
    """
    first, second = (np.asarray(a, dtype=np.float64) for a in (first, second))
    known = np.isfinite(first) & np.isfinite(second)
    drawn = np.concatenate([first[known], second[known], [0.0]])
    margin = 0.06 * max(float(np.ptp(drawn)), 1e-6)
    limits = (drawn.min() - margin, drawn.max() + margin)
    few = len(regions) <= 20
    with style():
        figure, axes = new_figure(4.4, 4.2)
        axes.plot(limits, limits, color=SOFT, lw=0.8, ls="--")
        axes.axhline(0, color=SOFT, lw=0.6)
        axes.axvline(0, color=SOFT, lw=0.6)
        style_: dict[str, Any] = {"ms": 6} if few else {"ms": 2.5, "alpha": 0.4, "mew": 0, "rasterized": len(regions) > 2000}
        axes.plot(first[known], second[known], "o", color=BLUE if few else SKY, **style_)
        if few:
            for i in np.flatnonzero(known).tolist():
                axes.annotate(short(regions[i]), (first[i], second[i]), (5, 4), textcoords="offset points", fontsize=9, color=INK)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set(xlabel=f"{labels[0]}, {quantity}", ylabel=f"{labels[1]}, {quantity}")
    above = int((second > first)[known].sum())
    text = f"{quantity} of {labels[1]} is above that of {labels[0]} in {above:,} of {int(known.sum()):,} regions."
    names = [f"{label.replace(' ', '_')}" for label in labels]
    missing = f" {int((~known).sum()):,} have no value." if not known.all() else ""
    return Picture(figure, {"region": list(regions), names[0]: first, names[1]: second}, text + missing)
