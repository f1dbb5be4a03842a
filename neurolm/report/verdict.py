"""The first line of a report, and the checks behind it, computed from the numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurolm.report.baseline_tests import compared
from neurolm.report.content_tests import beyond_sentence, content_sentence
from neurolm.report.encoding_figures import alpha_counts, best_layers, pick
from neurolm.report.encoding_report import EncodingReport, LayerScores
from neurolm.report.figures import power
from neurolm.report.markup import interval, number
from neurolm.report.resolution import could_be_found, least_findable

EDGE_SHARE = 0.1  # more choices than this at one end of the grid: the best penalty may lie outside


@dataclass(frozen=True)
class Light:
    """One check of a report: `status` is "ok", "warning" or "failed"."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, eq=False)
class Shown:
    """What the table says of each region: one layer and its statistics, each (n_regions,)."""

    position: np.ndarray
    r: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    q: np.ndarray
    share: np.ndarray  # r / ceiling; NaN where the ceiling is not positive
    share_low: np.ndarray  # interval of the share; NaN where either has none
    share_high: np.ndarray

    def layer(self, scores: LayerScores, region: int) -> str:
        return str(scores.layers[self.position[region]]) if self.position[region] >= 0 else "n/a"


def shown(scores: LayerScores) -> Shown:
    """The chosen layer of each region, or the best one of the curve where none was chosen."""
    position, chosen = best_layers(scores), scores.chosen
    unknown = np.full(len(position), np.nan)
    if chosen is not None:
        r, p, q = (np.asarray(a, dtype=np.float64) for a in (chosen.r, chosen.p, chosen.q))
        low, high = (unknown, unknown) if chosen.interval is None else chosen.interval
    else:
        r, p, q = (unknown if a is None else pick(a, position) for a in (scores.r, scores.p, scores.q))
        low, high = (unknown, unknown) if scores.interval is None else pick(scores.interval, position)
    ceiling = unknown if scores.ceiling is None else np.asarray(scores.ceiling, dtype=np.float64)
    share = np.divide(r, ceiling, out=unknown.copy(), where=ceiling > 0)
    between = share_interval(r, np.stack([low, high]), ceiling, scores.ceiling_interval)
    return Shown(position, r, np.asarray(low), np.asarray(high), p, q, share, *between)


def share_interval(r: np.ndarray, r_interval: np.ndarray, ceiling: np.ndarray, ceiling_interval: np.ndarray | None) -> np.ndarray:
    """Interval (2, n) of r / ceiling: relative half-widths of both, taken as independent, add in squares (delta method)."""
    if ceiling_interval is None:
        return np.full((2, len(r)), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(ceiling > 0, r / ceiling, np.nan)
        parts = [(ends[1] - ends[0]) / 2 / np.where(ceiling > 0, ceiling, np.nan) for ends in (r_interval, ceiling_interval)]
        half = np.hypot(parts[0], share * parts[1])
    return np.stack([share - half, share + half])


def verdict(report: EncodingReport) -> str:
    """What was found, in one or two plain sentences."""
    failed = {finding.name for story in report.alignment for finding in story.findings if finding.status == "failed"}
    if failed - set(report.override):
        return "Words and BOLD do not fit together: the alignment check failed, so the scores below mean nothing yet."
    in_spite = f"In spite of a failed alignment check ({', '.join(sorted(failed))}), as the config asks: " if failed else ""
    return in_spite + _what_was_found(report)


def _what_was_found(report: EncodingReport) -> str:
    scores = report.scores[0]
    now, level, n_regions = shown(scores), report.methods.fdr, len(report.regions)
    if np.isnan(now.r).all():
        return f"None of the {report.columns} could be scored."
    if np.isnan(now.q).all():
        first = f"{report.methods.model} was scored in {n_regions:,} {report.columns}; nothing was tested, so no claim is made."
    else:
        significant = int((now.q < level).sum())
        first = (
            f"{report.methods.model} predicts held-out BOLD of {scores.whose} in {significant:,} of {n_regions:,} {report.columns} "
            f"(false discovery rate {level:g})."
        )
        if not significant:
            return f"{first} {could_be_found(*_tested(report), report.columns)}".rstrip()
    best = int(np.nanargmax(now.r))
    around = interval(now.low[best], now.high[best])
    of = f" of {n_regions:,}, a choice that is not corrected for" if n_regions > 1 else ""
    second = f" Highest{of}: {report.regions[best]}, layer {now.layer(scores, best)}, r = {number(now.r[best])}"
    second += f" ({around})" if around != "n/a" else ""
    second += f", {_share_of_ceiling(now, best)} of the noise ceiling" if np.isfinite(now.share[best]) else ""
    said = [one.sentence(report.columns, level) for one in compared(scores, now.q, level)]
    against = "".join(
        f" {one}" for one in (*said, beyond_sentence(report, scores), content_sentence(scores, report.columns, level)) if one
    )
    return f"{first}{second}.{against}{_others(report, best)}"


def _share_of_ceiling(now: Shown, region: int) -> str:
    """ "72% (60% to 84%)"; above 1 without an interval only that it is."""
    share, low, high = (100 * x[region] for x in (now.share, now.share_low, now.share_high))
    if np.isfinite(low):
        return f"{number(share, 0)}% ({number(low, 0)}% to {number(high, 0)}%)"
    return f"{number(share, 0)}%" if share <= 100 else "all"


def _tested(report: EncodingReport) -> tuple[int, int, float]:
    """Permutations, tests and the level of the false discovery rate."""
    scores = report.scores[0]
    return scores.n_null or report.methods.n_null, int(np.isfinite(shown(scores).q).sum()), report.methods.fdr


def _resolution(report: EncodingReport) -> Light | None:
    n_null, n_tested, level = _tested(report)
    least = least_findable(n_null, n_tested, level)
    if least <= 1:
        return None
    message = (
        f"{n_null:,} permutations: an effect in fewer than {least:,} of {n_tested:,} {report.columns} ({least / n_tested:.1%}) cannot "
        f"be found at a false discovery rate of {report.methods.fdr:g}. Ask for more; a single run has no more shifts "
        "than rows, several runs have their product."
    )
    return Light("Resolution", "failed" if least > n_tested else "warning", message)


def _others(report: EncodingReport, region: int) -> str:
    """The same region in the other ways of scoring: single listeners beside the mean one."""
    parts = []
    for scores in report.scores[1:]:
        now = shown(scores)
        share = f", {_share_of_ceiling(now, region)} of the ceiling" if np.isfinite(now.share[region]) else ""
        parts.append(f" {scores.who[:1].upper()}{scores.who[1:]} there: r = {number(now.r[region])}{share}.")
    return "".join(parts)


def lights(report: EncodingReport) -> tuple[Light, ...]:
    """The checks that a reader should see before the numbers."""
    found = [_alignment(report), _unknown(report), _alphas(report), _ceiling(report), _resolution(report), _selection(report)]
    return tuple(light for light in found if light is not None)


def _alignment(report: EncodingReport) -> Light:
    worst = [story for story in report.alignment if story.status == "failed"]
    warned = [story for story in report.alignment if story.status == "warning"]
    n = len(report.alignment)
    if worst:
        return Light(
            "Alignment", "failed", f"{len(worst)} of {n} stories do not fit their BOLD: {_listed([s.story for s in worst])}."
        )
    if warned:
        return Light("Alignment", "warning", f"{len(warned)} of {n} stories have warnings: {_listed([s.story for s in warned])}.")
    if not n or not all(story.findings for story in report.alignment):
        return Light("Alignment", "warning", "was not checked for every story.")
    return Light(
        "Alignment", "ok", f"the BOLD{' of every story' if n > 1 else ''} follows its words at a plausible lag; no check failed."
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _unknown(report: EncodingReport) -> Light | None:
    r = shown(report.scores[0]).r
    missing = [name for name, value in zip(report.regions, r, strict=True) if not np.isfinite(value)]
    if not missing:
        return None
    return Light(
        "Missing",
        "warning",
        f"{len(missing):,} {report.columns} have no score, being constant or NaN somewhere: {_listed(missing)}.",
    )


def _alphas(report: EncodingReport) -> Light | None:
    if report.alphas is None:
        return None
    counts = alpha_counts(report.alphas)
    total = counts.sum()
    if not total:
        return Light("Penalties", "warning", "no chosen alpha is on the grid.")
    low, high = counts[0] / total, counts[-1] / total
    grid = report.alphas.grid
    if report.alphas.is_extended:
        return Light(
            "Penalties",
            "ok",
            f"the grid was extended to {power(grid[0])} ... {power(grid[-1])}, until a wider one predicted better for fewer than 5% of "
            f"choices; {low:.0%} lie at the lower and {high:.0%} at the upper end.",
        )
    ends = []
    if low > EDGE_SHARE:
        ends.append(f"{low:.0%} of choices are the smallest alpha, {power(grid[0])}: widen the grid downwards")
    if high > EDGE_SHARE:
        ends.append(
            f"{high:.0%} of choices are the largest alpha, {power(grid[-1])}: widen the grid upwards, unless nothing there can be predicted"
        )
    if ends:
        return Light("Penalties", "warning", f"{'; '.join(ends)}.")
    return Light("Penalties", "ok", f"{low:.0%} of choices at the lower and {high:.0%} at the upper end of the grid.")


def _ceiling(report: EncodingReport) -> Light | None:
    above = [name for name, share in zip(report.regions, shown(report.scores[0]).share, strict=True) if share > 1]
    if report.scores[0].ceiling is None:
        return Light("Ceiling", "warning", "no noise ceiling was estimated: r alone does not say how good a prediction is.")
    if above:
        return Light("Ceiling", "warning", f"scores above their ceiling in {_listed(above)}: the ceiling is an estimate.")
    return None


def _selection(report: EncodingReport) -> Light | None:
    scores = report.scores[0]
    if scores.chosen is not None or len(scores.layers) == 1:
        return None
    return Light(
        "Selection",
        "warning",
        "the table shows the best layer of each curve, chosen on the scores themselves: slightly optimistic, and its p and q "
        "are not corrected for the choice.",
    )
