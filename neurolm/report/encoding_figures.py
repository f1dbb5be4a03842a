"""How well each layer predicts each region: curves, dots, listeners, penalties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.report.encoding_report import ChosenAlphas, LayerScores
from neurolm.report.figures import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SOFT,
    Picture,
    long_table,
    new_figure,
    power,
    short,
    style,
)
from neurolm.report.markup import Markup, element, number

_PANEL = {"left": 0.19, "right": 0.985, "bottom": 0.21, "top": 0.89}
_KEY_MARKS = {
    "s": '<rect x="20" y="3" width="8" height="8" fill="{}"/>',
    "D": '<path d="M24 2l5 5-5 5-5-5z" fill="{}"/>',
    "^": '<path d="M24 2l5 9h-10z" fill="{}"/>',
}
_BASELINES = ((ORANGE, "s"), (PURPLE, "D"), (GREEN, "^"))


def best_layers(scores: LayerScores) -> np.ndarray:
    """(n_regions,) position in `scores.layers` of the layer to show: the chosen one, else the best; -1 for none."""
    if scores.chosen is not None:
        position = {layer: i for i, layer in enumerate(scores.layers)}
        return np.array([position.get(int(layer), -1) if np.isfinite(layer) else -1 for layer in scores.chosen.layer])
    r = np.asarray(scores.r, dtype=np.float64)
    known = ~np.isnan(r).all(axis=0)
    return np.where(known, np.where(np.isnan(r), -np.inf, r).argmax(axis=0), -1)


def pick(values: Any, layers: np.ndarray) -> np.ndarray:
    """values (..., n_layers, n_regions) at one layer per region; NaN where the layer is -1."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(layers >= 0, values[..., layers, np.arange(len(layers))], np.nan)


def score_limits(scores: Sequence[LayerScores]) -> tuple[float, float]:
    """One vertical range for panels that are compared: everything drawn, and zero."""
    drawn = [np.zeros(1)]
    for score in scores:
        arrays = [score.r, score.interval, score.null, score.ceiling, *(b.r for b in score.baselines)]
        drawn += [np.ravel(np.asarray(a, dtype=np.float64)) for a in arrays if a is not None]
    values = np.concatenate(drawn)
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.06 * max(high - low, 0.1)
    return float(low - margin if low < 0 else -margin / 2), float(high + margin)


def layer_curves(scores: LayerScores, regions: Sequence[str], *, n_columns: int = 3) -> Picture:
    """The curve of every region in one figure, for papers; see `layer_curve`."""
    n_rows = -(-len(regions) // n_columns)
    with style():
        figure, grid = new_figure(3.1 * n_columns, 2.35 * n_rows + 0.3, nrows=n_rows, ncols=n_columns, squeeze=False)
        limits = score_limits([scores])
        for i, axes in enumerate(grid.flat):
            if i < len(regions):
                _draw_layer_curve(axes, scores, i, short(regions[i]), limits)
            else:
                axes.set_visible(False)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), handlelength=1.6)
    return Picture(figure, curve_table(scores, regions), f"Held-out correlation by layer for {len(regions)} regions.")


def layer_curve(scores: LayerScores, regions: Sequence[str], region: int, limits: tuple[float, float]) -> Picture:
    """Held-out correlation of each layer in one region, with interval, ceiling, null band and baselines."""
    with style():
        figure, axes = new_figure(3.2, 2.3, margins=_PANEL)
        _draw_layer_curve(axes, scores, region, short(regions[region]), limits)
    table = curve_table(scores, regions)
    mine = [name == regions[region] for name in table["region"]]
    data = {name: [v for v, keep in zip(column, mine, strict=True) if keep] for name, column in table.items()}
    layer = int(best_layers(scores)[region])
    peak = f"layer {scores.layers[layer]} at r = {number(scores.r[layer, region])}" if layer >= 0 else "none"
    return Picture(figure, data, f"{regions[region]}: held-out correlation by layer; shown in the table: {peak}.")


def _draw_layer_curve(axes: Any, scores: LayerScores, region: int, name: str, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    x = np.asarray(scores.layers, dtype=float)
    mark: dict[str, Any] = {"marker": "o", "ms": 3} if len(x) <= 40 else {}
    if scores.null is not None:
        low, high = _widened(x, scores.null[:, :, region])
        axes.fill_between(low[0], low[1], high[1], color=FAINT, lw=0, label="null")
    if scores.interval is not None:
        low, high = _widened(x, scores.interval[:, :, region])
        axes.fill_between(low[0], low[1], high[1], color=BLUE, alpha=0.2, lw=0, label="interval")
    axes.plot(x, scores.r[:, region], color=BLUE, label="language model", **mark)
    shown = best_layers(scores)[region]
    if shown >= 0:
        axes.plot(x[shown], scores.r[shown, region], "o", color=BLUE, ms=7, mfc="white", mew=1.8)
    if scores.ceiling is not None:
        axes.axhline(scores.ceiling[region], color=INK, lw=1, ls="--", label="noise ceiling")
    for baseline, (colour, marker) in zip(scores.baselines, _BASELINES):
        axes.axhline(baseline.r[region], color=colour, lw=1.2, ls=(0, (1, 1.2)), label=short(baseline.name))
        axes.plot(x[-1], baseline.r[region], marker, color=colour, ms=4, clip_on=False)
    axes.axhline(0, color=SOFT, lw=0.6)
    axes.set(title=name, xlabel="layer", ylabel="correlation", ylim=limits)
    axes.set_xticks(layer_ticks(scores.layers))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def curve_key(scores: LayerScores) -> Markup:
    """What the lines of `layer_curve` are, as HTML: the panels themselves carry no legend."""
    line = '<line x1="0" y1="7" x2="26" y2="7" stroke="{}" stroke-width="2"{}/>'
    entries = [("language model", line.format(BLUE, "") + f'<circle cx="13" cy="7" r="3.5" fill="{BLUE}"/>')]
    if scores.interval is not None:
        entries.append(("interval", f'<rect width="26" height="14" fill="{BLUE}" opacity=".2"/>'))
    if scores.ceiling is not None:
        entries.append(("noise ceiling", line.format(INK, ' stroke-dasharray="6 3"')))
    if scores.null is not None:
        entries.append(("null", f'<rect width="26" height="14" fill="{FAINT}"/>'))
    for (colour, marker), baseline in zip(_BASELINES, scores.baselines):
        entries.append((baseline.name, line.format(colour, ' stroke-dasharray="2 2"') + _KEY_MARKS[marker].format(colour)))
    items = (
        element("li", Markup(f'<svg width="28" height="14" aria-hidden="true">{mark}</svg>'), element("span", name))
        for name, mark in entries
    )
    return element("ul", *items, class_="key", aria_label="Key")


def _widened(x: np.ndarray, band: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A band that can be seen with a single layer too."""
    if len(x) == 1:
        x, band = x[0] + np.array([-0.3, 0.3]), np.repeat(band, 2, axis=1)
    return (x, band[0]), (x, band[1])


def layer_ticks(layers: Sequence[int], n_most: int = 7) -> list[int]:
    """First, last and round layers between: never more than about `n_most`."""
    if len(layers) <= n_most:
        return list(layers)
    step = next(s for s in (2, 5, 10, 20, 50, 100) if (layers[-1] - layers[0]) / s <= n_most - 1)
    return [layer for layer in layers if layer % step == 0]


def layer_map(scores: LayerScores, regions: Sequence[str]) -> Picture:
    """Regions by layers as colours, where there are too many regions for a curve each."""
    r = np.asarray(scores.r, dtype=np.float64).T
    bound = float(np.nanmax(np.abs(r), initial=0.05))
    with style():
        figure, axes = new_figure(8.2, min(14.0, 1.3 + 0.19 * len(regions)))
        image = axes.imshow(r, aspect="auto", cmap="cividis", vmin=min(0.0, float(np.nanmin(r, initial=0))), vmax=bound)
        axes.set(xlabel="layer", yticks=[])
        if len(regions) <= 70:
            axes.set_yticks(range(len(regions)), [short(r) for r in regions])
        ticks = layer_ticks(scores.layers)
        axes.set_xticks([scores.layers.index(t) for t in ticks], [str(t) for t in ticks])
        axes.tick_params(length=0)
        figure.colorbar(image, ax=axes, label="held-out correlation", shrink=0.6)
    return Picture(figure, curve_table(scores, regions), f"Held-out correlation of {len(regions)} regions by layer, as colours.")


def region_summary(scores: LayerScores, regions: Sequence[str]) -> Picture:
    """One row per region: the shown layer's r with interval, ceiling, null band and baselines."""
    layers = best_layers(scores)
    chosen = scores.chosen
    r = np.asarray(chosen.r, dtype=float) if chosen is not None else pick(scores.r, layers)
    whole = chosen.interval if chosen is not None else None if scores.interval is None else pick(scores.interval, layers)
    y = np.arange(len(regions), dtype=float)
    data: dict[str, Any] = {"region": list(regions), "layer": [scores.layers[i] if i >= 0 else "n/a" for i in layers], "r": r}
    with style():
        figure, axes = new_figure(5.0, 1.5 + 0.36 * len(regions))
        if scores.null is not None:
            low, high = pick(scores.null, layers)
            axes.barh(y, high - low, 0.62, low, color=FAINT, label="null")
            data |= {"null_low": low, "null_high": high}
        for (colour, marker), baseline in zip(_BASELINES, scores.baselines):
            axes.plot(baseline.r, y, marker, color=colour, ms=5, label=short(baseline.name))
            data[baseline.name.replace(" ", "_")] = baseline.r
        if whole is not None:
            axes.hlines(y, whole[0], whole[1], color=BLUE, lw=2, label="interval")
            data |= {"r_low": whole[0], "r_high": whole[1]}
        axes.plot(r, y, "o", color=BLUE, ms=7, label="language model")
        if scores.ceiling is not None:
            axes.plot(scores.ceiling, y, "|", color=INK, ms=14, mew=1.6, label="noise ceiling")
            data["ceiling"] = scores.ceiling
        axes.axvline(0, color=SOFT, lw=0.6)
        axes.margins(x=0.04)
        axes.set(
            yticks=y, yticklabels=[short(r) for r in regions], xlabel="held-out correlation", ylim=(len(regions) - 0.4, -0.6)
        )
        axes.grid(axis="y", color=FAINT, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.4, columnspacing=1.2)
    return Picture(figure, data, f"Held-out correlation of {len(regions)} regions beside ceiling, null and baselines.")


def listener_strip(
    values: np.ndarray, listeners: Sequence[str], regions: Sequence[str], *, ceiling: np.ndarray | None = None
) -> Picture:
    """Every listener a dot per region, with their mean and the ceiling of a single listener.

    Parameters
    ----------
    values : array of shape (n_subjects, n_regions)
    ceiling : array of shape (n_regions,), optional
    """
    n_subjects, x = len(values), np.arange(len(regions))
    spread = np.linspace(-0.26, 0.26, n_subjects) if n_subjects > 1 else np.zeros(1)
    with style():
        figure, axes = new_figure(max(4.8, 1.0 + 0.66 * len(regions)), 3.3)
        for i in x:
            order = np.argsort(values[:, i], kind="stable")
            axes.plot(i + spread, values[order, i], "o", color=BLUE, ms=3.5, alpha=0.75, mew=0, label=None if i else "a listener")
        axes.hlines(_mean(values), x - 0.34, x + 0.34, color=INK, lw=2, label="their mean")
        if ceiling is not None:
            axes.hlines(ceiling, x - 0.34, x + 0.34, color=INK, lw=1, ls="--", label="noise ceiling")
        axes.axhline(0, color=SOFT, lw=0.6)
        axes.set(
            xticks=x, xticklabels=[short(r, 20 if len(regions) == 1 else 12) for r in regions], ylabel="held-out correlation"
        )
        axes.margins(x=0.02 if len(regions) > 1 else 0.4)
        axes.tick_params(axis="x", length=0)
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.6)
    data = long_table(("listener", "region"), (listeners, regions), r=values)
    return Picture(figure, data, f"Held-out correlation of each of {n_subjects} listeners in each region.")


def alpha_histogram(alphas: ChosenAlphas) -> Picture:
    """How often each penalty of the grid was chosen."""
    counts = alpha_counts(alphas)
    with style():
        figure, axes = new_figure(4.8, 2.3)
        edge = [ORANGE if i in (0, len(counts) - 1) else BLUE for i in range(len(counts))]
        axes.bar(range(len(counts)), counts / max(counts.sum(), 1) * 100, 0.82, color=edge)
        shown = range(0, len(counts), max(1, -(-len(counts) // 6)))
        axes.set_xticks(list(shown), [power(alphas.grid[i]) for i in shown])
        axes.set(xlabel="alpha (orange: ends of the grid)", ylabel="chosen (%)")
    return Picture(figure, {"alpha": alphas.grid, "times_chosen": counts}, "How often each ridge penalty was chosen.")


def alpha_counts(alphas: ChosenAlphas) -> np.ndarray:
    """(n_alphas,) how often each value of the grid was chosen; values off the grid are not counted."""
    grid = np.asarray(alphas.grid, dtype=np.float64)
    chosen = np.ravel(np.asarray(alphas.chosen, dtype=np.float64))
    values, times = np.unique(chosen[np.isfinite(chosen)], return_counts=True)
    return (np.isclose(values[:, None], grid[None, :], rtol=1e-4, atol=0) * times[:, None]).sum(axis=0)


def curve_table(scores: LayerScores, regions: Sequence[str]) -> dict[str, list[Any]]:
    """Every number of the layer curves: a row per layer and region."""
    ends: dict[str, Any] = {}
    for name, pair in (("interval", scores.interval), ("null", scores.null)):
        if pair is not None:
            ends |= {f"{name}_low": pair[0], f"{name}_high": pair[1]}
    baselines = {baseline.name.replace(" ", "_"): baseline.r for baseline in scores.baselines}
    fixed = {"r": scores.r, **ends, "p": scores.p, "q": scores.q, "ceiling": scores.ceiling}
    return long_table(("layer", "region"), (scores.layers, regions), **fixed, **baselines)


def _mean(values: np.ndarray) -> np.ndarray:
    """Column means over those that are known; NaN where none is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
