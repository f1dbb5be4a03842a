"""Scores of thousands of voxels: how they are distributed, and how they change over layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.report.encoding_figures import best_layers, layer_ticks, pick
from neurolm.report.encoding_report import LayerScores
from neurolm.report.figures import BLUE, INK, ORANGE, SKY, SOFT, Picture, new_figure, style
from neurolm.report.markup import number


def score_histogram(scores: LayerScores, *, fdr: float = 0.05, regions: str = "voxels") -> Picture:
    """How many regions have which held-out correlation at the shown layer, the significant ones in front."""
    r, significant = shown_scores(scores, fdr)
    known = r[np.isfinite(r)]
    low, high = (min(known.min(), 0.0), max(known.max(), 0.1)) if len(known) else (0.0, 1.0)
    edges = np.linspace(low, high, 41)
    counts, above = np.histogram(known, edges)[0], np.histogram(r[significant], edges)[0]
    with style():
        figure, axes = new_figure(5.0, 3.1)
        axes.stairs(counts, edges, fill=True, color=SKY, alpha=0.6, label="all")
        if scores.q is not None or scores.chosen is not None:
            axes.stairs(above, edges, fill=True, color=BLUE, label=f"significant (q < {fdr:g})")
        axes.axvline(0, color=SOFT, lw=0.6)
        axes.set(xlabel="held-out correlation", ylabel=regions)
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.6)
    data = {"from": edges[:-1], "to": edges[1:], "n": counts, "n_significant": above}
    mean = number(known.mean() if len(known) else np.nan)
    text = f"Held-out correlation of {len(known):,} {regions}, mean {mean}; {int(significant.sum()):,} are significant."
    return Picture(figure, data, f"{text} {len(r) - len(known):,} have no score." if len(known) < len(r) else text)


def layer_profile(scores: LayerScores, *, fdr: float = 0.05, regions: str = "voxels") -> Picture:
    """Mean held-out correlation by layer, over all regions and over those that are significant at the shown layer.

    Beside them the middle half of the latter, the mean ceiling, and the upper end of the null.
    """
    x = np.asarray(scores.layers)
    _, significant = shown_scores(scores, fdr)
    curves = {"all": np.ones_like(significant), "significant": significant}
    data: dict[str, Any] = {"layer": x}
    with style():
        figure, axes = new_figure(5.0, 3.1)
        for (name, kept), colour, marker in zip(curves.items(), (SKY, BLUE), "so"):
            if kept.any():
                data[name] = _mean_over(scores.r[:, kept])
                axes.plot(x, data[name], color=colour, marker=marker, ms=4, label=f"{name} {regions}")
        told = significant if significant.any() else np.ones_like(significant)
        data["quarter"], data["three_quarters"] = _quartiles(scores.r[:, told])
        axes.fill_between(
            x, data["quarter"], data["three_quarters"], color=BLUE, alpha=0.15, lw=0, label=f"middle half of {regions}"
        )
        for name, values, dashes in (
            ("ceiling", None if scores.ceiling is None else np.tile(scores.ceiling, (len(x), 1)), (6, 2)),
            ("null, 97.5%", None if scores.null is None else scores.null[1], (3, 1.5)),
        ):
            if values is not None:
                data[name] = _mean_over(values[:, told])
                axes.plot(x, data[name], color=SOFT, lw=1.1, ls=(0, dashes), label=name)
        for baseline, colour in zip(scores.baselines, (ORANGE, INK)):
            value = float(_mean_over(np.asarray(baseline.r)[None, told])[0])
            axes.axhline(value, color=colour, lw=1.2, ls=(0, (1, 1.2)), label=baseline.name)
            data[baseline.name] = np.full(len(x), value)
        axes.axhline(0, color=SOFT, lw=0.6)
        axes.set(xlabel="layer", ylabel="mean held-out correlation")
        axes.set_xticks(layer_ticks(scores.layers))
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.6)
    return Picture(
        figure, data, f"Mean held-out correlation by layer over {int(significant.sum()):,} significant {regions} and over all."
    )


def shown_scores(scores: LayerScores, fdr: float) -> tuple[np.ndarray, np.ndarray]:
    """r at the shown layer of each region, and where it is significant: two arrays of shape (n_regions,)."""
    layers, chosen = best_layers(scores), scores.chosen
    r = pick(scores.r, layers) if chosen is None else np.asarray(chosen.r, dtype=np.float64)
    q = np.asarray(chosen.q) if chosen is not None else np.full(len(r), np.nan) if scores.q is None else pick(scores.q, layers)
    return r, q < fdr


def _quartiles(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and third quartile of each row over the columns that are known in all; NaN where there is none."""
    known = r[:, np.isfinite(r).all(axis=0)]
    if not known.shape[1]:
        return np.full(len(r), np.nan), np.full(len(r), np.nan)
    low, high = np.quantile(known, [0.25, 0.75], axis=1)
    return low, high


def _mean_over(r: np.ndarray) -> np.ndarray:
    """Row means over the columns that are known; NaN where none is."""
    known = np.isfinite(r)
    return np.where(known.any(axis=1), np.where(known, r, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
