"""What the language model predicts beyond plain properties of speech: tables and sentences of the content-free draws."""

from __future__ import annotations

import numpy as np

from neurolm.report.encoding_report import EncodingReport, LayerScores
from neurolm.report.markup import Markup, interval, number, probability, table
from neurolm.statistics import fdr


def content_sentence(scores: LayerScores, columns: str, level: float) -> str:
    """In how many regions the content of the words is predicted; empty where it was not tested."""
    if scores.content is None:
        return ""
    q = fdr(scores.content.p_values)
    found, known = int((q < level).sum()), int(np.isfinite(q).sum())
    return (
        f"With the mean of every feature removed, so that word rate is in none, the language model predicts better than "
        f"{len(scores.content.draws):,} content-free draws in {found:,} of {known:,} {columns} (false discovery rate {level:g})."
    )


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
