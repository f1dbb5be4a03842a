"""Sections of a report for what is done beyond encoding: timescales and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurolm.report.decoder_table import DecodedWindow, decoder_data, decoder_table
from neurolm.report.figures import Picture
from neurolm.report.markup import element, interval, number, probability, table
from neurolm.report.page import Section, csv_link, figure
from neurolm.report.timescale_figures import MOST_PANELS, context_curves, timescale_histogram, timescale_map

if TYPE_CHECKING:
    from neurolm.timescales.window_result import WindowResult


def timescale_section(result: WindowResult, regions: Sequence[str], *, name: str = "timescales") -> Section:
    """The window of every region, the curves behind it, and a table; for many voxels how the windows are distributed."""
    pictures = timescale_pictures(result, regions, name=name)
    found = int(np.isfinite(result.index).sum())
    text = (
        f"Estimated by {result.estimator.replace('_', ' ')}. {int(result.valid.sum()):,} of {len(regions):,} regions are predicted "
        f"above chance; in {found:,} of these a window was found. Elsewhere it is n/a."
    )
    rows = (
        (region, number(result.index[i], 1), interval(result.interval[0, i], result.interval[1, i], 1), probability(result.p[i]))
        for i, region in enumerate(regions)
    )
    header = ("Region", f"Window ({result.units})", "95% interval", "p")
    numbers = table(header, rows, caption="The window of each region, with the p value of its prediction.")
    few = len(regions) <= MOST_PANELS
    children = (element("p", text), *(figure(p, n, p.description) for n, p in pictures.items()), numbers if few else None)
    return Section(name, "How much of the past does each region use?", children)


def timescale_pictures(result: WindowResult, regions: Sequence[str], *, name: str = "timescales") -> dict[str, Picture]:
    """The section's figures under their file names."""
    if len(regions) > MOST_PANELS:
        return {f"{name}-histogram": timescale_histogram(result.index, units=result.units)}
    curves = context_curves(result.scales, result.curve, regions, units=result.units, index=result.index, label="score")
    return {
        f"{name}-map": timescale_map(regions, result.index, units=result.units, interval=result.interval),
        f"{name}-curves": curves,
    }


def decoder_section(
    windows: Sequence[DecodedWindow], *, verdict: str, over_time: Picture | None = None, name: str = "decoding"
) -> Section:
    """What was heard beside what was decoded.

    Parameters
    ----------
    windows : sequence of DecodedWindow
    verdict : str
        How good it is against chance, in a sentence.
    over_time : Picture, optional
        See `neurolm.report.decoding_figures.score_over_time`.
    """
    children = (
        element("p", verdict),
        figure(over_time, f"{name}-over-time", over_time.description) if over_time is not None else None,
        decoder_table(windows),
        element("p", csv_link(decoder_data(windows), f"{name}-words"), class_="note"),
    )
    return Section(name, "What could be decoded?", children)
