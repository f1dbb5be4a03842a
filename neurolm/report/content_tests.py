"""What the language model predicts beyond plain properties of speech: low-level features, content-free draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurolm.report.encoding_report import EncodingReport, LayerScores
from neurolm.report.markup import MISSING, Markup, interval, number, probability, table
from neurolm.report.resolution import could_be_found
from neurolm.statistics import fdr


def content_sentence(scores: LayerScores, columns: str, level: float) -> str:
    """In how many regions the content of the words is predicted; empty where it was not tested."""
    if scores.content is None:
        return ""
    q, n_draws = fdr(scores.content.p_values), len(scores.content.draws)
    found, known = int((q < level).sum()), int(np.isfinite(q).sum())
    said = (
        f"With the mean of every feature removed, so that word rate is in none, the language model predicts better than "
        f"{n_draws:,} content-free draws in {found:,} of {known:,} {columns} (false discovery rate {level:g})."
    )
    return said if found else f"{said} {could_be_found(n_draws, known, level, columns)}".rstrip()


def content_table(report: EncodingReport, scores: LayerScores) -> Markup | None:
    """One row for each region: the score without feature means, and the draws."""
    if (content := scores.content) is None:
        return None
    p, q, mean, (low, high) = content.p_values, fdr(content.p_values), content.draws.mean(0), content.band
    rows = (
        (
            region,
            number(content.r[j]),
            f"{number(mean[j])} ({interval(low[j], high[j])})",
            probability(p[j], content.smallest_p),
            probability(q[j]),
        )
        for j, region in enumerate(report.regions)
    )
    return table(
        ("Region", "r without feature means", "Content-free: mean (95% of draws)", "p", "q"),
        rows,
        caption=f"Content of the words: {len(content.draws):,} draws in which each word has the features of another one, all moved by "
        "the same number of words; layers and penalties chosen inside the folds in every draw. p: share of draws that "
        "predict as well, the measured one counted.",
    )


def listed(names: Sequence[str]) -> str:
    """ "word rate, pauses and sound power" """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def beyond_sentence(report: EncodingReport, scores: LayerScores) -> str:
    """In how many regions the language model predicts beyond low-level features; empty where that was not tested."""
    beyond, level, names = scores.beyond, report.methods.fdr, report.methods.low_level
    if beyond is None or not np.isfinite(beyond.q).any():
        return ""
    found, known = beyond.q < level, int(np.isfinite(beyond.q).sum())
    gains = ""
    if found.any():
        low, high = (number(x) for x in (beyond.difference[found].min(), beyond.difference[found].max()))
        gains = f"gain in held-out r {low} there, " if low == high else f"gain in held-out r {low} to {high} there, "
    said = (
        f"The language model predicts beyond {listed(names)} in {int(found.sum()):,} of {known:,} {report.columns} "
        f"({gains}paired test, false discovery rate {level:g})."
    )
    return said if found.any() else f"{said} {could_be_found(scores.n_null, known, level, report.columns)}".rstrip()


def beyond_table(report: EncodingReport, scores: LayerScores) -> Markup | None:
    """One row for each region: low-level features alone and with the language model, and the paired difference."""
    if (beyond := scores.beyond) is None:
        return None
    smallest = 1 / (1 + scores.n_null) if scores.n_null else 0.0
    rows = []
    for j, region in enumerate(report.regions):
        around = interval(*beyond.interval[:, j])
        gain = number(beyond.difference[j]) + ("" if around == MISSING else f" ({around})")
        tested = [probability(p, smallest) for p in (beyond.p[j], beyond.p_max[j])]
        rows.append((region, number(beyond.low_level[j]), number(beyond.joint[j]), gain, *tested, probability(beyond.q[j])))
    columns = listed(report.methods.low_level)
    return table(
        ("Region", "low level, r", "with language model, r", "Difference", "p", "p, max-T", "q"),
        rows,
        caption=f"Beyond low-level features ({columns}): ridge on these alone and together with the layer chosen inside the folds, in "
        "the same rows. p: one-sided, against shifts of what the low-level model leaves, both fits repeated.",
    )
