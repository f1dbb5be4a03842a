"""The page of a contrast of two kinds of items: selectivity by region, alone and in sentences, and the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.report.figures import BLUE, FAINT, ORANGE, SOFT, Picture, long_table, new_figure, short, style
from neurolm.report.markup import details, element, facts, interval, number, probability, table
from neurolm.report.page import Page, Section, csv_link, figure
from neurolm.report.timescale_figures import MOST_PANELS

LABELS = {"alone": "heard alone", "sentences": "inside sentences"}


@dataclass(frozen=True, eq=False)
class ContrastShown:
    """One contrast as the page shows it; every array has one entry for each region.

    interval : (2, n_regions) over drawn stories, or blocks of a run
    listeners_interval : (2, n_regions) over listeners, where there are several
    """

    difference: np.ndarray
    t: np.ndarray
    p: np.ndarray
    p_max: np.ndarray
    q: np.ndarray
    valid: np.ndarray
    interval: np.ndarray
    n_permutations: int
    listeners_interval: np.ndarray | None = None

    @property
    def shown_interval(self) -> np.ndarray:
        return self.interval if self.listeners_interval is None else self.listeners_interval


def contrast_page(
    title: str,
    shown: Mapping[str, Mapping[str, ContrastShown]],
    regions: Mapping[str, Sequence[str]],
    *,
    names: tuple[str, str],
    items: Mapping[str, Sequence[Any]],
    balance: Mapping[str, Sequence[Any]],
    sentences: Sequence[str],
    units: Mapping[str, Mapping[str, float]],
    facts: Mapping[str, str] | None = None,
    warning: str = "",
) -> tuple[Page, dict[str, Picture]]:
    """Selectivity of everyone, the items, and the language model's own units.

    Parameters
    ----------
    shown : mapping of who to mapping of context ("alone", "sentences") to ContrastShown
    regions : mapping of who to names of regions
    names : the two conditions
    items, balance : columns of the tables that were written out
    units : mapping of context to the share of selective units, "trained" and "untrained"
    """
    sections, pictures = [], {}
    for who, by_context in shown.items():
        key = "selectivity" if who == "group" else f"{who}-selectivity"
        pictures[key] = selectivity(by_context, regions[who], names=names)
        heading = f"Which regions prefer {names[0]} or {names[1]} items?"
        sections.append(_selectivity_section(key, heading, by_context, regions[who], pictures[key]))
    sections += [_items_section(names, items, balance, sentences), _units_section(names, units)]
    if facts:
        sections.append(_facts_section(facts))
    page = Page(kind="Contrast", title=title, verdict=_verdict(shown, names), sections=tuple(sections), warning=warning)
    return page, pictures


def selectivity(by_context: Mapping[str, ContrastShown], regions: Sequence[str], *, names: tuple[str, str]) -> Picture:
    """Difference of the conditions by region with intervals; for many voxels the distribution of t."""
    if len(regions) > MOST_PANELS:
        return _many(by_context, names)
    y = np.arange(len(regions))
    with style():
        figure, axes = new_figure(5.6, min(16.0, 1.2 + 0.42 * len(regions)))
        axes.axvline(0, color=SOFT, lw=0.8)
        for i, ((context, one), colour) in enumerate(zip(by_context.items(), (BLUE, ORANGE))):
            place = y + (i - 0.5 * (len(by_context) - 1)) * 0.28
            axes.hlines(place, *one.shown_interval, color=colour, lw=1.6, alpha=0.6)
            found = one.valid & (one.q <= 0.05)
            drawn = {True: (one.difference[found], colour), False: (one.difference[~found], "white")}
            for is_found, (difference, fill) in drawn.items():
                label = LABELS.get(context, context) if is_found == bool(found.any()) else None
                axes.plot(difference, place[found == is_found], "o", color=colour, ms=7, mfc=fill, label=label)
        axes.set(yticks=y, yticklabels=[short(name) for name in regions], ylim=(len(y) - 0.4, -0.6))
        axes.set_xlabel(f"response, {names[0]} minus {names[1]} (SD of BOLD)")
        axes.grid(axis="y", color=FAINT, lw=0.8)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.2)
    stacked = {key: np.stack([getattr(one, key) for one in by_context.values()]) for key in ("difference", "p", "p_max", "q")}
    ends = np.stack([one.shown_interval for one in by_context.values()])
    data = long_table(("context", "region"), (list(by_context), list(regions)), **stacked, low=ends[:, 0], high=ends[:, 1])
    return Picture(
        figure, data, f"Difference of {names[0]} and {names[1]} items in {len(regions)} regions; filled: q at most .05."
    )


def _many(by_context: Mapping[str, ContrastShown], names: tuple[str, str]) -> Picture:
    values = {context: one.t[one.valid & np.isfinite(one.t)] for context, one in by_context.items()}
    widest = max((float(np.abs(t).max()) for t in values.values() if len(t)), default=1.0)
    edges = np.linspace(-widest, widest, 41)
    counts = {context: np.histogram(t, edges)[0] for context, t in values.items()}
    with style():
        figure, axes = new_figure(5.6, 2.8)
        for (context, n), colour in zip(counts.items(), (BLUE, ORANGE)):
            axes.stairs(n, edges, color=colour, lw=1.6, label=LABELS.get(context, context))
        axes.set(xlabel=f"t, {names[0]} minus {names[1]}", ylabel="voxels")
        axes.legend()
    data = {"from": edges[:-1], "to": edges[1:], **counts}
    return Picture(
        figure, data, f"Distribution of t over {max((len(t) for t in values.values()), default=0):,} predicted voxels."
    )


def _selectivity_section(
    key: str, heading: str, by_context: Mapping[str, ContrastShown], regions: Sequence[str], picture: Picture
) -> Section:
    first = next(iter(by_context.values()))
    over = "drawn stories or blocks of a run" if first.listeners_interval is None else "listeners"
    intro = (
        "A fitted encoding model heard the items; its responses are contrasted as in an experiment, with length, frequency and "
        f"surprisal of the items as covariates. p: {first.n_permutations:,} permutations of the items' labels; predictions hold no "
        f"noise of measurement, so that it speaks for items, not for people. Intervals: over {over}."
    )
    smallest = 1 / (1 + first.n_permutations)
    rows = [
        (
            region,
            LABELS.get(context, context),
            number(one.difference[i], 4),
            interval(one.interval[0, i], one.interval[1, i], 4),
            probability(one.p[i], smallest),
            probability(one.p_max[i], smallest),
            probability(one.q[i]),
            "yes" if one.valid[i] else "no",
        )
        for i, region in enumerate(regions)
        for context, one in by_context.items()
    ]
    header = ("Region", "Items", "Difference", "95% over stories", "p", "p, max-T", "q", "Predicted")
    few = len(regions) <= MOST_PANELS
    whole = table(header, rows, caption="Difference of the conditions in each region.", text_columns=(0, 1, 7)) if few else None
    return Section(key, heading, (element("p", intro), figure(picture, key, picture.description), whole))


def _items_section(
    names: tuple[str, str], items: Mapping[str, Sequence[Any]], balance: Mapping[str, Sequence[Any]], sentences: Sequence[str]
) -> Section:
    rows = zip(balance["matched_on"], *([number(v) for v in balance[key]] for key in (*names, "difference_in_sd")))
    matched = table(
        ("Matched on", *names, "Difference (SD)"), rows, caption="Means of the conditions; differences in SD over all candidates."
    )
    columns = list(items)
    cells = (tuple(_cell(items[c][i]) for c in columns) for i in range(len(items["item"])))
    everything = table(columns, cells, caption="Every item.", text_columns=(0, 1, 2))
    heard = element("p", "Sentences: ", "; ".join(f"“{s.replace('{}', '…')}”" for s in sentences), ".")
    return Section(
        "items", "Which items?", (matched, heard, details("All items", everything, is_printed=False), csv_link(items, "items"))
    )


def _units_section(names: tuple[str, str], units: Mapping[str, Mapping[str, float]]) -> Section:
    text = f"Share of the language model's own units that tell {names[0]} from {names[1]} items (q at most the same rate)."
    rows = ((LABELS.get(c, c), number(100 * u["trained"], 1), number(100 * u["untrained"], 1)) for c, u in units.items())
    shares = table(("Items", "Trained (%)", "Untrained (%)"), rows, caption="Selective units of the layer.")
    return Section("units", "And the language model itself?", (element("p", text), shares))


def _facts_section(told: Mapping[str, str]) -> Section:
    return Section("facts", "From what, and how?", (facts(told),))


def _verdict(shown: Mapping[str, Mapping[str, ContrastShown]], names: tuple[str, str]) -> str:
    parts = []
    for who, by_context in shown.items():
        for context, one in by_context.items():
            found = one.valid & (one.q <= 0.05)
            up, down = int((found & (one.difference > 0)).sum()), int((found & (one.difference < 0)).sum())
            whose = "" if who == "group" else f"{who}, "
            told = f"{up:,} of {len(found):,} regions prefer {names[0]} items, {down:,} {names[1]}"
            parts.append(f"{whose}{LABELS.get(context, context)}, {told} (over items, false discovery rate 0.05)")
    return f"{'; '.join(parts)}."[:1].upper() + f"{'; '.join(parts)}."[1:]


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)
