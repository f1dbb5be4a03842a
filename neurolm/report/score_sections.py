"""The results of an encoding analysis: regions, layers, listeners, penalties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurolm.report.baseline_tests import compared, listener_differences
from neurolm.report.content_tests import beyond_sentence, beyond_table, content_sentence, content_table
from neurolm.report.encoding_figures import (
    alpha_histogram,
    best_layers,
    curve_key,
    curve_table,
    layer_curve,
    layer_curves,
    layer_map,
    listener_strip,
    pick,
    region_summary,
    score_limits,
)
from neurolm.report.encoding_report import Baseline, EncodingReport, LayerScores
from neurolm.report.figures import Picture
from neurolm.report.markup import MISSING, Markup, details, element, facts, interval, join, number, probability, table
from neurolm.report.page import Section, figure, light_list, panels, paragraphs
from neurolm.report.verdict import Shown, lights, shown
from neurolm.report.voxel_figures import layer_profile, score_histogram

MOST_CURVES = 24  # more regions than this are drawn as one map of colours
MOST_MAPPED = 120  # more rows than this cannot be distinguished in that map
MOST_ROWS = 400  # more than this are voxels: distributions instead of tables


def result_sections(report: EncodingReport) -> list[Section]:
    """Scores, listeners and penalties."""
    return [Section("results", "How well is BOLD predicted?", _results(report)), *_listeners(report), *_penalties(report)]


def score_pictures(report: EncodingReport) -> dict[str, Picture]:
    """The figures under their file names, many-panelled ones as one figure."""
    pictures: dict[str, Picture] = {}
    n_regions = len(report.regions)
    for i, scores in enumerate(report.scores, 1):
        pictures[f"regions-{i}"] = _overview(report, scores)
        if n_regions > MOST_MAPPED:
            pictures[f"layers-{i}"] = layer_profile(scores, fdr=report.methods.fdr, regions=report.columns)
        else:
            pictures[f"layers-{i}"] = (layer_map if n_regions > MOST_CURVES else layer_curves)(scores, report.regions)
    if report.listeners is not None:
        pictures["listeners"] = _listener_picture(report)
    if report.alphas is not None:
        pictures["alphas"] = alpha_histogram(report.alphas)
    return pictures


def _overview(report: EncodingReport, scores: LayerScores) -> Picture:
    """A row per region; for many a distribution."""
    if len(report.regions) > MOST_CURVES:
        return score_histogram(scores, fdr=report.methods.fdr, regions=report.columns)
    return region_summary(scores, report.regions)


def _results(report: EncodingReport) -> tuple[Markup | None, ...]:
    baselines = {b.name: b.description for scores in report.scores for b in scores.baselines if b.description}
    return (
        *(join(_scores(report, scores, i)) for i, scores in enumerate(report.scores)),
        element("h3", "What the baselines are") if baselines else None,
        facts(baselines) if baselines else None,
    )


def _scores(report: EncodingReport, scores: LayerScores, i: int) -> Iterator[Markup | None]:
    n_regions = len(report.regions)
    yield element("h3", _heading(scores.who))
    yield figure(_overview(report, scores), f"regions-{i + 1}", _summary_caption(report, scores))
    if n_regions <= MOST_ROWS:
        numbers = _score_table(report, scores)
        yield numbers if n_regions <= MOST_CURVES else details(f"All {n_regions} {report.columns}", numbers)
    yield paragraphs(beyond_sentence(report, scores), content_sentence(scores, report.columns, report.methods.fdr))
    if n_regions <= MOST_CURVES:
        yield beyond_table(report, scores)
        yield content_table(report, scores)
    if len(scores.layers) < 2:
        return
    if n_regions > MOST_MAPPED:
        picture = layer_profile(scores, fdr=report.methods.fdr, regions=report.columns)
        yield figure(picture, f"layers-{i + 1}", _curve_caption(report, scores, ring=False))
    elif n_regions > MOST_CURVES:
        picture = layer_map(scores, report.regions)
        yield figure(picture, f"layers-{i + 1}", _curve_caption(report, scores, ring=False))
    else:
        limits = score_limits([scores])
        curves = [layer_curve(scores, report.regions, r, limits) for r in range(n_regions)]
        caption, data = _curve_caption(report, scores), curve_table(scores, report.regions)
        yield panels(curves, f"layers-{i + 1}", caption, data, curve_key(scores))


def _heading(who: str) -> str:
    return who if who.startswith("sub-") else who[:1].upper() + who[1:]


def _summary_caption(report: EncodingReport, scores: LayerScores) -> str:
    where = "named in the table" if len(report.regions) <= MOST_ROWS else "chosen for each"
    parts = [f"Correlation of predicted with held-out BOLD of {scores.whose}, at the layer {where}."]
    if scores.ceiling_name:
        parts.append(f"Ceiling: {scores.ceiling_name}.")
    if scores.interval is not None and (scores.interval_name or report.methods.interval):
        parts.append(f"Interval: {scores.interval_name or report.methods.interval}.")
    return " ".join(parts)


def _curve_caption(report: EncodingReport, scores: LayerScores, *, ring: bool = True) -> str:
    parts = ["Held-out correlation by layer (0 = embeddings)."]
    n_null = scores.n_null or report.methods.n_null
    if ring:
        parts.append("The ring marks the layer of the table.")
        if scores.null is not None:
            parts.append(f"Grey band: the null{f' ({n_null:,} draws)' if n_null else ''}.")
    return " ".join(parts)


def _score_table(report: EncodingReport, scores: LayerScores) -> Markup:
    now = shown(scores)
    ceiling = np.full(len(report.regions), np.nan) if scores.ceiling is None else scores.ceiling
    smallest = 1 / (1 + scores.n_null) if scores.n_null else 0.0
    named = [name for b in scores.baselines for name in _baseline_header(b)]
    header = ("Region", "Layer", "r", "Interval", "Ceiling", "r / ceiling", "p", "q", *named)
    rows = (
        (
            region,
            now.layer(scores, j),
            number(now.r[j]),
            interval(now.low[j], now.high[j]),
            number(ceiling[j]),
            _share(now, j),
            probability(now.p[j], smallest),
            probability(now.q[j]),
            *(cell for b in scores.baselines for cell in _baseline_cells(b, j, smallest)),
        )
        for j, region in enumerate(report.regions)
    )
    how = (
        f"The layer was chosen {scores.chosen.how}."
        if scores.chosen is not None
        else "The layer with the highest r, chosen on these scores; p and q are not corrected for that choice."
        if len(scores.layers) > 1
        else ""
    )
    return table(
        header, rows, caption=f"{_heading(scores.who)}, region by region. {how} q: false discovery rate over {report.columns}."
    )


def _baseline_header(baseline: Baseline) -> list[str]:
    plain = [f"{baseline.name}, r"]
    return [*plain, f"r less that of {baseline.name}", "p of the difference"] if baseline.is_tested else plain


def _baseline_cells(baseline: Baseline, j: int, smallest: float) -> list[str]:
    """A baseline's r in one region, and the table's r less it with interval and p."""
    plain = [number(baseline.r[j])]
    if not baseline.is_tested or baseline.difference is None or baseline.difference_p is None:
        return plain
    ends = baseline.difference_interval
    around = MISSING if ends is None else interval(*ends[:, j])
    found = number(baseline.difference[j]) + (f" ({around})" if around != MISSING else "")
    return [*plain, found, probability(baseline.difference_p[j], smallest)]


def _share(now: Shown, j: int) -> str:
    """r over the ceiling with its interval; above 1 without one only that it is."""
    around = interval(now.share_low[j], now.share_high[j])
    if around != MISSING:
        return f"{number(now.share[j])} ({around})"
    return "> 1" if now.share[j] > 1 else number(now.share[j])


def _listeners(report: EncodingReport) -> tuple[Section, ...]:
    listeners = report.listeners
    if listeners is None or len(listeners.names) < 2:
        return ()
    caption = "Every dot is a listener, sorted within each column; the line is their mean."
    numbers = details("Listener by listener", _listener_table(report)) if len(report.regions) <= MOST_MAPPED else None
    children = (figure(_listener_picture(report), "listeners", caption), paragraphs(*_against_baselines(report)), numbers)
    return (Section("listeners", "Listener by listener", children),)


def _listener_scores(report: EncodingReport) -> np.ndarray:
    """(n_subjects, n_regions) at the layers of the last way of scoring, that of single listeners."""
    assert report.listeners is not None
    return pick(report.listeners.r, best_layers(report.scores[-1]))


def _listener_picture(report: EncodingReport) -> Picture:
    """A strip per region; for many regions one strip of their means."""
    assert report.listeners is not None
    values, ceiling, names = _listener_scores(report), report.scores[-1].ceiling, report.regions
    if len(report.regions) > MOST_CURVES:
        known = np.isfinite(values)
        mean = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        values, names = np.where(known.any(axis=1), mean, np.nan)[:, None], (f"mean of all {report.columns}",)
        ceiling = None
    return listener_strip(values, report.listeners.names, names, ceiling=ceiling)


def _listener_table(report: EncodingReport) -> Markup:
    assert report.listeners is not None
    values = _listener_scores(report)
    rows = [(name, *(number(v) for v in row)) for name, row in zip(report.listeners.names, values, strict=True)]
    caption = "Held-out correlation of every listener, at the layer of the last table above."
    return table(("Listener", *report.regions), rows, caption=caption)


def _against_baselines(report: EncodingReport) -> list[str]:
    """How single listeners' scores differ from each baseline: by region, or counted over many."""
    if len(report.regions) <= MOST_CURVES:
        return list(listener_differences(report))
    scores, level = report.scores[-1], report.methods.fdr
    whose = f"{scores.whose[:1].upper()}{scores.whose[1:]}"
    return [f"{whose}: {one.sentence(report.columns, level)}" for one in compared(scores, shown(scores).q, level)]


def _penalties(report: EncodingReport) -> tuple[Section, ...]:
    if report.alphas is None:
        return ()
    caption = "How often each penalty was chosen, over folds, layers, regions and listeners."
    light = [light for light in lights(report) if light.name == "Penalties"]
    children = (light_list(light), figure(alpha_histogram(report.alphas), "alphas", caption))
    return (Section("penalties", "Ridge penalties", children),)
