"""Sections of a report for what is done beyond encoding: timescales and decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurolm.report.decoder_table import DecodedWindow, decoder_data, decoder_table
from neurolm.report.figures import Picture
from neurolm.report.markup import element, interval, number, probability, table
from neurolm.report.page import Section, csv_link, figure
from neurolm.report.resolution import could_be_found
from neurolm.report.timescale_figures import MOST_PANELS, context_curves, timescale_histogram, timescale_map
from neurolm.timescales.planted_recovery import SHORTEST

if TYPE_CHECKING:
    from neurolm.timescales.window_result import WindowResult


def timescale_section(
    result: WindowResult,
    regions: Sequence[str],
    *,
    name: str = "timescales",
    title: str = "How much of the past does each region use?",
    intro: str = "",
    score: str = "score",
    window: str = "window",
    scale: str = "context",
    tested: str = "prediction",
    more: Mapping[str, np.ndarray] | None = None,
) -> Section:
    """The window of every region, the curves behind it, and a table; for many voxels how the windows are distributed.

    Parameters
    ----------
    intro : str
        How it was estimated, in a sentence or two.
    score, window, scale : str
        What the curve, the index and the curve's axis are called.
    tested : str
        What p and validity are of.
    more : mapping of str to array of shape (n_regions,), optional
        Further columns of the table.
    """
    pictures = timescale_pictures(result, regions, name=name, score=score, window=window, scale=scale)
    found = int(np.isfinite(result.index).sum())
    text = (
        f"Estimated by {result.estimator.replace('_', ' ')}. In {int(result.valid.sum()):,} of {len(regions):,} regions the "
        f"{tested} is significant; in {found:,} of these a {window} is given. Elsewhere it is n/a."
    )
    told = recovery_sentence(result, window)
    n_null, level = int(result.details.get("n_null", 0)), float(result.details.get("level", 0.05))
    limits = could_be_found(n_null, int(np.isfinite(result.p).sum()), level, "regions")
    smallest = 1 / (1 + n_null) if n_null else 0.0
    more = more or {}
    rows = (
        (
            region,
            number(result.index[i], 1),
            interval(result.interval[0, i], result.interval[1, i], 1),
            probability(result.p[i], smallest),
            *(number(values[i]) for values in more.values()),
        )
        for i, region in enumerate(regions)
    )
    header = ("Region", f"{window.capitalize()} ({result.units})", "95% interval", "p", *more)
    over = result.details.get("interval_over", "blocks of time or words")
    caption = f"The {window} of each region with its interval over {over}, and the p value of its {tested}."
    few = len(regions) <= MOST_PANELS
    children = (
        element("p", intro) if intro else None,
        element("p", f"{text} {limits}".rstrip()),
        element("p", told) if told else None,
        *(element("p", line) for line in _model_lines(result, window)),
        *(figure(p, n, p.description) for n, p in pictures.items()),
        table(header, rows, caption=caption) if few else None,
    )
    return Section(name, title, children)


def recovery_sentence(result: WindowResult, window: str = "window") -> str:
    """What was found of planted windows on the same features, and how many windows are withheld; empty where nothing was planted."""
    recovery = result.details.get("recovery")
    if recovery is None:
        return ""
    rho = np.asarray(result.details["recovery_rho"])[result.valid]
    least, n = recovery["least"], len(recovery["rho"])
    how = (
        f"Planted windows (leaky averages over {SHORTEST:g} to {recovery['longest']:g} words of single words' features, "
        f"{recovery['n_voxels']} simulated voxels at each of {n} strengths, the same words, volumes, features and folds)"
    )
    if not len(rho):
        return f"{how} were estimated too; no {window} was found here, so none is withheld."
    known = rho[np.isfinite(rho)]
    if not len(known):
        return f"{how} were not found at the held-out r of these regions: all {window}s are withheld."
    ends = number(known.min()) if known.min() == known.max() else f"{number(known.min())} to {number(known.max())}"
    lost = recovery["n_withheld"]
    what = f"below {number(least)}, {lost:,} {window}s are withheld" if lost else f"at least {number(least)} is asked for"
    return f"{how} were found with a rank correlation of {ends} at the held-out r of these regions; {what}."


def timescale_pictures(
    result: WindowResult,
    regions: Sequence[str],
    *,
    name: str = "timescales",
    score: str = "score",
    window: str = "window",
    scale: str = "context",
) -> dict[str, Picture]:
    """The section's figures under their file names."""
    if len(regions) > MOST_PANELS:
        return {f"{name}-histogram": timescale_histogram(result.index, units=result.units, label=window)}
    curves = context_curves(
        result.scales,
        result.curve,
        regions,
        units=result.units,
        interval=result.details.get("curve_interval"),
        index=result.index,
        label=score,
        scale=scale,
    )
    picture = timescale_map(
        regions, result.index, units=result.units, interval=result.interval, label=window, models=_model_windows(result)
    )
    return {f"{name}-map": picture, f"{name}-curves": curves}


def _model_windows(result: WindowResult) -> dict[str, np.ndarray]:
    """Those of the language model's units, of which at least half have one."""
    beside = (("units of the language model", result.model), ("of an untrained one", result.untrained))
    return {name: one.index for name, one in beside if one is not None and np.isfinite(one.index).mean() >= 0.5}


def _model_lines(result: WindowResult, window: str) -> list[str]:
    """The language model's own windows, in words."""
    lines = []
    for who, one in (("the language model's", result.model), ("an untrained model's", result.untrained)):
        if one is None:
            continue
        if not one.valid.all():
            lines.append(f"{int(one.valid.sum()):,} of {who} own {len(one.index):,} units gain significantly; none reads ahead.")
            continue
        if not np.isfinite(one.index).any():
            lines.append(f"None of {who} own {len(one.index):,} units has a {window} within the scales asked for.")
            continue
        if len(one.index) == 1:
            lines.append(f"{window.capitalize()} of {who} own single value: {number(one.index[0], 1)} {one.units}.")
            continue
        low, median, high = np.nanquantile(one.index, [0.25, 0.5, 0.75])
        unknown = int((~np.isfinite(one.index)).sum())
        rest = f"; {unknown:,} have none within the scales asked for" if unknown else ""
        lines.append(
            f"Median {window} of {who} own {len(one.index):,} units: {number(median, 1)} {one.units} "
            f"(middle half {number(low, 1)} to {number(high, 1)}){rest}."
        )
    return lines


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
