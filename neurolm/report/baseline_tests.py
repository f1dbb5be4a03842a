"""Sentences about differences from baselines: each counts only what a paired test found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurolm.report.encoding_figures import best_layers, pick
from neurolm.report.encoding_report import Baseline, EncodingReport, LayerScores
from neurolm.report.markup import MISSING, interval, number
from neurolm.statistics import p_equals


@dataclass(frozen=True)
class Compared:
    """In how many regions scores lie above and below a baseline, of those where either of them is significant."""

    name: str
    n_either: int
    n_higher: int
    n_lower: int

    def sentence(self, columns: str, level: float) -> str:
        if not self.n_either:
            return f"Nowhere do the language model or {self.name} predict, so that they cannot be compared."
        return (
            f"Higher than {self.name} in {self.n_higher:,} and lower in {self.n_lower:,} of the {self.n_either:,} {columns} "
            f"where either of them predicts (paired test, false discovery rate {level:g})."
        )


def compared(scores: LayerScores, q: np.ndarray, level: float) -> list[Compared]:
    """Of each baseline whose differences were tested; `q` (n_regions,) is that of the scores in the table."""
    return [_compared(baseline, q, level) for baseline in scores.baselines if baseline.is_tested]


def _compared(baseline: Baseline, q: np.ndarray, level: float) -> Compared:
    assert baseline.difference is not None
    assert baseline.difference_q is not None
    either = np.asarray(q) < level
    if baseline.q is not None:
        either = either | (np.asarray(baseline.q) < level)
    found = either & (np.asarray(baseline.difference_q) < level)
    higher, lower = (found & (sign * np.asarray(baseline.difference) > 0) for sign in (1, -1))
    return Compared(baseline.name, int(either.sum()), int(higher.sum()), int(lower.sum()))


def listener_differences(report: EncodingReport) -> Iterator[str]:
    """Mean difference over listeners in each region, with its interval, its p, and the number of listeners above 0."""
    scores, listeners = report.scores[-1], report.listeners
    assert listeners is not None
    values = pick(listeners.r, best_layers(scores))
    smallest = 1 / (1 + scores.n_null) if scores.n_null else 0.0
    for baseline in scores.baselines:
        difference, p, ends = baseline.difference, baseline.difference_p, baseline.difference_interval
        if difference is None or p is None or not baseline.is_tested or baseline.name not in listeners.baselines:
            continue
        own = listeners.baselines[baseline.name]
        above, known = (values > own).sum(axis=0), (np.isfinite(values) & np.isfinite(own)).sum(axis=0)
        parts = []
        for j, region in enumerate(report.regions):
            around = MISSING if ends is None else interval(*ends[:, j])
            where = f"above 0 in {above[j]} of {known[j]} listeners"
            parts.append(f"{region} {number(difference[j])} ({around}; {p_equals(p[j], smallest)}; {where})")
        yield f"Mean difference from {baseline.name}, its interval and paired p: {', '.join(parts)}."
