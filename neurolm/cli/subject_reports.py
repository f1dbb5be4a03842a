"""One page for each subject: the same sections as the page of all, with that subject's own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from neurolm.cli.names import label
from neurolm.cli.report_maps import surface_maps

if TYPE_CHECKING:
    from neurolm.cli.plan import Plan
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.encoding.evaluation import Evaluation
    from neurolm.report import EncodingReport


def subject_reports(
    plan: Plan, checks: list[AlignmentCheck], result: Evaluation, whole: EncodingReport
) -> Iterator[tuple[str, EncodingReport]]:
    """("sub-01", its report) of every subject; of one subject alone, what the page of all says."""
    from neurolm.cli.report import layer_scores

    if not result.each:
        yield f"sub-{label(result.subjects[0])}", whole
        return
    for subject, scored in zip(result.subjects, result.each, strict=True):
        name = f"sub-{label(subject)}"
        interval = scored.interval_name if np.isfinite(scored.interval).any() else ""
        yield (
            name,
            replace(
                whole,
                title=f"{whole.title}: {name}",
                dataset=replace(whole.dataset, subjects=(subject,)),
                methods=replace(whole.methods, n_null=scored.n_null, interval=interval),
                scores=(replace(layer_scores(result, scored), who=name),),
                alignment=tuple(story.of_subject(check, subject) for story, check in zip(whole.alignment, checks, strict=True)),
                listeners=None,
                alphas=None,
                surface=surface_maps(result.space, result.sets, scored.r, scored.q, plan.config.encode.fdr),
            ),
        )
