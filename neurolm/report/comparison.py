"""A comparison of language models as tables (CSV, Markdown) and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurolm.encoding.model_comparison import ModelComparison, ModelScore
from neurolm.report.figures import FAINT, INK, MARKERS, SERIES, SOFT, Picture, long_table, new_figure, short, style
from neurolm.statistics import written_p

_FROM_BEST = (
    "p: of the difference from the model of the first row, two-sided, corrected for all pairs of the table below (max-T: "
    "against the largest difference of any pair). "
)


def ranked(comparison: ModelComparison) -> list[ModelScore]:
    """The models, best first."""
    return sorted(comparison.models, key=lambda model: -model.score)


def model_table(comparison: ModelComparison) -> dict[str, list[Any]]:
    """A row for each model, best first."""
    models = ranked(comparison)
    return {
        "model": [m.name for m in models],
        "layer": [m.best_layer for m in models],
        "n_layers": [len(m.layers) for m in models],
        "score": [m.score for m in models],
        "low": [m.interval[0] for m in models],
        "high": [m.interval[1] for m in models],
        "p_from_best": [p_from_best(comparison)[m.name] for m in models],
        "r": [float(m.r[:, comparison.used].mean()) for m in models],
        "bits_per_byte": [m.bits_per_byte for m in models],
    }


def pair_table(comparison: ModelComparison) -> dict[str, list[Any]]:
    """A row for each pair of models, the better one first."""
    rows = [
        (p.first, p.second, p.difference, *p.interval, p.p, p.p_corrected)
        if p.difference >= 0
        else (p.second, p.first, -p.difference, -p.interval[1], -p.interval[0], p.p, p.p_corrected)
        for p in comparison.pairs
    ]
    names = ("better", "other", "difference", "low", "high", "p", "p_corrected")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def p_from_best(comparison: ModelComparison) -> dict[str, float]:
    """Corrected p of each model's difference from the first of the table; NaN for that one, and where nothing was tested."""
    best = ranked(comparison)[0].name
    found = {m.name: np.nan for m in comparison.models}
    for pair in comparison.pairs:
        if best in (pair.first, pair.second):
            found[pair.second if pair.first == best else pair.first] = pair.p_corrected
    return found


def region_scores(comparison: ModelComparison, regions: Sequence[str]) -> dict[str, list[Any]]:
    """A row for each model and region: share of the region's ceiling, its interval, r, the ceiling."""
    models = ranked(comparison)
    return long_table(
        ("model", "region"),
        ([m.name for m in models], list(regions)),
        score=np.stack([m.by_voxel for m in models]),
        low=np.stack([m.by_voxel_interval[0] for m in models]),
        high=np.stack([m.by_voxel_interval[1] for m in models]),
        r=np.stack([m.r.mean(0) for m in models]),
        ceiling=np.tile(comparison.ceiling, (len(models), 1)),
    )


def comparison_markdown(
    comparison: ModelComparison, *, title: str = "", text: str = "the stories", left_out: Mapping[str, str] | None = None
) -> str:
    """Both tables with a sentence that says how to read them."""
    lines = [f"# {title}", ""] if title else []
    lines += ["| Model | Layer | Score [95 %] | p | r | Bits per byte |", "|---|---|---|---|---|---|"]
    from_best = p_from_best(comparison)
    for m in ranked(comparison):
        r = m.r[:, comparison.used].mean()
        bits = "" if np.isnan(m.bits_per_byte) else f"{m.bits_per_byte:.2f}"
        p = "" if np.isnan(from_best[m.name]) else written_p(from_best[m.name], comparison.pairs[0].smallest_p)
        lines.append(f"| {m.name} | {m.best_layer} | {_with_interval(m.score, m.interval)} | {p} | {r:.3f} | {bits} |")
    lines += [
        "",
        f"Score: mean held-out correlation of {len(comparison.subjects)} single listeners over {int(comparison.used.sum())} columns, "
        f"divided by their mean noise ceiling ({comparison.ceiling[comparison.used].mean():.3f}). "
        f"{_FROM_BEST if comparison.pairs else ''}"
        "Each fold takes the layer that is best inside its training part; the one named was taken most often. "
        f"Bits per byte of {text}: lower is a better model of the text.",
    ]
    if comparison.pairs:
        lines += ["", "| Better | Other | Difference [95 %] | p | p, all pairs |", "|---|---|---|---|---|"]
        table = pair_table(comparison)
        floor = comparison.pairs[0].smallest_p
        for better, other, difference, low, high, p, corrected in zip(*table.values()):
            ps = f"{written_p(p, floor)} | {written_p(corrected, floor)}"
            lines.append(f"| {better} | {other} | {_with_interval(difference, (low, high))} | {ps} |")
        lines += ["", _how_tested(comparison)]
    for name, reason in (left_out or {}).items():
        lines += ["", f"{name} was left out: {reason}"]
    return "\n".join(lines) + "\n"


def _how_tested(comparison: ModelComparison) -> str:
    if comparison.pairs[0].by == "shifts":
        n = round(1 / comparison.pairs[0].smallest_p) - 1
        how = f"against {n} circular shifts of the BOLD of all listeners by the same lags, every fit repeated"
    else:
        how = "by flipping the signs of listeners, which holds for this stimulus and no other"
    return (
        f"Differences of scores within listeners, their intervals over listeners for this stimulus; p {how}, two-sided; "
        "p, all pairs: corrected by max-T."
    )


def comparison_figure(comparison: ModelComparison, regions: Sequence[str]) -> Picture:
    """Left, every model's score with its interval; right, the score against bits per byte."""
    models = ranked(comparison)
    read = [m for m in models if not np.isnan(m.bits_per_byte)]
    with style():
        figure, axes = new_figure(
            8.2,
            max(2.6, 1.3 + 0.42 * len(models)),
            ncols=2 if read else 1,
            width_ratios=(1.25, 1) if read else None,
            squeeze=False,
        )
        scores = axes[0, 0]
        y = np.arange(len(models), dtype=float)
        for i, model in enumerate(models):
            colour = SERIES[i % len(SERIES)]
            inside = model.by_voxel[comparison.used]
            scores.plot(inside, np.full(len(inside), i), "|", color=colour, ms=7, alpha=0.45)
            scores.hlines(i, *model.interval, color=colour, lw=2.4)
            scores.plot(model.score, i, MARKERS[i % len(MARKERS)], color=colour, ms=7)
        scores.axvline(0, color=SOFT, lw=0.6)
        if max(m.by_voxel[comparison.used].max() for m in models) > 0.85:
            scores.axvline(1, color=INK, lw=1, ls="--")
        scores.set(yticks=y, yticklabels=[short(m.name) for m in models], ylim=(len(models) - 0.5, -0.5))
        scores.set(xlabel="share of the noise ceiling", title="Brain score")
        scores.grid(axis="y", color=FAINT, lw=0.8)
        scores.set_axisbelow(True)
        scores.tick_params(axis="y", length=0)
        if read:
            _draw_against_text(axes[0, 1], models)
    data = model_table(comparison)
    return Picture(
        figure,
        data,
        f"Share of the noise ceiling that {len(models)} models reach, best first, each with its interval over "
        f"{len(comparison.subjects)} listeners and its {len(regions)} columns as ticks; and the same against bits per byte.",
    )


def _draw_against_text(axes: Any, models: Sequence[ModelScore]) -> None:
    """Score over bits per byte; colours and marks as on the left."""
    for i, model in enumerate(models):
        if not np.isnan(model.bits_per_byte):
            colour = SERIES[i % len(SERIES)]
            axes.vlines(model.bits_per_byte, *model.interval, color=colour, lw=2.4)
            axes.plot(model.bits_per_byte, model.score, MARKERS[i % len(MARKERS)], color=colour, ms=7)
    axes.set(xlabel="bits per byte (lower: better at the text)", ylabel="share of the noise ceiling")
    axes.set(title="... against the text")
    axes.invert_xaxis()
    axes.margins(x=0.15)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
