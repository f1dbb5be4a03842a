"""What a language model remembers: gradients over lags, recall, attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.report.figures import MARKERS, SERIES, SOFT, Picture, new_figure, plain_log_axis, short, style

MOST_CURVES = len(SERIES)


def gradient_norm_by_lag(lags: np.ndarray, norms: Mapping[str, np.ndarray]) -> Picture:
    """How much of a loss's gradient reaches the inputs some steps before, on a logarithmic axis.

    Parameters
    ----------
    lags : array of shape (n_lags,)
        Steps back.
    norms : mapping of str to array of shape (n_lags,)
        One curve per model. Exact zeros have no place on the axis and are left out of the line.
    """
    return _curves(lags, norms, x="lag", y="gradient norm", x_label="steps back", log=True)


def recall_by_lag(
    lags: np.ndarray, accuracy: Mapping[str, np.ndarray], *, chance: float, interval: Mapping[str, np.ndarray] | None = None
) -> Picture:
    """Share of items recalled after some steps, beside chance.

    Parameters
    ----------
    accuracy : mapping of str to array of shape (n_lags,)
    chance : float
    interval : mapping of str to array of shape (2, n_lags), optional
    """
    picture = _curves(lags, accuracy, x="lag", y="accuracy", x_label="steps to remember", chance=chance, interval=interval or {})
    if min(lags) > 0:  # models part at short lags: there the axis needs room
        axes = picture.figure.axes[0]
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(lags, [f"{lag:g}" for lag in lags])
    return picture


def attention_map(weights: np.ndarray, tokens: Sequence[str], *, title: str = "") -> Picture:
    """Who looks at whom: rows are the looking tokens, columns the tokens looked at.

    Parameters
    ----------
    weights : array of shape (n_tokens, n_tokens)
        Rows sum to 1; a token looks at itself and those before it.
    tokens : sequence of str
    """
    weights = np.asarray(weights, dtype=np.float64)
    n = len(tokens)
    if weights.shape != (n, n):
        raise bad("weights", f"have shape ({n}, {n}), one row and column per token", weights.shape)
    hidden = np.triu(np.ones((n, n), dtype=bool), 1) & (weights == 0)
    names = [short(token, 14) for token in tokens]
    with style():
        size = float(np.clip(1.6 + 0.24 * n, 3.2, 9.0))
        figure, axes = new_figure(size + 0.6, size)
        image = axes.imshow(np.where(hidden, np.nan, weights), cmap="Blues", vmin=0, vmax=float(np.nanmax(weights)))
        if n <= 40:
            axes.set_xticks(range(n), names, rotation=90)
            axes.set_yticks(range(n), names)
        axes.tick_params(length=0)
        axes.set(title=title, xlabel="token looked at", ylabel="looking token")
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="attention", shrink=0.7)
    rows, columns = (axis.tolist() for axis in np.nonzero(~hidden))
    data = {
        "query": rows,
        "query_token": [tokens[i] for i in rows],
        "key": columns,
        "key_token": [tokens[j] for j in columns],
        "attention": weights[rows, columns],
    }
    return Picture(figure, data, f"{title + ': ' if title else ''}attention of {n} tokens to the tokens before them.")


def attention_from_one(weights: np.ndarray, tokens: Sequence[str]) -> Picture:
    """What one token looks at, layer by layer and head by head.

    Parameters
    ----------
    weights : array of shape (n_layers, n_heads, n_tokens)
        Attention of the last token to every token.
    tokens : sequence of str, n_tokens
    """
    weights = np.asarray(weights, dtype=np.float64)
    n_layers, n_heads, n_tokens = weights.shape
    if n_tokens != len(tokens):
        raise bad("weights", f"have {len(tokens)} columns, one per token", weights.shape)
    rows = weights.reshape(-1, n_tokens)
    names = [f"layer {layer + 1}, head {head + 1}" for layer in range(n_layers) for head in range(n_heads)]
    with style():
        figure, axes = new_figure(9.6, 1.3 + 0.24 * len(rows))
        image = axes.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(rows)), names)
        shown = range(n_tokens) if n_tokens <= 40 else (0, n_tokens - 1)
        axes.set_xticks(shown, [short(tokens[i], 14) for i in shown])
        axes.tick_params(length=0)
        axes.set(xlabel="token looked at", title=f"what {tokens[-1]!r} looks at")
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="attention")
    data = {"head": np.repeat(names, n_tokens), "token": list(tokens) * len(rows), "attention": rows.reshape(-1)}
    return Picture(figure, data, f"attention of the last of {n_tokens} tokens, from {len(rows)} heads.")


def _curves(
    x_values: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    x: str,
    y: str,
    x_label: str,
    log: bool = False,
    chance: float | None = None,
    interval: Mapping[str, np.ndarray] | None = None,
) -> Picture:
    if not 0 < len(curves) <= MOST_CURVES:
        raise bad("curves", f"be 1 to {MOST_CURVES}", len(curves), "More cannot be distinguished: draw two figures.")
    data: dict[str, Any] = {x: x_values}
    with style():
        figure, axes = new_figure(5.0, 3.3)
        for (name, values), colour, marker in zip(curves.items(), SERIES, MARKERS):
            values = np.asarray(values, dtype=np.float64)
            drawn = np.where(values > 0, values, np.nan) if log else values
            every = max(1, len(values) // 12)
            axes.plot(x_values, drawn, color=colour, marker=marker, ms=4.5, markevery=every, label=name)
            data[name] = values
            if interval and name in interval:
                low, high = interval[name]
                axes.fill_between(x_values, low, high, color=colour, alpha=0.18, lw=0)
                data |= {f"{name}_low": low, f"{name}_high": high}
        if chance is not None:
            axes.axhline(chance, color=SOFT, lw=1, ls="--", label="chance")
            data["chance"] = np.full(len(x_values), chance)
        if log and any((np.asarray(v) > 0).any() for v in curves.values()):
            axes.set_yscale("log")
            plain_log_axis(axes.yaxis)
        axes.set(xlabel=x_label, ylabel=y)
        figure.legend(loc="outside upper left", ncols=3, handlelength=2, columnspacing=1.2)
    return Picture(figure, data, f"{y.capitalize()} by {x} for {', '.join(curves)}.")
