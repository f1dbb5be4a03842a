"""What the units of a gated language model remember: timescales, the memory of a bank, and ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neurolm.report.figures import MARKERS, SERIES, SOFT, Picture, long_table, new_figure, plain_log_axis, style


def sorted_timescales(found: Sequence[np.ndarray], given: Sequence[Any]) -> Picture:
    """Timescale of every unit, layer by layer, shortest first; dashed: what it was given.

    Parameters
    ----------
    found : one array of tokens per layer
    given : one array per layer, or None for a layer whose gates are free
    """
    data: dict[str, list[Any]] = {"layer": [], "rank": [], "timescale_tokens": [], "given_tokens": []}
    with style():
        figure, axes = new_figure(5.0, 3.3)
        for number, (own, scheme, colour) in enumerate(zip(found, given, SERIES), start=1):
            share = (np.arange(len(own)) + 0.5) / len(own)
            axes.plot(share, np.sort(own), color=colour, label=f"layer {number}")
            if scheme is not None:
                axes.plot(share, np.sort(scheme), color=colour, ls="--", lw=1.0)
            data["layer"] += [number] * len(own)
            data["rank"] += [*range(1, len(own) + 1)]
            data["timescale_tokens"] += np.sort(own).tolist()
            data["given_tokens"] += [np.nan] * len(own) if scheme is None else np.sort(scheme).tolist()
        axes.set_yscale("log")
        plain_log_axis(axes.yaxis)
        axes.set(xlabel="units, shortest timescale first (share)", ylabel="timescale (tokens)")
        axes.legend()
    medians = ", ".join(f"layer {i} {np.median(own):.1f}" for i, own in enumerate(found, start=1))
    return Picture(figure, data, f"Timescales of units by layer; medians in tokens: {medians}. Dashed: given before training.")


def memory_curve(lags: np.ndarray, memory: np.ndarray, expected: np.ndarray, *, slope: float) -> Picture:
    """Mean memory of a bank by lag on two logarithmic axes, beside the power law that it is meant to follow."""
    with style():
        figure, axes = new_figure(5.0, 3.3)
        axes.plot(lags, memory, color=SERIES[0], label="mean over units")
        axes.plot(lags, expected, color=SOFT, ls="--", label="power law")
        axes.set(xscale="log", yscale="log", xlabel="lag (tokens)", ylabel="memory left")
        plain_log_axis(axes.xaxis)
        plain_log_axis(axes.yaxis, subs=(1.0, 2.0, 5.0))
        axes.legend()
    data = {"lag_tokens": lags, "memory": memory, "power_law": expected}
    return Picture(figure, data, f"Memory of the bank by lag, slope {slope:.2f} on logarithmic axes.")


def ablation_curves(timescales: np.ndarray, bins: Sequence[str], ratio: np.ndarray, interval: np.ndarray) -> Picture:
    """Perplexity without a group of units over perplexity with all, by the group's timescale, for each bin of word counts.

    Parameters
    ----------
    timescales : (n_groups,) tokens
    ratio : (n_groups, n_bins); interval : (2, n_groups, n_bins)
    """
    with style():
        figure, axes = new_figure(5.4, 3.5)
        axes.axhline(1, color=SOFT, lw=0.8)
        for i, (name, colour, marker) in enumerate(zip(bins, SERIES, MARKERS)):
            if np.isfinite(ratio[:, i]).any():
                axes.plot(timescales, ratio[:, i], color=colour, marker=marker, ms=4.5, label=name)
                axes.fill_between(timescales, interval[0][:, i], interval[1][:, i], color=colour, alpha=0.15, lw=0)
        axes.set_xscale("log")
        plain_log_axis(axes.xaxis)
        axes.set(xlabel="timescale of the silenced units (tokens)", ylabel="perplexity, without / with")
        axes.legend(title="count in training")
    ends = {"low": interval[0], "high": interval[1]}
    data = long_table(("timescale_tokens", "count_in_training"), (timescales.tolist(), bins), perplexity_ratio=ratio, **ends)
    return Picture(figure, data, f"Perplexity ratio when units are silenced in {len(timescales)} groups of like timescale.")
